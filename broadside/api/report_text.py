"""A campaign's report in words."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from broadside.api.audience_request import AudienceCount, ChannelCount
from broadside.api.campaign_report import CampaignReport, Canary, Scheduled
from campaigns.tally import ENQUEUED, SKIPPED, UNSURE, UNWALKED, Tally
from campaigns.windows import QuietRule

QUIET = {
    QuietRule.HOLD: "held until the end of quiet hours",
    QuietRule.SILENT: "shown at once, without a sound",
    QuietRule.DROP: "left out",
    QuietRule.BREAK_THROUGH: "woken",
}
"""What becomes of people in quiet hours."""
COLUMNS = tuple(word for word in Tally.__struct_fields__ if word != ENQUEUED)


def moment(ms: int | None) -> str:
    """Write a time (ms UTC) in this machine's zone, or a dash."""
    return "-" if ms is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))


def instant(ms: int | None, zone: str | None) -> str:
    """Write an instant (ms UTC) in ``zone`` and in UTC, or in UTC alone; a dash for none."""
    if ms is None:
        return "-"
    utc = datetime.fromtimestamp(ms / 1000, UTC)
    if zone is None:
        return f"{utc:%Y-%m-%d} {_hours(utc)} UTC"
    local = utc.astimezone(ZoneInfo(zone))
    day = "" if utc.date() == local.date() else f"{utc:%Y-%m-%d} "
    return f"{local:%Y-%m-%d} {_hours(local)} {zone} ({day}{_hours(utc)} UTC)"


