"""Drills: the whole base over the whole ring, to simulators. By hand or on a timer, never in a real campaign's way."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import structlog
import trio

from actors.periodic import Periodic
from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.drill_records import DrillRecord, Drills
from broadside.config.drills import DrillConfig
from broadside.errors import Conflict
from broadside.newsroom.firing import Firing, new_id
from broadside.newsroom.forecasts.kept import kept_forecast
from broadside.newsroom.reports import report
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.drill import DRILL, drill_channel
from campaigns.identity import campaign_text
from campaigns.lane import Lane
from campaigns.message import Message
from storage.errors import StorageError
from storage.records import Once
from storage.store import Store

log = structlog.get_logger(__name__)

MESSAGE = Message(
    title="Drill",
    body="A rehearsal of the whole base against simulators, as long as a usual headline with its first sentence.",
)
TTL = 6 * 3600 * 1000
"""Ms after which a drill that never got its turn is over."""
PAGE = 2000
LOOK_EVERY = 1.0
IDLE_EVERY = 2.0
"""Seconds between two looks while no drill is under way. Each looks at the newest few campaigns alone …"""
FEW = 20
ALL_EVERY = 60.0
"""… and seconds between two that look at all drills."""
SLOW = 1.3
"""Times the forecast, or the median of the last drills, from which on a drill counts as slow."""
COMPARED = 5
LISTED = 300
"""Campaigns that are looked through for drills."""
LATE = 3600 * 1000
"""Ms after its time until which a drill on the timer starts."""
FLAT = 3
"""The version of a campaign that was fired and came to its end; each pause and resume is one more."""
UNDER_WAY = ("firing", "pausing", "paused", "cancelling")
DAY_ZERO = datetime(2026, 1, 1, tzinfo=UTC).date()

Foresee = Callable[[Message, Sequence[str]], Awaitable[dict[str, str]]]
"""Returns the entry of a campaign's policy with the forecast of a message to whole channels."""


class DrillDesk:
    """One node's drills.

    ``config``: None: the node has no simulators; ``channels``: the real ones that they stand for.
    """

    def __init__(
        self,
        *,
        store: Store,
        firing: Firing,
        resume: Callable[[int], Awaitable[Any]],
        foresee: Foresee,
        config: DrillConfig | None,
        channels: Sequence[str],
        zone: str | None,
        clock: Clock,
    ) -> None:
        self._store = store
        self._firing = firing
        self._resume = resume
        self._foresee = foresee
        self._config = config
        self._channels = channels
        self._zone = ZoneInfo(zone) if zone is not None else UTC
        self._clock = clock
        self._alarms: list[Alarm] = []
        self._running: int | None = None
        self._all_at = -math.inf

    async def start(self, by: str, once: Once | None = None) -> DrillRecord:
        """Start a drill. Raises ``Conflict`` if there can be none now."""
        if self._config is None:
            what = "this node has no simulators for drills"
            raise Conflict(what, "write [drill] into broadside.toml of each node, and start them again")
        campaigns = await self._store.campaign_list(LISTED)
        if running := [each for each in campaigns if each.drill and each.state in UNDER_WAY]:
            raise Conflict(f"drill {campaign_text(running[0].id)} is {running[0].state}", "wait, or cancel it")
        if await self._real(campaigns):
            raise Conflict("a campaign is being sent", "a drill does not compete with it: try again when it is over")
        counts = await self._store.subscribers_count()
        chosen = [name for name in self._channels if counts.get(name)]
        if not chosen:
            raise Conflict("there is nobody in the base", "`broadside subscribers import` fills it")
        now = self._clock()
        policy: dict[str, Any] = {
            "page_size": PAGE, "ttl_ms": TTL, "kind": DRILL, "lane": Lane.LOWER.word, DRILL: {"by": by},
        }  # fmt: skip
        policy |= await self._foresee(MESSAGE, chosen)
        id = new_id(now)
        first = await self._store.campaign_create(
            id, MESSAGE, [drill_channel(name) for name in chosen], policy, now, once
        )
        self._running = id if first is None else first.campaign
        if first is None:
            await self._firing.begin(id, Lane.LOWER)
            log.info("a drill begins", campaign=campaign_text(id), by=by)
        found = await self._store.campaign_get(id if first is None else first.campaign)
        assert found is not None
        return record(found, self._clock(), ())

    async def last(self) -> Drills:
        """Return the last drills, and when the next one starts by itself."""
        drills = [each for each in await self._store.campaign_list(LISTED) if each.drill]
        return Drills(records(drills, self._clock()), self.next_at())

    def next_at(self) -> int | None:
        """When the next drill starts by itself, ms UTC."""
        if self._config is None or self._config.minute is None:
            return None
        now = self._clock()
        for day in range(self._config.days + 2):
            at = self._moment(now, day)
            if at is not None and at > now:
                return at
        return None

    def _moment(self, now: int, days: int) -> int | None:
        """The time of a drill so many days from today; None: there is none on that day."""
        assert self._config is not None
        assert self._config.minute is not None
        day = datetime.fromtimestamp(now / 1000, self._zone).date() + timedelta(days=days)
        if (day - DAY_ZERO).days % self._config.days:
            return None
        hour, minute = divmod(self._config.minute, 60)
        at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)
        return round(at.timestamp() * 1000)

    async def keep(self) -> bool:
        """Start a drill whose time has come, and let one that is under way yield. Returns whether one is under way."""
        everything = trio.current_time() >= self._all_at + ALL_EVERY
        campaigns = await self._store.campaign_list(LISTED if everything else FEW)
        drills = [each for each in campaigns if each.drill]
        if everything:
            self._alarms, self._all_at = alarms(records(drills, self._clock())), trio.current_time()
        running = next((each for each in drills if each.state in UNDER_WAY), None)
        if running is None and self._running is not None:  # it is no longer among the few, or has just ended
            known = await self._store.campaign_get(self._running)
            running = known if known is not None and known.state in UNDER_WAY else None
            self._all_at = -math.inf
        self._running = None if running is None else running.id
        if running is None:
            await self._on_time()
            return False
        if running.state in ("firing", "paused"):
            real = await self._real(campaigns)
            if real and running.state == "firing":
                log.info("a drill yields to a campaign", campaign=campaign_text(running.id))
                await self._store.campaign_pause(running.id, self._clock())
            elif not real and running.state == "paused":
                await self._resume(running.id)
        return True

    async def make_way(self) -> None:
        """A campaign has just been fired: a drill stops at once, whichever node began it. Never raises: `keep` sees to
        it, too.
        """
        try:
            id = self._running
            if id is None:
                newest = await self._store.campaign_list(FEW)
                id = next((each.id for each in newest if each.drill and each.state == "firing"), None)
            if id is not None:
                await self._store.campaign_pause(id, self._clock())
        except StorageError as error:
            log.debug("a drill yields a moment later", error=str(error))

    async def _on_time(self) -> None:
        if self._config is None or self._config.minute is None:
            return
        now = self._clock()
        at = self._moment(now, 0)
        if at is None or not at <= now < at + LATE:
            return
        once = Once("drill", f"drill {at}", {})
        if await self._store.campaign_keyed("drill", once.key, now) is None:
            try:
                await self.start("timer", once)
            except Conflict as error:
                log.info("no drill yet", why=str(error))

    async def _real(self, campaigns: Sequence[Campaign]) -> bool:
        """Whether a real campaign is being sent, or may be at any moment; not one whose people all sleep."""
        for campaign in campaigns:
            if campaign.drill or campaign.state not in ("firing", "pausing", "cancelling"):
                continue
            timed = await self._store.campaign_waits(campaign.id) or campaign
            if not report(timed, self._clock(), ()).reached:
                return True
        return False

    def alarms(self) -> list[Alarm]:
        """Return the alarm about the last drill, if it was slow."""
        return self._alarms


