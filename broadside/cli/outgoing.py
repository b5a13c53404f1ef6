"""``broadside feed`` and ``broadside webhook``: what the newsroom's other systems hear."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table

_FEED_EPILOGUE = """\
Examples:
    broadside feed
    broadside feed --cursor 1207.3 --limit 10000

Each line is JSON. Keep the cursor of the last line, and give it the next time:
so your backend hears of every token that is dead, replaced or restored, at
least once. Entries are kept for seven days."""


def register(app: App) -> None:
    """Add the commands."""
    app.command(feed, help_epilogue=_FEED_EPILOGUE)
    group = App(name="webhook", help="Look at the systems that hear of campaigns.")
    group.command(list_, name="list")
    app.command(group)


def feed(
    *,
    cursor: Annotated[str, Parameter(help="The cursor of the last line that was read. Default: from the oldest.")] = "",
    limit: Annotated[int, Parameter(help="Lines at most, up to 10,000.")] = 1000,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Print what became of subscribers, as lines of JSON, the oldest first."""
    with client(config, data) as node:
        for line in node.feed(cursor, limit):
            say_json(line)
    return 0


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Show each webhook: whether its receiver has heard everything, and since when it fails. 1 if one does."""
    with client(config, data) as node:
        hooks = node.call(routes.WEBHOOKS).webhooks
    if json:
        say_json({"webhooks": hooks})
    elif not hooks:
        complain("no webhook (add a [[webhooks]] table to broadside.toml)")
    else:
        rows = [
            [
                each.name,
                each.host,
                each.state,
                each.waiting,
                moment(each.heard_at),
                moment(each.failing_since),
                each.error,
            ]
            for each in hooks
        ]
        table(("name", "host", "state", "waiting", "heard", "failing since", "why"), rows)
        for each in hooks:
            if each.missed:
                say(f"{each.name} has missed {each.missed:,} changes: they were older than 30 days, or too many")
    return 1 if any(each.state == "failing" for each in hooks) else 0