def _hours(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def span(seconds: float) -> str:
    """Write a duration in its two largest units: ``2 d 3 h``, ``5 min 10 s``, ``1.5 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(n for n, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def starts(report: CampaignReport) -> str:
    """Say when a scheduled campaign starts, and in how long."""
    assert report.start is not None
    left = report.start / 1000 - time.time()
    return f"starts {instant(report.start, report.zone)}" + (f", in {span(left)}" if left > 0 else ", now")


def canary_words(canary: Canary) -> str:
    """Say what has become of a canary."""
    first = f"{canary.share:.3g} of the audience first"
    if canary.state == "on":
        return f"{first}; the rest is campaign {canary.rest}" + (f" ({canary.why})" if canary.why else "")
    if canary.state == "stopped":
        return f"{first}; the rest gets nothing ({canary.why})"
    return f"{first}; the rest follows unless more than {canary.limit:.0%} of a channel's pushes fail"


def shown_columns(report: CampaignReport) -> list[str]:
    """Return the tallies' words for a table; rows that were skipped or not walked only where there are any."""
    few = (SKIPPED, UNSURE, UNWALKED)
    tallies = report.channels.values()
    return [word for word in COLUMNS if word not in few or any(getattr(tally, word) for tally in tallies)]


def describe(report: CampaignReport) -> str:
    """Describe a campaign's channels and audience in half a line."""
    names = ", ".join(report.channels) or "no channel yet"
    audience = sum(tally.audience for tally in report.channels.values())
    about = "about " if report.conditions is not None and not report.walked else ""
    return f"{names}" + (f" ({about}{audience:,} subscribers)" if audience else "")


def standing(report: CampaignReport) -> str:
    """Say how many recipients are settled, how many are on tubes, and how many are not yet claimed."""
    tallies = report.channels.values()
    settled, audience = sum(tally.settled for tally in tallies), sum(tally.audience for tally in tallies)
    if report.state == "scheduled":
        return starts(report)
    if report.state == "armed":
        return "ready to be fired"
    if report.ended:
        return f"{sum(tally.delivered for tally in tallies):,} delivered, " + ", ".join(
            f"{sum(getattr(tally, name) for tally in tallies):,} {name}" for name in ("dead", "rejected", "cancelled")
        )
    enqueued = sum(tally.enqueued for tally in tallies)
    unclaimed = 0 if report.walked else max(0, audience - enqueued)
    about = "about " if report.conditions is not None and not report.walked else ""
    return f"{settled:,} are settled, {max(0, enqueued - settled):,} are on tubes, {about}{unclaimed:,} not yet claimed"


def cut_line(report: CampaignReport) -> list[str]:
    """Say who has a stopped campaign, and who has not."""
    cut = report.cut
    if cut is None:
        return []
    about = "about " if cut.in_rows else ""
    numbers = f"{cut.accepted:,} accepted, {cut.may_have_it:,} may have it, {cut.on_tubes:,} on tubes"
    lines = [f"cut line: {numbers}, {about}{cut.not_walked:,} not yet walked"]
    return [*lines, *(f"  {node}: {why}" for node, why in cut.nodes.items())]


def summary(report: CampaignReport) -> str:
    """Summarise how a campaign ended, a line per channel."""
    lines = [_headline(report)]
    for name, tally in report.channels.items():
        parts = [f"{tally.delivered:,} delivered", f"{tally.dead:,} dead"]
        parts += [f"{value:,} {what}" for what in COLUMNS[3:] if (value := getattr(tally, what))]
        lines.append(f"  {name}: {', '.join(parts)}")
    lines += [f"  {name} is paused: {why}" for name, why in report.paused_channels.items()]
    if report.herd is not None and report.herd.text:
        lines.append(f"  {report.herd.text}")
    lines += [f"  {note}" for note in report.notes]
    return "\n".join(lines)


def _headline(report: CampaignReport) -> str:
    if report.fired_at is None:
        return f"campaign {report.id} is {report.state}"
    if report.ended or not report.held:
        return f"campaign {report.id} is {report.state}: {report.seconds or 0.0:.1f} s, {report.rate:,.0f} pushes/s"
    reached = sum(tally.settled for tally in report.channels.values())
    speed = f"in {report.active or 0.0:.1f} s, {report.rate:,.0f} pushes/s"
    return f"campaign {report.id}: {reached:,} reached {speed}; {report.held:,} asleep, held (next: {next_up(report)})"


def next_up(report: CampaignReport) -> str:
    """Say who is reached next: ``96 in Asia/Tokyo at 22:00 UTC``."""
    first = report.schedule[0]
    at = time.strftime("%H:%M", time.gmtime(first.at / 1000))
    return f"{first.recipients:,} in {where(first)} at {at} UTC"


def waiting(report: CampaignReport) -> list[str]:
    """List when those who wait get it: ``  22:00 UTC: 120,000 in America/New_York and 11 more``."""
    return [f"  {_clock(each.at)}: {each.recipients:,} in {where(each)}" for each in report.schedule]


def _clock(at: int) -> str:
    return time.strftime("%a %H:%M UTC", time.gmtime(at / 1000))


def where(scheduled: Scheduled) -> str:
    """Name the zones of people who wait."""
    first, *others = scheduled.zones
    return f"{first} and {len(others)} more" if others else first


def standing_still(report: CampaignReport) -> list[str]:
    """List why channels send nothing, or less than they could: since when, until when, and what to do."""
    lines = []
    for state in report.channel_states:
        where = f" on {state.node}" if state.node else ""
        until = f", tried again at {moment(state.until)}" if state.until else ""
        what = "is slowed down" if state.reason in ("limiter", "quota") else "stands still"
        remedy = f" ({state.remedy})" if state.remedy else ""
        lines.append(f"{state.channel}{where} {what} since {moment(state.since)}{until}: {state.sentence}{remedy}")
    return lines


def reasons(report: CampaignReport) -> list[str]:
    """List why pushes were not delivered, the most frequent first."""
    return [
        f"  {channel}: {count:,} × {reason}"
        for channel, counts in report.reasons.items()
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def arrived(report: CampaignReport) -> list[str]:
    """Say what is known of the arrival of its pushes: by the providers themselves, and by receipts."""
    lines = []
    for name, known in report.delivery.items():
        if (figures := known.figures) is not None:
            whole = f", all pushes of the app on {', '.join(figures.days)}" if figures.whole_app else ""
            way = f"{figures.accepted:,} accepted → {figures.delivered:,} delivered → {figures.discarded:,} discarded"
            waits = f", {figures.waiting:,} waiting" if figures.waiting else ""
            lines.append(f"{name}: {way}{waits} (its provider's own figures{whole})")
        if (seen := known.receipts) is not None:
            sample = f"{seen.received:,} receipts of 1 phone in {seen.one_in:,}"
            lines.append(f"{name}: {seen.share:.1%} arrived, {seen.low:.1%} to {seen.high:.1%} (95 %), by {sample}")
    return lines


def written(found: ChannelCount | AudienceCount) -> str:
    """A number with its error, both without digits that mean nothing."""
    if found.error is None:
        return f"{found.subscribers:,}"
    unit = int(10 ** max(0, math.floor(math.log10(max(found.error, 1))) - 1))
    number, error = (round(each / unit) * unit for each in (found.subscribers, found.error))
    return f"{number:,} ± {error:,} (95 %)"
