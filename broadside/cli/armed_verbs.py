"""``broadside campaign fire``, ``approve`` and ``disarm``: what becomes of an armed campaign."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from cyclopts import App, Parameter

from broadside.api.campaign_report import ArmedFire, CampaignReport
from broadside.api.report_text import describe, instant, starts
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, campaign_id, client
from broadside.cli.output import agreed, say, say_json
from broadside.cli.yes_options import NO, QUESTIONS, Yes
from broadside.errors import ApiError

_Id: TypeAlias = Annotated[str, Parameter(help="The campaign's 13 characters, as `campaign list` shows them.")]


def register(group: App) -> None:
    """Add the commands to ``broadside campaign``."""
    for command in (fire, approve, disarm):
        group.command(command)


def fire(id: _Id, /, *, yes: Yes = NO, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Fire an armed campaign. A repeat fires nothing twice."""
    wanted = ArmedFire(**yes.said())
    with client(config, data) as node:
        while True:
            try:
                report = node.call(routes.FIRE_ARMED, wanted, id=campaign_id(id))
                break
            except ApiError as error:
                if error.confirm not in ArmedFire.__struct_fields__ or getattr(wanted, error.confirm) is True:
                    raise
                if not agreed(f"{error}\n{QUESTIONS[error.confirm]}"):
                    raise
                wanted = msgspec.structs.replace(wanted, **{error.confirm: True})
    if json:
        say_json(report)
    elif report.state == "scheduled":
        say(f"scheduled campaign {report.id}: {starts(report)}")
    else:
        say(f"fired campaign {report.id}: {describe(report)}")
    return 0


def approve(id: _Id, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Approve an armed campaign that somebody else has asked an approval for. It is not fired by that."""
    with client(config, data) as node:
        report = node.call(routes.APPROVE, id=campaign_id(id))
    if json:
        say_json(report)
    else:
        assert report.approval is not None
        until = instant(report.approval.expires_at, report.zone)
        say(f"approved campaign {report.id}, for {report.approval.asked_by}, until {until}")
    return 0


def disarm(id: _Id, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Take back an armed campaign. Its draft can be changed again."""
    with client(config, data) as node:
        report = node.call(routes.DISARM, id=campaign_id(id))
    if json:
        say_json(report)
    else:
        say(f"campaign {report.id} is {report.state}: nobody got it")
    return 0


def ready(report: CampaignReport) -> str:
    """Say what an armed campaign waits for."""
    if report.approval is not None and report.approval.by is None:
        return f"waits for an approval: broadside campaign approve {report.id}"
    return f"fire it: broadside campaign fire {report.id}"
