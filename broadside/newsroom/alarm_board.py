"""The alarm board: everything that is wrong, in one list, for the command line, the page, probes and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.node_status import TubeStatus
from broadside.api.operations import PeerReport
from broadside.newsroom.alarms import (
    buried_alarms,
    channel_alarms,
    memory_alarms,
    outbox_alarms,
    peer_alarms,
    tarantool_alarm,
)
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.channel_state import ChannelState
from storage.errors import LinkDown, LinkLost, StorageError
from storage.records import Memory

WITHIN = 3.0
"""Seconds in which Tarantool must answer."""
RECENT = 1.0
"""Age of a look that is new enough for probes and figures, however many ask for them: seconds."""
_TUBE = "push_"
"""How the names of channels' tubes begin."""
_ORDER = list(Severity)
_CLOSED = frozenset({AlarmName.TARANTOOL_AWAY, AlarmName.DISK_FULL, AlarmName.MEMORY_FULL})


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found at one look. While Tarantool is away, what it did not answer is empty."""

    alarms: list[Alarm]
    """Everything that is wrong, the worst first."""
    reached: bool = False
    """Whether the store and this node's queue answered."""
    tubes: TubeStatus | None = None
    outbox_age: float = 0.0
    """Seconds that the oldest report has waited for the store."""
    memory: dict[str, Memory] = field(default_factory=dict)
    peers: list[PeerReport] = field(default_factory=list)
    channels: list[ChannelState] = field(default_factory=list)


class AlarmBoard:
    """Asks every part of one node, and the ring, what is wrong, once for all who want to know.

    ``own``: what the node knows by itself; ``recovery``: how long the start of its own Tarantool takes, if one is under
    way.
    """

    def __init__(
        self, newsroom: Newsroom, ring: Ring, own: Callable[[], list[Alarm]], recovery: Callable[[], str] = str
    ) -> None:
        self._newsroom = newsroom
        self._ring = ring
        self._own = own
        self._recovery = recovery
        self._asking = trio.Lock()
        self._last: tuple[float, Look] | None = None
        """The last look, and when it began."""

    async def look(self, age: float = 0.0) -> Look:
        """Return what Tarantool said at most ``age`` seconds before this call, and what the node itself knows now."""
        wanted = trio.current_time() - age
        async with self._asking:
            if self._last is None or self._last[0] < wanted:
                self._last = trio.current_time(), await self._ask()
            found = self._last[1]
        return replace(found, alarms=_sorted([*self._own(), *found.alarms]))

    async def _ask(self) -> Look:
        newsroom, found, why = self._newsroom, dict[str, Any](), ""
        with trio.move_on_after(WITHIN) as patience:
            try:
                found["channels"] = await newsroom.channel_states()  # this node's own while the store is away
                found["tubes"] = await newsroom.tubes.status()
                found["outbox_age"] = await newsroom.tubes.outbox_age()
                found["memory"] = await newsroom.memory()
                found["peers"] = await self._ring.peers()
            except (LinkDown, LinkLost) as error:
                why = str(error) or type(error).__name__
            except StorageError as error:
                why = f"it refuses: {error}"
        if patience.cancelled_caught:
            why = f"no answer within {WITHIN:g} s"
        if why:
            why = self._recovery() or why
        look = Look(alarms=[], reached=not why, **found)
        alarms = [
            *([tarantool_alarm(why)] if why else []),
            *memory_alarms(look.memory),
            *outbox_alarms(look.outbox_age),
            *channel_alarms(look.channels, newsroom.questions()),
            *peer_alarms(look.peers),
            *(buried_alarms(buried(look.tubes)) if look.tubes else []),
        ]
        return replace(look, alarms=alarms)


def _sorted(alarms: list[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda alarm: _ORDER.index(alarm.severity))


def closed(alarms: list[Alarm]) -> bool:
    """Whether a node with these alarms can accept nothing."""
    return any(alarm.name in _CLOSED for alarm in alarms)


def buried(statistics: TubeStatus) -> dict[str, int]:
    """Channel → buried batches, of the tubes' statistics."""
    tubes = statistics.tubes
    return {name.removeprefix(_TUBE): tasks.get("buried", 0) for name, tasks in tubes.items() if name.startswith(_TUBE)}
