"""When a campaign starts and when its news expires: what a request says of it, and what a report says of it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.campaign_report import FireRequest
from broadside.api.instants import INSTANT_FORM, read_instant
from broadside.api.report_text import instant, span
from broadside.errors import Problem, RecordError, shown
from campaigns.campaign import Campaign
from campaigns.duration import EXAMPLES, parse_duration
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.windows import BEST, LocalTime, Moment, QuietRule
from storage.records import Missed

log = structlog.get_logger(__name__)

TTL = 4 * 3600
"""Seconds after which news expires, unless the campaign sets another time."""
LONGEST_TTL = 30 * 86_400_000
"""Milliseconds."""
FARTHEST = 366 * 86_400_000
"""Milliseconds from now to the latest start: beyond it the year is a slip."""
GRACE = 60
"""Seconds that a start may lie in the past: a request takes a moment, and clocks differ. It then starts at once."""
LATE = 5_000
"""Milliseconds after its time from which a start counts as late."""

LOCAL = "local "
_LOCAL_TIME = re.compile(LOCAL + r"(\d{4}-\d\d-\d\dT\d\d:\d\d)( skip)?", re.ASCII)


class Times(NamedTuple):
    """When a campaign starts, and until when its news is wanted: all that a request says of it, read in one place."""

    start: int
    """Ms UTC. Where ``moment`` says otherwise, people get it later."""
    later: bool
    """Whether the campaign is scheduled: it starts as a whole, at an instant that the editor has named."""
    moment: Moment
    """When it starts for each subscriber, of a campaign that is walked at once; None: with the campaign."""
    ttl: int
    """Ms from when a person may first get it."""
    expires_at: int | None
    """An instant (ms UTC) after which nobody gets it; None: only each person's own ``ttl`` counts."""
    quiet: QuietRule

    @classmethod
    def read(cls, request: FireRequest, now: int) -> Times:
        """Read a request, which has its kind's rules. ``now``: the start of a campaign that names none, ms UTC.

        Raises ``RecordError`` for a text that means no time. What cannot be meant now, :meth:`check` refuses: the
        repeat of a request is answered with its campaign, also when its times are over.
        """
        found = None if request.start is UNSET else _start(request.start)
        start = found if isinstance(found, int) else now
        expires_at = None if request.expires is UNSET else read_instant(request.expires)
        ttl = (request.ttl_seconds or TTL) * 1000
        if expires_at is not None:
            ttl = max(1, expires_at - start)
        elif request.expires is not UNSET:
            ttl = (parse_duration(request.expires) or 0) * 1000
            if not ttl:
                remedy = f"{INSTANT_FORM}; or a duration from the start: {EXAMPLES}"
                raise _problem("expires", request.expires, "is neither an instant nor a duration", remedy)
        quiet = QuietRule.HOLD if request.quiet is UNSET else request.quiet
        return cls(start, isinstance(found, int), None if isinstance(found, int) else found, ttl, expires_at, quiet)

    def check(self, request: FireRequest, now: int) -> None:
        """Raise ``RecordError`` if the request that says these times cannot be meant now (ms UTC)."""
        if self.later and self.start < now - GRACE * 1000:
            what = f"is over since {span((now - self.start) / 1000)}"
            raise _problem("when", request.start, what, "leave it out to fire now, or write a later instant")
        if self.later and self.start > now + FARTHEST:
            raise _problem("when", request.start, "is more than a year ahead", "check the year")
        if isinstance(self.moment, LocalTime) and abs(self.moment.at("UTC") - now) > FARTHEST:
            raise _problem("when", request.start, "is more than a year away", "check the year")
        if request.expires is not UNSET and request.ttl_seconds is not None:
            raise _problem("expires", request.expires, "is given beside ttl_seconds", "give one of the two")
        if self.expires_at is not None and self.expires_at <= self.start:
            raise _problem("expires", request.expires, "is before the start", "write a later instant, or a duration")
        if self.ttl > LONGEST_TTL:
            what = "is more than 30 days after the start"
            raise _problem("expires", request.expires, what, "no platform keeps it longer")

    def policy(self, request: FireRequest, *, kept: bool = False) -> dict[str, Any]:
        """Return the entries of a campaign's policy about its time.

        ``ttl_ms``; ``expires_at`` (ms UTC) if it expires at an instant; for a later start ``start`` (ms UTC) and
        ``request``, from which the campaign is made when it starts; also if it is to be ``kept``.
        """
        entries: dict[str, Any] = {"ttl_ms": self.ttl}
        if self.expires_at is not None:
            entries["expires_at"] = self.expires_at
        if self.later or kept:
            entries["request"] = kept_request(request)
        if self.later:
            entries["start"] = self.start
        return entries


