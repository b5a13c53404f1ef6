"""``broadside campaign``: lists, shows, pauses, cancels and verifies campaigns."""

from __future__ import annotations

import gzip
import time
import zlib
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from broadside.api.campaign_report import CampaignReport, CorrectionRequest, RetractionRequest
from broadside.api.forecast_text import about, forecast_lines, reach_lines
from broadside.api.outward_records import RateRequest
from broadside.api.preview_report import ChannelPreview
from broadside.api.report_text import (
    QUIET,
    arrived,
    canary_words,
    cut_line,
    instant,
    moment,
    reasons,
    shown_columns,
    standing,
    standing_still,
    waiting,
)
from broadside.api.v1 import table as routes
from broadside.api.v1.route import Route
from broadside.cli import armed_verbs, canary, device_send
from broadside.cli.certificates import certificate
from broadside.cli.explain import explain
from broadside.cli.forecast import forecast
from broadside.cli.message_options import (
    Channels,
    KindName,
    QuietChoice,
    Ttl,
    Written,
    message_of,
    of_kind,
    request_of,
)
from broadside.cli.options import ConfigFile, DataDir, Json, campaign_id, client, data_folder
from broadside.cli.output import complain, say, say_json, table
from broadside.cli.watch import watch
from broadside.errors import UsageError
from campaigns.message import Message

CampaignId: TypeAlias = Annotated[str, Parameter(help="The campaign's 13 characters, as `campaign list` shows them.")]
CORRECTED_WITHIN = 60.0
"""Seconds for a correction: it waits until nothing old is under way."""
COUNTED_WITHIN = 600.0
"""Seconds for a count of those who were not walked."""
PATIENCE = 30.0
"""Seconds to wait for a pause or a cancel to be complete."""

_EPILOGUE = """\
Examples:
    broadside campaign list
    broadside campaign show 2qbsgz3kxm4ta
    broadside campaign show 2qbsgz3kxm4ta --coverage
    broadside campaign show 2qbsgz3kxm4ta --exact
    broadside campaign watch
    broadside campaign watch 2qbsgz3kxm4ta --json
    broadside campaign pause 2qbsgz3kxm4ta
    broadside campaign rate 2qbsgz3kxm4ta 500
    broadside campaign correct 2qbsgz3kxm4ta --title "Storm passes"
    broadside campaign retract 2qbsgz3kxm4ta --title "This alert was wrong"
    broadside campaign verify 2qbsgz3kxm4ta
    broadside campaign explain 2qbsgz3kxm4ta 4711
    broadside campaign preview --title Storm --body "Stay inside" --channel ios-news
    broadside campaign test --title Storm --body "Stay inside" --to 17 --to TOKEN
    broadside campaign forecast --title Storm --body "Stay inside" --country DE
    broadside campaign list --json | jq '.campaigns[0].channels'"""


def register(app: App) -> None:
    """Add the group."""
    group = App(
        name="campaign",
        help="List campaigns; preview, forecast, test, show, watch, fire, approve, disarm, pause, resume, cancel, "
        "correct, retract, verify, explain, certify or read one; send a canary's rest.",
        help_epilogue=_EPILOGUE,
    )
    group.command(list_, name="list")
    group.command(preview)
    group.command(device_send.to_devices, name="test")
    group.command(forecast)
    group.command(show)
    group.command(watch)
    armed_verbs.register(group)
    group.command(canary.rest)
    for act in (pause, resume, cancel, correct, retract, rate, verify, explain, certificate, archive):
        group.command(act)
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
    columns = (
        "id",
        "state",
        "title",
        "fired",
        "seconds",
        "delivered",
        "dead",
        "rejected",
        "remaining",
        "pushes/s",
        "start",
    )
    rows = []
    for report in campaigns:
        tallies = report.channels.values()
        sums = [
            sum(getattr(tally, name) for tally in tallies) for name in ("delivered", "dead", "rejected", "remaining")
        ]
        start = [
            report.id,
            report.state,
            _short(report.title),
            moment(report.fired_at),
            report.seconds,
        ]
        rows.append([*start, *sums, round(report.rate), instant(report.start, report.zone)])
    table(columns, rows)
    return 0


