"""When a campaign starts and when its news expires: what a request says of it, and what a report says of it."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import msgspec
import structlog
from msgspec import UNSET, UnsetType

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
LONGEST_TTL = 30 * 86400
"""Seconds."""
FARTHEST = 366 * 86400
"""Seconds from now to the latest start: beyond it the year is a slip."""
GRACE = 60
"""Seconds that a start may lie in the past: a request takes a moment, and clocks differ. It then starts at once."""
LATE = 5_000
"""Milliseconds after its time from which a start counts as late."""

LOCAL = "local "
_LOCAL_TIME = re.compile(LOCAL + r"(\d{4}-\d\d-\d\dT\d\d:\d\d)( skip)?", re.ASCII)

_REQUEST = msgspec.json.Decoder(FireRequest)


def policy(request: FireRequest, now: int) -> dict[str, Any]:
    """Return the entries of a campaign's policy about its time. ``now``: ms UTC.

    ``ttl_ms``; ``expires_at`` (ms UTC) if it expires at an instant; for a later start ``start`` (ms UTC) and
    ``request``, from which the campaign is made when it starts. Raises ``RecordError``.
    """
    start = None if request.start is UNSET or moment(request) is not None else _start(request.start, now)
    begin = now if start is None else start
    if request.expires is not UNSET and request.ttl_seconds is not None:
        raise _problem("expires", request.expires, "is given beside ttl_seconds", "give one of the two")
    expires_at = None if request.expires is UNSET else read_instant(request.expires)
    ttl_ms = (request.ttl_seconds or TTL) * 1000
    if expires_at is not None:
        ttl_ms = expires_at - begin
    elif request.expires is not UNSET:
        ttl_ms = (parse_duration(request.expires) or 0) * 1000
        if not ttl_ms:
            remedy = f"{INSTANT_FORM}; or a duration from the start: {EXAMPLES}"
            raise _problem("expires", request.expires, "is neither an instant nor a duration", remedy)
    if ttl_ms <= 0:
        raise _problem("expires", request.expires, "is before the start", "write a later instant, or a duration")
    if ttl_ms > LONGEST_TTL * 1000:
        raise _problem(
            "expires", request.expires, "is more than 30 days after the start", "no platform keeps it longer"
        )
    entries: dict[str, Any] = {"ttl_ms": ttl_ms}
    if start is not None:
        kept = msgspec.structs.replace(request, message=Message(), audience=UNSET)  # it has both already
        entries |= {"start": start, "request": msgspec.json.encode(kept).decode()}
    return entries if expires_at is None else entries | {"expires_at": expires_at}


def moment(request: FireRequest) -> Moment:
    """Return when a campaign that is walked at once starts for each subscriber; None: at once, or later as a whole.

    Raises ``RecordError``.
    """
    if request.start is UNSET or request.start == BEST:
        return None if request.start is UNSET else BEST
    if not request.start.startswith(LOCAL):
        return None
    found = _LOCAL_TIME.fullmatch(request.start)
    try:
        local = None if found is None else datetime.fromisoformat(found[1])
    except ValueError:
        local = None
    if found is None or local is None:
        raise _problem("start", request.start, "is no local time", 'write "local 2026-12-01T08:00"')
    if abs(local.timestamp() - time.time()) > FARTHEST:
        raise _problem("start", request.start, "is more than a year away", "check the year")
    day = local.date().isoformat()
    return LocalTime(day, local.hour * 60 + local.minute, "skip" if found[2] else "now")


def life(request: FireRequest, start: int) -> tuple[int, int | None]:
    """Return for how long (ms) news that starts at ``start`` is wanted, and the instant (ms UTC) at which it expires.

    The instant is None if each person's time counts from the moment at which they may first get it.
    """
    if request.expires is UNSET:
        return (request.ttl_seconds or TTL) * 1000, None
    if (expires_at := read_instant(request.expires)) is not None:
        return max(1, expires_at - start), expires_at
    return (parse_duration(request.expires) or TTL) * 1000, None


def rule(request: FireRequest) -> QuietRule:
    """Return what quiet hours mean for a campaign."""
    return QuietRule.HOLD if request.quiet is UNSET else request.quiet


def ends_at(campaign: Campaign) -> int | None:
    """Return the last moment (ms UTC) of a campaign whose end is known: it was named, or follows from its start."""
    if campaign.start is None and "expires_at" not in campaign.policy:
        return None
    return campaign.expires_at


def _start(text: str, now: int) -> int:
    start = read_instant(text)
    if start is None:
        raise _problem("start", text, "is not an instant", INSTANT_FORM)
    if start < now - GRACE * 1000:
        what = f"is over since {span((now - start) / 1000)}"
        raise _problem("start", text, what, "leave it out to fire now, or write a later instant")
    if start > now + FARTHEST * 1000:
        raise _problem("start", text, "is more than a year ahead", "check the year")
    return start


def _problem(field: str, text: str | UnsetType, what: str, remedy: str) -> RecordError:
    value = shown(text or "", 40)
    return RecordError(Problem(field, f"{value} {what}", remedy, value))


def request_of(campaign: Campaign) -> FireRequest:
    """Return the request of a scheduled campaign, as the editor has sent it."""
    return msgspec.structs.replace(_REQUEST.decode(campaign.policy["request"]), message=campaign.message)


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


def missed_alarms(missed: list[Missed], zone: str | None) -> list[str]:
    """Return an alarm for each campaign that was missed in the last day."""
    return [
        f"campaign {campaign_text(each.campaign)} {_missed(each.start, each.why, zone)}; fire it again if it matters"
        for each in missed
    ]


def _missed(start: int, why: str, zone: str | None) -> str:
    reason = why or "no node could start it before it expired"
    return f"missed its start at {instant(start, zone)}, and nobody gets it: {reason}"
