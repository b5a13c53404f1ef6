"""Learns how fast this node's channels are, from what its workers report, and keeps it in the store.

The forecast of a campaign rests on it (``newsroom/forecasts``). A look costs the same however many pushes are sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import structlog
import trio

from actors.periodic import Periodic
from broadside.machine_limits import cores
from broadside.node.counting import activities, counted
from broadside.node.flow_meter import Counted, since, waits
from broadside.node.processes import WorkerState
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock, wall_clock
from campaigns.experience import ChannelExperience, NodeExperience, faded, read_experience, write_experience
from campaigns.walk_figures import WalkFigures
from storage.errors import StorageError
from storage.forecasts import ForecastStore
from transports.traffic import mean

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks: workers report once a second."""
KEEP_EVERY = 5.0
"""Seconds between two writes to the store while there is something new."""
BRISK = 200.0
"""Pushes a second from which on the costs of a push are learnt: below it the machine does other things, mostly."""
FULL = 0.9
"""Share of the time in which the streams were full, for the channel's speed to be learnt from it."""
SATURATED = 0.85
"""Share of the time in which the workers run, or wait for a core, from which on they have none to spare."""
OWN = 0.4
"""Share of the time in which they must run themselves for that: if they mostly wait, somebody else has the cores."""
OTHERS = 0.3
"""How much less counts what shows the machine to be slower than known: other work on it only ever does that."""
HALF = 20_000.0
"""Pushes after which what was known before weighs half."""
LEAST_ROWS = 200
"""Rows in a second from which on the speed of the walk is learnt."""


class NodeCounters(NamedTuple):
    """All counters at a moment. ``machine``: seconds for which its cores were busy, whoever used them; ``drilled``: how
    many pushes of drills were settled; ``drilling``: whether others are under way.
    """

    at: float
    channels: Mapping[str, Counted]
    retried: Mapping[str, int]
    machine: float
    walk: WalkFigures
    drilled: int = 0
    drilling: bool = False


class Learning(Periodic):
    """Keeps a node's experience. ``states``: why its channels stand still; ``channels``: their names → the CPU
    of a push (``Platform.weight``); ``drills``: the channels of drills; nothing is learnt from them.
    """

    def __init__(
        self,
        *,
        node: str,
        store: ForecastStore,
        workers: Sequence[WorkerState],
        channels: Mapping[str, float],
        drills: Sequence[str] = (),
        states: Callable[[], Sequence[ChannelState]],
        clock: Clock = wall_clock,
    ) -> None:
        super().__init__()
        self.experience = NodeExperience()
        """What this node has learnt."""
        self._node = node
        self._store = store
        self._workers = workers
        self._weights = dict(channels)
        self._drills = list(drills)
        self._states = states
        self._clock = clock
        self._last: NodeCounters | None = None
        self._known = self._new = False
        self._kept_at = 0.0

    def serve(self, channels: Mapping[str, float]) -> None:
        """Learn of these channels from now on."""
        self._weights = dict(channels)

    async def look(self) -> float:
        """Learn from the last second."""
        try:
            if not self._known:
                await self._read()
            now = self._count()
            if self._last is not None and now.at > self._last.at:
                self._new |= learn(self.experience, self._last, now, len(self._workers), self._slowed(), self._weights)
            self._last = now
            if self._new and now.at >= self._kept_at + KEEP_EVERY:
                await self._store.keep_experience(self._node, write_experience(self.experience), self._clock())
                self._new, self._kept_at = False, now.at
        except StorageError as error:
            log.debug("what was learnt is not kept yet", error=str(error))
        return LOOK_EVERY

    async def _read(self) -> None:
        for row in await self._store.experience():
            if row.node == self._node and (found := read_experience(row.text)) is not None:
                self.experience = found
        self.experience.cores = cores()
        self._known = True

    def _slowed(self) -> frozenset[str]:
        return frozenset(state.channel for state in self._states() if state.reason == "quota")

    def _count(self) -> NodeCounters:
        parts = activities(self._workers, list(self._weights))
        walk = WalkFigures()
        for worker in self._workers:
            if worker.stats is not None:
                walk.walked(worker.stats.walk.rows, worker.stats.walk.skipped, worker.stats.walk.seconds)
        retried: dict[str, int] = {}
        for worker in self._workers:
            for name, figures in worker.counters().channels.items():
                retried[name] = retried.get(name, 0) + figures.outcomes.get("retried", 0)
        for name, found in parts.items():
            traffics = [part.traffic for part in found if part.traffic is not None]
            self._connected(name, [(each.connections, each.streams_allowed, each.granted) for each in traffics])
            trips = [each.round_trip for each in traffics if each.round_trip]
            if trips and (known := self.experience.channels.get(name)) is not None:
                known.round_trip = round(min(trips), 5)
        rehearsing = activities(self._workers, self._drills)
        drilled = sum(each.settled for each in counted(self._workers, rehearsing).values())
        drilling = any(part.in_hand for found in rehearsing.values() for part in found)
        now = trio.current_time()
        return NodeCounters(now, counted(self._workers, parts), retried, machine_seconds(), walk, drilled, drilling)

    def _connected(self, name: str, connections: Sequence[tuple[int, int, int]]) -> None:
        """What the provider allows on a connection, once it does so."""
        up = sum(count for count, _, _ in connections)
        if not up:
            return
        known = self.experience.channels.setdefault(name, ChannelExperience())
        known.window = max((granted for _, _, granted in connections), default=0) or known.window
        allowed = sum(streams for _, streams, _ in connections) / up
        if allowed > 1.0:  # Apple allows one until it has seen a valid token
            known.streams = round(allowed, 1)


