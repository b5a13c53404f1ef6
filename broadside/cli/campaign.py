"""``broadside campaign``: what was fired, and what became of it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.cli.campaigns_shown import COLUMNS, moment, reasons
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table
from broadside.errors import UsageError
from transports.identity import parse_campaign

_EPILOGUE = """\
Examples:
    broadside campaign list
    broadside campaign show 2qbsgz3kxm4ta
    broadside campaign list --json | jq '.campaigns[0].channels'"""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="campaign", help="List campaigns, and show what became of one.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(show)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List all campaigns, with their totals over all channels."""
    with client(config, data) as node:
        campaigns = node.campaigns()
    if json:
        say_json({"campaigns": campaigns})
        return 0
    if not campaigns:
        complain("no campaign yet (fire one: broadside fire --title T --body B)")
        return 0
    columns = ("id", "state", "title", "fired", "seconds", "delivered", "dead", "rejected", "remaining", "pushes/s")
    rows = []
    for report in campaigns:
        tallies = report.channels.values()
        sums = [
            sum(getattr(tally, name) for tally in tallies) for name in ("delivered", "dead", "rejected", "remaining")
        ]
        start = [report.id, report.state, _short(report.message.title), moment(report.fired_at), report.seconds]
        rows.append([*start, *sums, round(report.rate)])
    table(columns, rows)
    return 0


def show(
    id: Annotated[str, Parameter(help="The campaign's 13 characters, as campaign list shows them.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show one campaign: its state, and per channel what was delivered, dead, retried, rejected, and remains."""
    try:
        parse_campaign(id)
    except ValueError as error:
        raise UsageError(f"{error} (broadside campaign list shows the ids)") from None
    with client(config, data) as node:
        report = node.campaign(id.lower())
    if json:
        say_json(report)
        return 0
    rate = f"{report.rate:,.0f} pushes/s" if report.seconds else "-"
    say(f"campaign  {report.id}, {report.state}")
    say(f"title     {report.message.title}")
    say(f"body      {report.message.body}")
    if report.message.url:
        say(f"url       {report.message.url}")
    say(f"fired     {moment(report.fired_at)}")
    say(f"finished  {moment(report.finished_at)}" + (f", {report.seconds:,.1f} s" if report.seconds else ""))
    say(f"rate      {rate}\n")
    table(
        ("channel", *COLUMNS),
        [[name, *(getattr(tally, what) for what in COLUMNS)] for name, tally in report.channels.items()],
    )
    for name, why in report.paused_channels.items():
        say(f"\n{name} is paused: {why}")
    if lines := reasons(report):
        say("\nnot delivered, by reason:\n" + "\n".join(lines))
    return 0


def _short(title: str) -> str:
    return title if len(title) <= 40 else title[:39] + "…"