def _start(text: str) -> int | LocalTime | Literal["best"]:
    """Read a start: an instant (ms UTC), each zone's own time, or each subscriber's best time."""
    if text == BEST:
        return BEST
    if not text.startswith(LOCAL):
        if (instant_ := read_instant(text)) is None:
            raise _problem("when", text, "is not an instant", INSTANT_FORM)
        return instant_
    found = _LOCAL_TIME.fullmatch(text)
    try:
        local = None if found is None else datetime.fromisoformat(found[1])
    except ValueError:
        local = None
    if found is None or local is None:
        raise _problem("when", text, "is no local time", 'write "local 2026-12-01T08:00"')
    return LocalTime(local.date().isoformat(), local.hour * 60 + local.minute, "skip" if found[2] else "now")


def ends_at(campaign: Campaign) -> int | None:
    """Return the last moment (ms UTC) of a campaign whose end is known: it was named, or follows from its start."""
    if campaign.start is None and "expires_at" not in campaign.policy:
        return None
    return campaign.expires_at


def _problem(field: str, text: str | UnsetType, what: str, remedy: str) -> RecordError:
    value = shown(text or "", 40)
    return RecordError(Problem(field, f"{value} {what}", remedy, value))


def kept_request(request: FireRequest) -> str:
    """Return a request as the store keeps it, from which `request_of` makes it again."""
    plain = msgspec.to_builtins(msgspec.structs.replace(request, message=Message(), audience=UNSET))  # it has both
    if "when" in plain:
        plain["start"] = plain.pop("when")  # its name in the store: nodes of an earlier version read it too
    return msgspec.json.encode(plain).decode()


def request_of(campaign: Campaign) -> FireRequest:
    """Return the request of a scheduled campaign, as the editor has sent it."""
    kept = msgspec.json.decode(campaign.policy["request"], type=dict[str, Any])
    if "start" in kept:
        kept["when"] = kept.pop("start")
    return msgspec.structs.replace(msgspec.convert(kept, FireRequest), message=campaign.message)


def notes(campaign: Campaign, zone: str | None) -> list[str]:
    """Return a sentence if a scheduled campaign was missed, or started late."""
    start = campaign.start
    if start is None:
        return []
    if campaign.state == "missed":
        return [_missed(start, campaign.policy.get("missed", ""), zone)]
    if campaign.fired_at is not None and campaign.fired_at - start >= LATE:
        late = span((campaign.fired_at - start) / 1000)
        return [f"started {late} late: it was to start at {instant(start, zone)}"]
    return []


def log_start(campaign: Campaign, began: bool, zone: str | None) -> None:
    """Log that this node has started a scheduled campaign, and how late, or that it was missed."""
    id, said = campaign_text(campaign.id), notes(campaign, zone)
    if campaign.state == "missed":
        log.warning("a scheduled campaign was missed", campaign=id, why=said)
    elif began and said:
        log.warning("a scheduled campaign starts late", campaign=id, why=said)
    elif began:
        log.info("a scheduled campaign starts", campaign=id)


def missed_alarms(missed: list[Missed], zone: str | None) -> list[Alarm]:
    """Return an alarm for each campaign that was missed in the last day."""
    return [
        Alarm(
            name=AlarmName.CAMPAIGN_MISSED,
            severity=Severity.CRITICAL,
            text=f"campaign {campaign_text(each.campaign)} {_missed(each.start, each.why, zone)}",
            remedy="fire it again if it matters",
            about=campaign_text(each.campaign),
            since=each.start,
        )
        for each in missed
    ]


def _missed(start: int, why: str, zone: str | None) -> str:
    reason = why or "no node could start it before it expired"
    return f"missed its start at {instant(start, zone)}, and nobody gets it: {reason}"
