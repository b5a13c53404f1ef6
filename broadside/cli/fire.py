"""``broadside fire``: creates a campaign and fires it."""

from __future__ import annotations

import secrets
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.idempotency import check_key
from broadside.api.report_text import describe, starts, summary
from broadside.cli.armed_verbs import ready
from broadside.cli.audience_options import AudienceOptions
from broadside.cli.canary import NONE, CanaryOptions, rest_of
from broadside.cli.composing import composed
from broadside.cli.fire_once import fire_once
from broadside.cli.message_options import Channels, KindName, QuietChoice, Ttl, Written, of_kind, request_of
from broadside.cli.options import ConfigFile, DataDir, Json, data_folder
from broadside.cli.output import agreed, complain, say, say_json
from broadside.cli.site_load import PaceOptions
from broadside.cli.waiting import exit_code, wait_for
from broadside.cli.when import When
from broadside.cli.yes_options import NO, QUESTIONS, Yes
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, RecordError, UsageError

_EPILOGUE = """\
Examples:
    broadside fire --title "Storm tonight" --body "Stay inside." --wait
    broadside fire --title Goal --body 2:1 --channel ios-news --ttl 10m
    broadside fire --title Hello --body World --url https://example.com --json
    broadside fire --title "Your morning" --body "Seven stories" --kind digest
    broadside fire --title Goal --body 2:1 --options match.json
    broadside fire --message storm.json --thread storm-7
    broadside fire --title Goal --body 2:1 --tag sport --country DE --locale de
    broadside fire --title Goal --body 2:1 --share 0.05
    broadside fire --title Hello --body World --dry-run
    broadside fire --title Goal --body 2:1 --key match-4711-goal-3
    broadside fire --title Morning --body News --at 2026-11-29T08:00+01:00
    broadside fire --title Polls --body Vote --at 08:00 --expires 2026-11-29T17:00
    broadside fire --title Goal --body 2:1 --expires 20:00 --expire-asleep
    broadside fire --title Goal --body 2:1 --rate 1500 --ramp 30s
    broadside fire --title Goal --body 2:1 --canary 0.01
    broadside fire --title "She is elected" --body "With 52 %." --arm

If the answer is lost, the request is repeated for half a minute under the same
key, so nothing is fired twice. A script that may run again should give its own
--key.

With --wait the exit code is 0 if the campaign is done or everybody awake has
got it, and 1 if it was cancelled or missed its start. Ctrl-C ends only the
waiting. With --dry-run it is 0 if nobody objects, 1 if a provider refuses the
message or does not answer, and 2 if the message breaks a platform's rules.
It also says who gets the news later than others, or not at all: look there
before you fire with --at or --expires."""


_NOW = When()
_USUAL = PaceOptions()


def register(app: App) -> None:
    """Add the command."""
    app.command(fire, help_epilogue=_EPILOGUE)


def fire(
    *,
    written: Written | None = None,
    channel: Channels = None,
    who: AudienceOptions = AudienceOptions(),  # noqa: B008, it is frozen
    kind: KindName = None,
    ttl: Ttl = None,
    quiet: QuietChoice = None,
    skip: Annotated[
        bool, Parameter(help="Leave out channels whose platform cannot carry the message, instead of firing nothing.")
    ] = False,
    adapt: Annotated[
        bool,
        Parameter(
            help="Adapt the message to a platform that cannot carry it: cut the body, leave out reserved data keys. "
            "What was changed is said."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        Parameter(
            name="--dry-run",
            help="Check the message by the platforms' rules, and ask providers that have a dry run. Fire nothing.",
        ),
    ] = False,
    key: Annotated[
        str | None,
        Parameter(
            help="Fire once under this key: for 30 days the same command returns the same campaign. "
            "Default: a random key for this call.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    wait: Annotated[
        bool | Literal["end"],
        Parameter(
            help="Show the progress, and return when everybody who may be reached now has got it; --wait=end: when the "
            "campaign has ended, quiet hours included.",
            negative="",
        ),
    ] = False,
    when: When = _NOW,
    yes: Yes = NO,
    first: CanaryOptions = NONE,
    arm: Annotated[
        bool,
        Parameter(
            help="Make it ready and fire nothing: it is checked, and waits for `campaign fire` and, if it goes to many "
            "phones, for `campaign approve`.",
            negative="",
        ),
    ] = False,
    pace: PaceOptions = _USUAL,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Create a campaign and fire it, at once or later, to every subscriber or to those who keep all conditions."""
    if skip and adapt:
        raise UsageError("--skip and --adapt: choose one (channels are left out, or get a message adapted to them)")
    request = of_kind(request_of(written or Written(), channel, ttl), kind, quiet)
    if skip or adapt:
        request = msgspec.structs.replace(request, on_objection="skip" if skip else "adapt")
    request = pace.of(request)
    folder = data_folder(config, data)
    request = msgspec.structs.replace(request, **yes.said(), **first.said(), **({"arm": True} if arm else {}))
    request = composed(request, who, when, folder)
    try:
        key = secrets.token_hex(16) if key is None else check_key(key, "--key")
    except RecordError as error:
        raise UsageError(str(error)) from None
    if dry_run:
        if wait:
            raise UsageError("--wait: a dry run fires nothing to wait for (leave one of the two out)")
        return _rehearse(folder, request, json)
    report = _fired(folder, request, key)
    for note in report.notes:
        complain(note)
    later = report.state == "scheduled"
    if not wait:
        if json:
            say_json(report)
        elif report.state == "armed":
            say(f"armed campaign {report.id}: {describe(report)}")
            complain(ready(report))
        elif later:
            say(f"scheduled campaign {report.id}: {starts(report)}")
            complain(f"until then it can be cancelled: broadside campaign cancel {report.id}")
        else:
            say(f"fired campaign {report.id}: {describe(report)}")
            complain(f"watch it: broadside campaign watch {report.id}")
        return 0
    if not json:
        becomes = "armed" if report.state == "armed" else "fired"
        complain(f"scheduled campaign {report.id}: {starts(report)}" if later else f"{becomes} campaign {report.id}")
    report = wait_for(folder, report, end=wait == "end")
    if report.canary is not None and (exit_code(report) == 0 or report.guard == "stopped"):
        rest = rest_of(folder, report, lambda found: wait_for(folder, found, end=wait == "end"))
        if not json:
            say(summary(report))
        if rest is None:
            return 1
        report = rest
    if json:
        say_json(report)
    else:
        say(summary(report))
    return exit_code(report)


def _fired(folder: DataFolder, request: FireRequest, key: str) -> CampaignReport:
    """Fire. On a terminal ask for each yes that it needs."""
    while True:
        try:
            return fire_once(folder, request, key)
        except ApiError as error:
            if error.confirm not in QUESTIONS or getattr(request, error.confirm) is True:
                raise
            if not agreed(f"{error}\n{QUESTIONS[error.confirm]}"):
                raise
            request = msgspec.structs.replace(request, **{error.confirm: True})


def _rehearse(folder: DataFolder, request: FireRequest, json: bool) -> int:
    with Client.of(folder) as client:
        report = client.dry_run(request)
    if json:
        say_json(report)
    else:
        for note in report.notes:
            complain(note)
        for name, verdict in report.channels.items():
            say("; ".join([f"{name}: {verdict.text}", *(f"adapted: {sentence}" for sentence in verdict.adapted)]))
    verdicts = {verdict.verdict for verdict in report.channels.values()}
    if "invalid" in verdicts:
        return 2
    return 1 if verdicts & {"refused", "unanswered"} else 0
