"""``broadside fire``: send the news."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.cli.campaigns_shown import describe, summary
from broadside.cli.options import ConfigFile, DataDir, Json, data_folder, duration
from broadside.cli.output import complain, say, say_json
from broadside.cli.waiting import wait_for
from broadside.client import Client
from broadside.errors import UsageError
from broadside.records import FireRequest
from transports.contract import Message

_EPILOGUE = """\
Examples:
    broadside fire --title "Storm tonight" --body "Stay inside." --wait
    broadside fire --title Goal --body 2:1 --channel ios-news --ttl 10m
    broadside fire --title Hello --body World --url https://example.com --json

With --wait the exit code is 0 when the campaign is done, and 1 when it was
cancelled. Ctrl-C ends only the waiting."""


def register(app: App) -> None:
    """Add the command."""
    app.command(fire, help_epilogue=_EPILOGUE)


def fire(
    *,
    title: Annotated[str, Parameter(help="The first line on the phone.", allow_leading_hyphen=True)],
    body: Annotated[str, Parameter(help="The text below it.", allow_leading_hyphen=True)],
    channel: Annotated[
        list[str] | None, Parameter(help="Send to this channel only; repeat it for several. Without it: to all.")
    ] = None,
    url: Annotated[str | None, Parameter(help="What a tap on the message opens.")] = None,
    ttl: Annotated[
        str | None, Parameter(help="How long the news is news: 90s, 15m, 2h, 1d. A phone reached later gets nothing.")
    ] = None,
    wait: Annotated[bool, Parameter(help="Show the progress, and return when the campaign has ended.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Create a campaign and fire it at once, to everybody."""
    if not title.strip() or not body.strip():
        raise UsageError(f"--{'body' if title.strip() else 'title'}: is empty (write what the phone should show)")
    request = FireRequest(
        message=Message(title=title, body=body, url=url),
        channels=list(dict.fromkeys(channel)) if channel else None,
        ttl_seconds=None if ttl is None else duration("--ttl", ttl),
    )
    folder = data_folder(config, data)
    with Client.of(folder) as client:
        report = client.fire(request)
    if not wait:
        if json:
            say_json(report)
        else:
            say(f"fired campaign {report.id}: {describe(report)}")
            complain(f"watch it: broadside campaign show {report.id}")
        return 0
    if not json:
        complain(f"fired campaign {report.id}")
    report = wait_for(folder, report)
    if json:
        say_json(report)
    else:
        say(summary(report))
    return 0 if report.state == "done" else 1