def show(
    id: CampaignId,
    /,
    *,
    coverage: Annotated[
        bool, Parameter(help="Show from the ledger which id ranges were walked, by which node, and which were not.")
    ] = False,
    exact: Annotated[
        bool,
        Parameter(
            help="Of a stopped campaign to some: count the audience among those who were not walked, in place of an "
            "estimate. For millions it takes seconds."
        ),
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show one campaign: its state, and per channel how many are delivered, dead, retried, rejected and remaining."""
    name = campaign_id(id)
    if coverage and exact:
        raise UsageError("--exact: counts at the cut line, which --coverage does not show (give one of them)")
    if coverage:
        return _coverage(name, json, config, data)
    with client(config, data) as node:
        if exact:
            counted = routes.CampaignQuery(exact=True)
            report = node.call(routes.CAMPAIGN, id=name, query=counted, timeout=COUNTED_WITHIN)
        else:
            report = node.call(routes.CAMPAIGN, id=name)
    if exact and report.cut is None:
        complain(f"campaign {name} is {report.state}: only a campaign that is stopped has a cut line to count at")
    if json:
        say_json(report)
        return 0
    rate = f"{report.rate:,.0f} pushes/s" if report.seconds else "-"
    say(f"campaign  {report.id}, {report.state}")
    say(f"title     {_indented(report.message.title)}")
    say(f"body      {_indented(report.message.body)}")
    if report.message.url:
        say(f"url       {report.message.url}")
    if report.message.texts:
        say(f"texts     {', '.join(sorted(report.message.texts))}")
    say(f"kind      {report.kind}, {report.lane} lane")
    if report.start is not None:
        say(f"start     {instant(report.start, report.zone)}")
    if report.expires_at is not None:
        say(f"expires   {instant(report.expires_at, report.zone)}")
    say(f"fired     {moment(report.fired_at)}")
    say(f"finished  {moment(report.finished_at)}" + (f", {report.seconds:,.1f} s" if report.seconds else ""))
    say(f"rate      {rate}")
    for line in reach_lines(report):
        say(line)
    if report.bottleneck:
        left = f"; about {about(report.left)} to go" if report.left is not None else ""
        say(f"now       {report.rate_now:,.0f} pushes/s{left}. {report.bottleneck}")
    if report.forecast is not None:
        say(f"forecast  {report.compared or forecast_lines(report.forecast)[0]}")
    if report.canary is not None:
        say(f"canary    {canary_words(report.canary)}")
    if report.canary_of is not None:
        say(f"canary    the rest of campaign {report.canary_of}")
    if report.approval is not None:
        by = report.approval.by
        until = instant(report.approval.expires_at, report.zone)
        given = f"given by {by}, until {until}" if by else "not given yet"
        say(f"approval  {given}; asked for by {report.approval.asked_by}")
    if report.quiet is not None:
        hours = f"{report.quiet_hours}: " if report.quiet_hours is not None else ""
        say(f"at night  {hours}{QUIET[report.quiet]}")
    say("")
    shown = shown_columns(report)
    table(
        ("channel", *shown),
        [[name, *(getattr(tally, what) for what in shown)] for name, tally in report.channels.items()],
    )
    if waits := waiting(report):
        say("\nasleep, held until their quiet hours end:\n" + "\n".join(waits))
    if lines := cut_line(report):
        say("\n" + "\n".join(lines))
    herd = [report.herd.text] if report.herd is not None and report.herd.text else []
    for line in [*standing_still(report), *herd, *report.questions.values(), *report.notes]:
        say(f"\n{line}")
    if lines := arrived(report):
        say("\n" + "\n".join(lines))
    if lines := reasons(report):
        say("\nnot delivered, by reason:\n" + "\n".join(lines))
    return 0


def preview(
    id: Annotated[str | None, Parameter(help="A campaign's id, to see what its phones get.")] = None,
    /,
    *,
    written: Written | None = None,
    channel: Channels = None,
    kind: KindName = None,
    ttl: Ttl = None,
    quiet: QuietChoice = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Print the exact JSON that each provider would get, for every text, awake and asleep. Fire nothing.

    The exit code is 2 if a platform cannot carry the message.
    """
    if id is not None and (written is not None or channel or kind or ttl or quiet):
        raise UsageError("the id of a campaign has all of that already (leave the options out)")
    with client(config, data) as node:
        if id is not None:
            report = node.call(routes.PREVIEW_OF, id=campaign_id(id))
        else:
            wanted = of_kind(request_of(written or Written(), channel, ttl), kind, quiet)
            report = node.call(routes.PREVIEW, wanted)
    if json:
        say_json(report)
    else:
        for name, each in report.channels.items():
            _say_preview(name, each)
    return 2 if any("awake" in each.objections for each in report.channels.values()) else 0


def _say_preview(channel: str, found: ChannelPreview) -> None:
    for text in found.texts:
        locale = text.locale or "default text"
        what = f"{locale}, {text.presentation}" + (f", apps {text.apps}" if text.apps else "")
        say(f"{channel} ({found.platform}), {what}: {text.bytes:,} of {text.limit:,} bytes")
        for warning in text.warnings:
            say(f"  note: {warning}")
        for name, value in text.fields.items():
            say(f"  {name}: {value}")
        say(f"{text.body}\n")
    for presentation, objection in found.objections.items():
        say(f"{channel} ({found.platform}), {presentation}: {objection}\n")
    if found.at_night:
        say(f"{channel} ({found.platform}), in quiet hours {found.at_night}\n")
    if (most := found.daily_limit) is not None:
        say(f"{channel} ({found.platform}) shows a phone {most:,} of our pushes a day, and drops the others\n")


def pause(id: CampaignId, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Pause a campaign: pushes under way are finished, and nothing more goes out until you resume it."""
    return _move(id, routes.PAUSE, json, config, data)


def resume(id: CampaignId, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Resume a paused campaign where it stopped."""
    return _move(id, routes.RESUME, json, config, data)


def cancel(id: CampaignId, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Cancel a campaign for ever: subscribers not yet reached get nothing."""
    return _move(id, routes.CANCEL, json, config, data)


def rate(
    id: CampaignId,
    people: Annotated[float, Parameter(help="People a second at most, over the whole ring.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Make a campaign slower or faster that was fired with a rate."""
    if not 0 < people <= 1e7:
        raise UsageError(f"PEOPLE: {people:g} is not a rate (people a second, above 0; `campaign pause` sends nothing)")
    with client(config, data) as node:
        report = node.call(routes.RATE, RateRequest(rate=people), id=campaign_id(id))
    if json:
        say_json(report)
    elif report.herd is not None:
        say(f"campaign {report.id} {report.herd.text}")
    return 0


Awake: TypeAlias = Annotated[
    bool, Parameter(help="As loud as the first text for those who had got that. Default: without a sound.")
]


def correct(
    id: CampaignId,
    /,
    *,
    written: Written | None = None,
    awake: Awake = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Give a campaign another text. Whoever has got the first one gets the new one in its place, all others only it.

    What no option says stays as it is. Nothing old is under way any more when the command ends.
    """
    if written is None or written == Written():
        raise UsageError("--title or --body or --message: is missing (write what the phones should show)")
    name = campaign_id(id)
    with client(config, data) as node:
        before = node.call(routes.CAMPAIGN, id=name).message
        wanted = CorrectionRequest(message=message_of(written, before), awake=awake)
        report = node.call(routes.CORRECT, wanted, id=name, timeout=CORRECTED_WITHIN)
    return _say_moved(report, json)


def retract(
    id: CampaignId,
    /,
    *,
    written: Written | None = None,
    awake: Awake = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Stop a campaign for ever. With a text, whoever has got it gets this one in its place."""
    message = None if written is None or written == Written() else message_of(written, Message())
    with client(config, data) as node:
        wanted = RetractionRequest(message=message, awake=awake)
        report = node.call(routes.RETRACT, wanted, id=campaign_id(id), timeout=CORRECTED_WITHIN)
    return _say_moved(report, json)


def verify(id: CampaignId, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Check a campaign's ledger against the base, range by range; exit code 1 if something differs."""
    with client(config, data) as node:
        found = node.call(routes.VERIFY, id=campaign_id(id), timeout=600.0)  # for a large base it takes long
    if json:
        say_json(found)
        return 0 if found.ok else 1
    columns = ("channel", "enqueued", "skipped", "in the base now", "left since")
    rows = [[name, each.enqueued, each.skipped, each.base, each.left] for name, each in found.channels.items()]
    table(columns, rows)
    if found.ok:
        say(f"\ncampaign {found.id}, {found.state}: OK, {found.pages:,} pages")
        return 0
    say(f"\ncampaign {found.id}, {found.state}: differs")
    for problem in found.problems:
        say(f"  {problem}")
    return 1


def archive(id: CampaignId, /, *, config: ConfigFile = None, data: DataDir = None) -> int:
    """Print the archived ledger of an old campaign as NDJSON: the campaign, its segments, its pages."""
    name = campaign_id(id)
    path = data_folder(config, data).archive_of(name)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                say(line.rstrip("\n"))
    except FileNotFoundError:
        where = (
            f"`broadside campaign verify {name}` says which node has it, or checks a ledger that is still in the store"
        )
        raise UsageError(f"{path}: there is no archive of campaign {name} here ({where})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read: {error} (restore it from a backup)") from error
    return 0


def _move(id: str, act: Route[CampaignReport], json: bool, config: Path | None, data: Path | None) -> int:
    with client(config, data) as node:
        report = node.call(act, id=campaign_id(id))
        deadline = time.monotonic() + PATIENCE
        while report.state in ("pausing", "cancelling") and time.monotonic() < deadline:
            time.sleep(0.2)
            report = node.call(routes.CAMPAIGN, id=report.id)
    return _say_moved(report, json)


def _say_moved(report: CampaignReport, json: bool) -> int:
    if json:
        say_json(report)
        return 0
    say(f"campaign {report.id} is {report.state}: {standing(report)}")
    for note in report.notes if report.texts_version else ():
        say(note)
    for line in cut_line(report):
        say(line)
    if report.state in ("pausing", "cancelling"):
        complain("nodes that may still be sending delay it (broadside peers list shows them); it completes by itself")
    return 0


def _coverage(name: str, json: bool, config: Path | None, data: Path | None) -> int:
    with client(config, data) as node:
        found = node.call(routes.COVERAGE, id=name)
    if json:
        say_json(found)
        return 0
    columns = ("segment", "channel", "ids", "node", "epoch", "pages", "recipients", "skipped", "settled")
    rows = [
        [each.segment, each.channel, f"{each.from_id + 1}-{each.to_id}", *(getattr(each, what) for what in columns[3:])]
        for each in found.walked
    ]
    table(columns, rows)
    gaps = f"{len(found.gaps)} gap{'' if len(found.gaps) == 1 else 's'}" if found.gaps else "no gaps"
    say(f"\ncampaign {found.id}, {found.state}: {gaps}")
    for gap in found.gaps:
        say(f"  segment {gap.segment}, ids {gap.from_id + 1}-{gap.to_id}: {gap.why}")
    return 0


def _indented(text: str) -> str:
    """A text of several lines below its own column, so that none of them looks like a line of the report."""
    return ("\n" + " " * 10).join(text.splitlines())


def _short(title: str) -> str:
    return title if len(title) <= 40 else title[:39] + "…"
