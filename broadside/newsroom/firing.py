"""Fires a campaign once, from the request to the first batons, even if answers are lost on the way.

Each step can be repeated: the draft is written under its id and its idempotency key, and firing a campaign that is
firing already changes nothing. So a call whose answer is lost is repeated here, for a limited time, before it fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import structlog
import trio

from broadside.api.campaign_report import FireRequest
from broadside.api.idempotency import HEADER, differing, digest
from broadside.errors import FireFailed, shown
from broadside.newsroom.alarms import DISK_REMEDY, REMEDY
from broadside.newsroom.audience_desk import Chosen
from campaigns.baton import Baton
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.windows import Windows
from storage.armed import Arming, Unapproved
from storage.errors import DiskFull, LinkDown, LinkLost, OutOfMemory, StorageError, VerbRefused
from storage.records import Keyed, Once, TextGuard
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRE_WITHIN = 15.0
"""Seconds in which a Fire must be written, including all repeats."""
AGAIN_AFTER = 0.1
"""Seconds before a lost call is repeated."""
SPREAD_WITHIN = 3.0
"""Seconds to distribute the first batons round the ring; the shepherd replaces lost ones."""
_EPOCH = 1_577_836_800_000  # 2020-01-01: campaign ids are ms since then, 22 random bits below


class KeyReused(FireFailed):
    """The idempotency key was used for another request. Nothing was fired."""

    def __init__(self, key: str, campaign: str, fields: Sequence[str]) -> None:
        """Name the campaign that the key belongs to, and the fields in which the requests differ."""
        self.key, self.fields = key, fields
        why = f"{HEADER} {shown(key)} was used for campaign {campaign}, with another {', '.join(fields)}"
        super().__init__(campaign, why, "use a new key for a new campaign", maybe=False, status=422)


class Firing:
    """Writes campaigns and starts them. ``segments``: the number of parts in which a base is walked in parallel."""

    def __init__(self, *, store: Store, tubes: Tubes, peers: Sequence[Tubes], segments: int, clock: Clock) -> None:
        self._store = store
        self._tubes = tubes
        self._peers = peers
        self._segments = segments
        self._clock = clock

    async def fire(
        self,
        request: FireRequest,
        message: Message,
        policy: dict[str, Any],
        check: Callable[[int], Awaitable[Chosen]],
        key: str | None,
        owner: str,
        windows: Callable[[int], Windows | None] = lambda _: None,
        guard: TextGuard | None = None,
        arming: Callable[[], Arming] | None = None,
    ) -> Campaign:
        """Fire a campaign, or return the one that ``key`` has fired already. With a ``start`` it is scheduled.

        ``message``: as it is sent.

        ``check`` runs before anything is written. It gets the new campaign's id, returns the audience, and raises if
        the request is invalid. ``arming``: called after it, says how the campaign is armed instead; ``windows``: the
        window classes of a campaign that starts at a moment (ms UTC). Raises
        ``KeyReused`` if the key belongs to another request, ``Repeats`` if ``guard`` knows its text, and
        ``FireFailed``,
        which says whether the campaign may be firing.
        """
        if guard is not None:
            guard = guard._replace(owner=owner, key=key)
        once = None if key is None else Once(owner, key, digest(request))
        now = self._clock()
        id = new_id(now)
        written = maybe = unsure = False  # unsure: a call may have run, though nobody has its answer
        lost = "the store does not answer in time"
        becomes = "armed" if arming is not None else "firing" if request.start is msgspec.UNSET else "scheduled"

        async def insist(call: Callable[[], Awaitable[T]]) -> T:
            nonlocal lost, unsure
            while True:
                try:
                    return await call()
                except DiskFull:
                    raise
                except LinkLost as error:
                    lost, unsure = str(error), True
                    await trio.sleep(AGAIN_AFTER)

        def failed(why: str, remedy: str, status: int = 503) -> FireFailed:
            campaign = campaign_text(id) if written else ""
            if maybe:
                again = "repeat with the same key to be sure" if key is not None else "check before you fire again"
                remedy = f"`broadside campaign show {campaign}`; {again}"
            return FireFailed(campaign, why, remedy, maybe=maybe, status=status, becomes=becomes)

        try:
            with trio.fail_after(FIRE_WITHIN):
                first = None
                if once is not None:
                    first = await insist(lambda: self._store.campaign_keyed(owner, once.key, now))
                if first is None:
                    chosen = await insist(lambda: check(id))
                    written = True
                    first = await insist(
                        lambda: self._store.campaign_create(
                            id,
                            message,
                            chosen.channels,
                            policy,
                            now,
                            once,
                            where=chosen.where,
                            listed=chosen.listed,
                            estimate=chosen.estimate,
                        )
                    )
                if first is not None and once is not None:
                    self._same(once, first)
                    # an earlier request created the campaign, and may have fired it
                    id, written, maybe = first.campaign, True, True
                began, unsure = maybe, False
                maybe = True
                try:
                    if arming is None:
                        times = await trio.to_thread.run_sync(windows, now)
                        batons = await insist(lambda: self._store.campaign_fire(id, self._segments, now, times, guard))
                    else:
                        ready, batons = arming(), None
                        await insist(lambda: self._store.armed.arm(id, ready, now))
                except (VerbRefused, DiskFull):
                    maybe = began or unsure  # a refused call has written nothing
                    raise
                if batons:
                    await self.spread(batons, Lane.named(policy.get("lane")))
                campaign = await insist(lambda: self._store.campaign_get(id))
        except DiskFull as error:
            raise failed(f"Tarantool's disk is full: {error}", DISK_REMEDY, 507) from error
        except (LinkLost, LinkDown) as error:
            raise failed(f"the node does not reach its Tarantool: {error}", _AGAIN) from error
        except trio.TooSlowError as error:
            raise failed(f"the node does not reach its Tarantool: {lost}", _AGAIN) from error
        except OutOfMemory as error:
            raise failed(f"Tarantool's memory is full: {error.text}", REMEDY, 507) from error
        except VerbRefused as error:
            raise failed(f"Tarantool refuses: {error.text}", "`broadside doctor` says more", 500) from error
        if campaign is None:
            maybe = False
            raise failed("the store no longer knows the draft", _AGAIN)
        return campaign

    async def begin(self, id: int, lane: Lane) -> None:
        """Fire a draft that this node has just made. Raises ``StorageError``; a repeat changes nothing."""
        if batons := await self._store.campaign_fire(id, self._segments, self._clock()):
            await self.spread(batons, lane)

    async def start(self, id: int, channels: list[str] | None, policy: dict[str, Any], windows: Windows | None) -> bool:
        """Start a scheduled campaign that is due, unless another node has. Returns whether this call put its batons.

        Raises ``StorageError``. If an answer is lost, a repeat changes nothing, and the shepherd puts the batons.
        """
        _, batons = await self._store.campaign_start(id, self._segments, channels, policy, windows) or (None, [])
        if batons:
            await self.spread(batons, Lane.named(policy.get("lane")))
        return bool(batons)

    async def fire_armed(
        self,
        id: int,
        lane: Lane,
        windows: Windows | None,
        guard: TextGuard | None,
        more: Mapping[str, Any],
        *,
        alone: bool,
    ) -> Unapproved | None:
        """Fire an armed campaign; return why it stays armed, if it does.

        ``more``: further entries of its policy; ``alone``: without its approval.

        Raises ``Repeats`` if ``guard`` knows its text, and ``FireFailed``, which says whether it may be firing.
        """
        unsure, lost, now, text = False, "", self._clock(), campaign_text(id)
        with trio.move_on_after(FIRE_WITHIN):
            while True:
                try:
                    found = await self._store.armed.fire(id, self._segments, now, windows, guard, more, alone=alone)
                except DiskFull as error:
                    why = f"Tarantool's disk is full: {error}"
                    raise FireFailed(text, why, DISK_REMEDY, maybe=unsure, status=507) from error
                except VerbRefused as error:
                    why = f"Tarantool refuses: {error.text}"
                    raise FireFailed(text, why, "`broadside doctor` says more", maybe=unsure, status=500) from error
                except LinkLost as error:
                    unsure, lost = True, str(error)
                    await trio.sleep(AGAIN_AFTER)
                    continue
                if isinstance(found, Unapproved):
                    return found
                await self.spread(found or [], lane)
                return None
        remedy = f"`broadside campaign show {text}`; fire it again to be sure: it is fired once"
        raise FireFailed(text, f"the node does not reach its Tarantool: {lost}", remedy, maybe=unsure)

    def _same(self, once: Once, first: Keyed) -> None:
        if fields := differing(first.request, once.request):
            raise KeyReused(once.key, campaign_text(first.campaign), fields)

    async def spread(self, batons: list[Baton], lane: Lane) -> None:
        """Distribute batons round the ring, so that all nodes walk in parallel. The shepherd replaces lost ones."""
        with trio.move_on_after(SPREAD_WITHIN):
            try:
                await self._spread(batons, lane)
            except StorageError as error:
                log.warning("batons are not all put: the shepherd makes them again", error=str(error))

    async def _spread(self, batons: list[Baton], lane: Lane) -> None:
        ring = 1 + len(self._peers)
        own = batons[::ring]
        for number, peer in enumerate(self._peers, 1):
            share = batons[number::ring]
            if share:
                try:
                    await peer.baton_offer(share, lane)
                except (LinkLost, VerbRefused):
                    own += share
        await self._tubes.baton_put(own, lane)


_AGAIN = "try again in a moment, with the same key; `broadside doctor` says more"


def new_id(now: int) -> int:
    """Return an id for a new campaign; ids increase with time. ``now``: ms UTC.

    Raises ``FireFailed`` before 2020, the zero of these ids: a machine without a battery starts in 1970.
    """
    if now < _EPOCH:
        day = datetime.fromtimestamp(now / 1000, UTC).date()
        raise FireFailed("", f"this machine's clock says {day}", "set its clock, best by NTP", maybe=False)
    return now - _EPOCH << 22 | secrets.randbits(22)
