"""The alarm board: everything that is wrong, in one list, for the command line, the page, probes and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.node_status import TubeStatus
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
_TUBE = "push_"
"""How the names of channels' tubes begin."""
_ORDER = list(Severity)
_CLOSED = frozenset({AlarmName.TARANTOOL_AWAY, AlarmName.DISK_FULL, AlarmName.MEMORY_FULL})


class Look(NamedTuple):
    """What was found at one look."""

    alarms: list[Alarm]
    memory: dict[str, Memory]
    channels: list[ChannelState]
    tubes: TubeStatus | None
    """None: they were not counted."""


class AlarmBoard:
    """Asks every part of one node, and the ring, what is wrong. ``own``: what the node knows by itself."""

    def __init__(self, newsroom: Newsroom, ring: Ring, own: Callable[[], list[Alarm]]) -> None:
        self._newsroom = newsroom
        self._ring = ring
        self._own = own

    async def alarms(self, *, probe: bool = False) -> list[Alarm]:
        """Everything that is wrong, the worst first. ``probe``: without what must be counted first."""
        found: list[Alarm] = []
        with trio.move_on_after(WITHIN) as patience:
            try:
                found = (await self._look(probe)).alarms
            except (LinkDown, LinkLost) as error:
                found = [tarantool_alarm(str(error))]
            except StorageError as error:
                found = [tarantool_alarm(f"it refuses: {error}")]
        if patience.cancelled_caught:
            found = [tarantool_alarm(f"no answer within {WITHIN:g} s")]
        return _sorted([*self._own(), *found])

    async def look(self) -> Look:
        """The same, with what it was seen in. Raises ``StorageError`` while Tarantool is away."""
        found = await self._look(probe=False)
        return found._replace(alarms=_sorted([*self._own(), *found.alarms]))

    async def _look(self, probe: bool) -> Look:
        newsroom = self._newsroom
        memory, channels = await newsroom.memory(), await newsroom.channel_states()
        found = memory_alarms(memory)
        found += outbox_alarms(await newsroom.outbox_age())
        found += channel_alarms(channels, newsroom.questions())
        found += peer_alarms(await self._ring.peers())
        tubes = None if probe else await newsroom.tubes()
        return Look(found if tubes is None else found + buried_alarms(buried(tubes)), memory, channels, tubes)


def _sorted(alarms: list[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda alarm: _ORDER.index(alarm.severity))


def closed(alarms: list[Alarm]) -> bool:
    """Whether a node with these alarms can accept nothing."""
    return any(alarm.name in _CLOSED for alarm in alarms)


def buried(statistics: TubeStatus) -> dict[str, int]:
    """Channel → buried batches, of the tubes' statistics."""
    tubes = statistics.tubes
    return {name.removeprefix(_TUBE): tasks.get("buried", 0) for name, tasks in tubes.items() if name.startswith(_TUBE)}
