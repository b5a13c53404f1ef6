"""Canaries: a campaign goes to a share of its audience first, and to the rest by itself, unless the share fails.

The rest is a campaign of its own. Any node may find that the share has it; the store decides, once (``canaries.lua``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec import UNSET

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import Canary, FireRequest
from broadside.errors import Conflict, Problem, RecordError
from broadside.newsroom.audience_desk import AudienceDesk
from broadside.newsroom.firing import new_id
from broadside.newsroom.starts import Times, kept_request
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.records import Rest, StoppedCanary
from storage.store import Store

log = structlog.get_logger(__name__)

LIMIT = 0.1
"""The share of failures above which the rest gets nothing, unless the request says otherwise."""


class CanaryDesk:
    """Decides about the rest of canaries. ``reached``: whether everybody of a campaign who may get it now has it."""

    def __init__(self, store: Store, audience: AudienceDesk, reached: Callable[[Campaign], bool], clock: Clock) -> None:
        self._store = store
        self._audience = audience
        self._reached = reached
        self._clock = clock

    async def look(self) -> None:
        """Decide about each canary that is under way, as far as that can be known. Raises ``StorageError``."""
        for id in await self._store.canaries.undecided():
            campaign = await self._store.campaign_waits(id)
            if campaign is None:
                continue
            reached = self._reached(campaign)
            estimate = await self._rest(campaign) if reached else {}
            found = await self._store.canaries.decide(id, new_id(self._clock()), estimate, reached=reached)
            if found is not None and found.state == "stopped":
                log.warning("a canary failed: the rest gets nothing", campaign=campaign_text(id))

    async def go(self, id: int) -> Rest:
        """Let the rest of a canary have it, whatever has become of the share. Raises ``Conflict``."""
        campaign = await self._store.campaign_get(id)
        found = None
        if campaign is not None:
            rest = await self._rest(campaign) if "canary" in campaign.policy else {}
            found = await self._store.canaries.go(id, new_id(self._clock()), rest)
        text = campaign_text(id)
        if found is None:
            what = f"no campaign {text}" if campaign is None else f"campaign {text} has no rest"
            raise Conflict(what, "`campaign list` shows the ids", missing=campaign is None)
        if found.campaign is None:
            state = "cancelled" if found.state == "cancelled" else "not under way yet"
            raise Conflict(f"campaign {text} is {state}, and so is its rest", "fire another one")
        return found

    async def _rest(self, campaign: Campaign) -> dict[str, int]:
        """About how many are in the rest, by channel."""
        share = (campaign.where or {}).get("share")
        where = {**(campaign.where or {}), "share": {**(share or {}), "rest": True}}
        return await self._audience.about(campaign.audience, where, await self._store.campaign_listed(campaign.id))


def share_of(request: FireRequest, times: Times) -> AudienceRequest | None:
    """Return the audience of the share; None: the request has no canary (raises ``RecordError``)."""
    if request.canary is UNSET:
        if request.canary_limit is not UNSET:
            raise RecordError(Problem("canary_limit", "is given without a canary", "add a canary, as in 0.01"))
        return None
    audience = request.audience or AudienceRequest()
    if audience.share is not None:
        raise RecordError(Problem("canary", "is given, and so is audience.share", "give one of them"))
    if times.moment is not None:
        remedy = "leave the canary out, or fire at an instant"
        raise RecordError(Problem("canary", "is of no use where each person has a time of their own", remedy))
    return msgspec.structs.replace(audience, share=request.canary)


def canary_policy(request: FireRequest, id: int, policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a campaign's policy about its canary, of which ``canaries.lua`` makes the rest.

    ``policy``: of the whole campaign.
    """
    rest = msgspec.structs.replace(request, canary=UNSET, canary_limit=UNSET, start=UNSET, arm=UNSET)
    limit = LIMIT if request.canary_limit is UNSET else request.canary_limit
    return {
        "share": request.canary,
        "limit": limit,
        "state": "open",
        "policy": {
            **{name: value for name, value in policy.items() if name != "start"},
            "request": kept_request(rest),
            "canary_of": campaign_text(id),
        },
    }


def canary_of(campaign: Campaign) -> Canary | None:
    """Return what the API shows of a campaign's canary."""
    found = campaign.policy.get("canary")
    if found is None:
        return None
    rest = found.get("rest")
    return Canary(
        share=found["share"],
        limit=found["limit"],
        state=found["state"],
        why=found.get("why") or "",
        rest=None if rest is None else campaign_text(rest),
    )


def stopped_alarms(stopped: Iterable[StoppedCanary]) -> list[Alarm]:
    """Return an alarm for each canary that was stopped in the last day."""
    return [_alarm(campaign_text(each.campaign), each) for each in stopped]


def _alarm(campaign: str, stopped: StoppedCanary) -> Alarm:
    return Alarm(
        name=AlarmName.CANARY_STOPPED,
        severity=Severity.CRITICAL,
        text=f"campaign {campaign} failed for a share of its audience, and the rest gets nothing: {stopped.why}",
        remedy=f"mend what is wrong and fire it again, or `broadside campaign rest {campaign}`",
        about=campaign,
        since=stopped.since,
    )
