"""``broadside campaign watch``: shows a campaign's progress until it has ended."""

from __future__ import annotations

import sys
import time
from typing import Annotated

from cyclopts import Parameter

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport
from broadside.api.forecast_text import about
from broadside.api.report_text import standing, summary
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, campaign_id, data_folder
from broadside.cli.output import complain, say, say_json
from broadside.cli.waiting import exit_code, wait_for
from broadside.errors import UsageError

LINE_EVERY = 1.0
"""Seconds between two lines about the same state, where there is no terminal."""


def watch(
    id: Annotated[str | None, Parameter(help="The campaign's id. Default: the newest one.")] = None,
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show a campaign's progress until it has ended: bars on a terminal, lines elsewhere, with --json a report a line.

    The exit code is 0 if the campaign is done, and 1 if it was cancelled or missed its start. Ctrl-C ends only the
    watching.
    """
    folder = data_folder(config, data)
    with Client.of(folder) as node:
        name = campaign_id(id) if id is not None else _newest(node)
        report = node.call(routes.CAMPAIGN, id=name)
    shown = say_json if json else None if sys.stderr.isatty() else ProgressLines()
    if not json:
        complain(f"campaign {report.id}: {report.message.title or report.message.body}")
    report = wait_for(folder, report, end=True, shown=shown)
    if not json:
        say(summary(report))
    return exit_code(report)


def _newest(node: Client) -> str:
    if found := node.call(routes.CAMPAIGNS, query=routes.CampaignsQuery(limit=1)).items:
        return found[0].id
    raise UsageError("there is no campaign to watch (fire one: broadside fire --title T --body B)")


class ProgressLines:
    """Prints a line for each new state, and one a second at most about its progress."""

    def __init__(self) -> None:
        self._state = ""
        self._at = 0.0

    def __call__(self, report: CampaignReport) -> None:
        """Print what a report says, unless a line was printed just now."""
        now = time.monotonic()
        if report.state == self._state and now - self._at < LINE_EVERY:
            return
        self._state, self._at = report.state, now
        rate = f", {report.rate_now or report.rate:,.0f} pushes/s" if report.rate else ""
        left = f", about {about(report.left)} to go" if report.left is not None else ""
        say(f"{report.state}: {standing(report)}{rate}{left}")
        if report.bottleneck:
            say(f"  {report.bottleneck}")
        for name, why in report.paused_channels.items():
            say(f"  {name} is paused: {why}")
