"""``broadside tube``: what lies on a node's tubes."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table
from storage.records import REFUSALS
from transports.identity import campaign_text

_EPILOGUE = """\
Examples:
    broadside tube list
    broadside tube buried ios-news
    broadside tube kick ios-news --count 10

A batch is buried when nobody can read it, or when it has crashed three times
who handled it: `tube buried` says why, and `tube kick` puts it back on its
tube once the cause is mended."""

_STATES = ("ready", "taken", "delayed", "buried", "total")
ChannelName: TypeAlias = Annotated[str, Parameter(help="A channel of this node, as in ios-news.")]


def register(app: App) -> None:
    """Add the group."""
    group = App(
        name="tube", help="Look at the node's tubes, and bring back what was put aside.", help_epilogue=_EPILOGUE
    )
    group.command(list_, name="list")
    group.command(buried)
    group.command(kick)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List the tubes with their tasks by state."""
    with client(config, data) as node:
        found = node.tubes()
    if json:
        say_json(found)
        return 0
    tubes: dict[str, dict[str, int]] = found["tubes"]
    table(
        ("tube", *_STATES),
        [[name, *(tasks.get(state, 0) for state in _STATES)] for name, tasks in sorted(tubes.items())],
    )
    say(f"\n{found['parked']:,} batches parked for paused campaigns, {found['outbox']:,} lines owed to the store")
    return 0


def buried(
    channel: ChannelName,
    /,
    *,
    limit: Annotated[int, Parameter(help="Show at most so many.")] = 100,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show a channel's batches that were put aside."""
    with client(config, data) as node:
        tasks = node.buried(channel, limit)
    if json:
        say_json({"buried": tasks})
    elif tasks:
        table(("task", "campaign", "segment", "page", "attempt", "crashes", "why"), [_row(task) for task in tasks])
    else:
        complain(f"nothing is buried on {channel}")
    return 0


def kick(
    channel: ChannelName,
    /,
    *,
    count: Annotated[int, Parameter(help="Bring back at most so many, the oldest first.")] = 1,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Put buried batches back onto their tube."""
    with client(config, data) as node:
        kicked = node.kick(channel, count)
    if json:
        say_json({"kicked": kicked})
    else:
        say(f"{kicked:,} of {channel}'s buried batches are back on the tube")
    return 0


def _row(task: dict[str, Any]) -> list[object]:
    data, end = task["data"], [task["crashes"], task["why"]]
    if isinstance(data, list) and len(data) == 9 and isinstance(data[1], int):
        return [task["id"], campaign_text(data[1]), data[3], data[4], data[6] % REFUSALS, *end]
    return [task["id"], "-", "-", "-", "-", *end]