def learn(
    experience: NodeExperience,
    before: NodeCounters,
    now: NodeCounters,
    workers: int,
    slowed: frozenset[str],
    weights: Mapping[str, float] = MappingProxyType({}),
) -> bool:
    """Add what a second has shown; returns whether there was anything.

    ``slowed``: channels asked for less; ``weights``: channel → CPU of a push, in that of an ordinary one, whose costs
    are the node's.
    """
    seconds = now.at - before.at
    total, work, busy, waited = 0.0, 0.0, 0.0, 0.0
    for name, after in now.channels.items():
        earlier = before.channels.get(name)
        if earlier is None:
            continue
        known = experience.channels.setdefault(name, ChannelExperience())
        ended = since(earlier.settled, after.settled)
        total += ended
        work += ended * weights.get(name, 1.0)
        busy, waited = since(earlier.busy, after.busy), since(earlier.waited, after.waited)
        answers = [int(since(*pair)) for pair in zip(earlier.answers, after.answers, strict=True)]
        accepted = sum(answers)
        if accepted:
            known.answered(answers)
        if ended:
            weight = ended / HALF
            retried = since(before.retried.get(name, 0), now.retried.get(name, 0))
            known.dead = faded(known.dead, max(0.0, ended - accepted) / ended, weight)
            known.retried = faded(known.retried, retried / ended, weight)
        if name in slowed:
            known.asked_less = round(faded(known.asked_less, ended / seconds, seconds / 10), 1)
        elif ended / seconds > 2 * known.asked_less:
            known.asked_less = 0.0  # it does not ask for less any more
        _fit(known, waits(earlier, after, seconds), after, accepted / seconds, mean(answers))
    rows = False
    if before.drilled == now.drilled and not before.drilling and not now.drilling:  # a drill's simulators use the cores
        _cost(experience, before, now, work / seconds, (busy / seconds, waited / seconds), max(1, workers))
        rows = _walked(experience, before.walk, now.walk)
    return bool(total or rows)


def _fit(
    known: ChannelExperience, waited: Mapping[str, float], after: Counted, rate: float, answer: float | None
) -> None:
    """How fast full streams really were."""
    if waited.get("streams", 0.0) < FULL or waited.get("cpu", 0.0) > SATURATED or not answer or not known.streams:
        return
    if after.connections:
        carried = after.connections * known.streams / answer
        known.fit = round(min(1.5, max(0.3, faded(known.fit, rate / carried, 0.25))), 3)


def _cost(
    experience: NodeExperience,
    before: NodeCounters,
    now: NodeCounters,
    rate: float,
    at_work: tuple[float, float],
    workers: int,
) -> None:
    """What a push costs, and how many a second there are when nothing is left to spare.

    ``rate``: pushes a second, each by its weight.
    ``at_work``: workers that ran or waited for a core, and those of them that waited.
    """
    cores_busy, (busy, waited) = since(before.machine, now.machine) / (now.at - before.at), at_work
    if rate == 0:
        experience.background = round(faded(experience.background, cores_busy, 0.1), 3)
    elif rate >= BRISK:
        weight = rate * (now.at - before.at) / HALF
        experience.cost = _least(experience.cost, max(0.0, cores_busy - experience.background) / rate, weight)
        experience.busy = _least(experience.busy, busy / rate, weight)
        if busy >= SATURATED * workers and busy - waited >= OWN * workers:
            slower = OTHERS if rate < experience.saturated else 1.0
            experience.saturated = round(faded(experience.saturated, rate, weight * slower), 1)


def _least(known: float, seen: float, weight: float) -> float:
    """What is known of a cost, moved towards what was seen by factors, and upwards only a little."""
    if not known or not seen:
        return known or seen
    return float(known * (seen / known) ** min(1.0, weight * (OTHERS if seen > known else 1.0)))


def _walked(experience: NodeExperience, before: WalkFigures, now: WalkFigures) -> bool:
    rows, skipped = since(before.rows, now.rows), since(before.skipped, now.skipped)
    seconds, taken = since(before.seconds, now.seconds), rows - skipped
    if rows < LEAST_ROWS:
        return False
    weight = rows / HALF
    if skipped < taken:
        experience.row = faded(experience.row, seconds / rows, weight)
    else:
        each = max(0.0, seconds - taken * experience.row) / skipped
        experience.skipped = faded(experience.skipped, each, weight)
    return True


def machine_seconds() -> float:
    """Seconds for which this machine's cores were busy since its start; 0 where the system does not say so."""
    with suppress(OSError, ValueError, IndexError):
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        user, nice, system, _, _, *more = map(int, words[1:])
        all_ours = cores() / (os.cpu_count() or 1)
        return (user + nice + system + sum(more[:3])) / os.sysconf("SC_CLK_TCK") * all_ours
    return 0.0