class DrillKeeper(Periodic):
    """Looks after drills on one node. Any node may do what is to be done: the store lets one."""

    def __init__(self, desk: DrillDesk, refresh: Callable[[], Awaitable[None]]) -> None:
        """``refresh``: brings the simulators up to date; called while no drill is under way."""
        super().__init__()
        self._desk = desk
        self._refresh = refresh

    async def look(self) -> float:
        """Look once."""
        try:
            if await self._desk.keep():
                return LOOK_EVERY
            await self._refresh()
        except StorageError as error:
            log.debug("drills are not looked after for now", error=str(error))
        return IDLE_EVERY


def records(drills: Sequence[Campaign], now: int) -> list[DrillRecord]:
    """The drills, the newest first, each compared with those before it."""
    found: list[DrillRecord] = []
    for campaign in reversed(drills):
        found.append(record(campaign, now, [each for each in found if _counts(each)][-COMPARED:]))
    return found[::-1]


def _counts(drill: DrillRecord) -> bool:
    return drill.state == "done" and not drill.yielded and drill.rate > 0


def record(campaign: Campaign, now: int, before: Sequence[DrillRecord]) -> DrillRecord:
    """One drill. ``before``: those that it is compared with."""
    told = report(campaign, now, ())
    seconds = told.seconds
    settled = {name: tally.settled for name, tally in told.channels.items()}
    kept = kept_forecast(campaign.policy)
    foreseen = None if kept is None else kept.seconds
    plain = DrillRecord(
        id=told.id,
        state=told.state,
        by=campaign.policy[DRILL].get("by", ""),
        fired_at=told.fired_at,
        finished_at=told.finished_at,
        phones=sum(tally.audience for tally in told.channels.values()),
        settled=sum(settled.values()),
        seconds=seconds,
        rate=told.rate,
        rates={name: round(n / seconds, 1) for name, n in settled.items()} if seconds else {},
        yielded=campaign.version > FLAT or campaign.state in ("pausing", "paused"),
        forecast=foreseen,
        slower="",
    )
    if not _counts(plain) or seconds is None:
        return plain
    why = ""
    if foreseen and seconds > SLOW * foreseen:
        why = f"it took {seconds:,.0f} s, and {foreseen:,.0f} s were foreseen"
    elif len(before) >= 2 and plain.rate * SLOW < (usual := median(each.rate for each in before)):
        why = f"it sent {plain.rate:,.0f} pushes a second, and the drills before it {usual:,.0f}"
    return msgspec.structs.replace(plain, slower=why)


def alarms(drills: Sequence[DrillRecord]) -> list[Alarm]:
    """The alarm about the last drill that counts, if it was slow."""
    last = next((each for each in drills if _counts(each)), None)
    if last is None or not last.slower:
        return []
    remedy = "`broadside drill --report` shows all; compare its channels, and what else the machines did then"
    text = f"the last drill was slow: {last.slower}"
    return [Alarm(name=AlarmName.DRILL_SLOW, severity=Severity.WARNING, text=text, remedy=remedy)]
