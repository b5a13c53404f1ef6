"""The alarm board: everything that is wrong, in one list, for the command line, the page, probes and metrics."""

from __future__ import annotations

from collections.abc import Callable

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
from storage.errors import LinkDown, LinkLost, StorageError

WITHIN = 3.0
"""Seconds in which Tarantool must answer."""
_TUBE = "push_"
"""How the names of channels' tubes begin."""
_ORDER = list(Severity)
_CLOSED = frozenset({AlarmName.TARANTOOL_AWAY, AlarmName.DISK_FULL, AlarmName.MEMORY_FULL})


class AlarmBoard:
    """Asks every part of one node, and the ring, what is wrong. ``own``: what the node knows by itself."""

    def __init__(self, newsroom: Newsroom, ring: Ring, own: Callable[[], list[Alarm]]) -> None:
        self._newsroom = newsroom
        self._ring = ring
        self._own = own

    async def alarms(self, *, probe: bool = False) -> list[Alarm]:
        """Everything that is wrong, the worst first. ``probe``: without what must be counted first."""
        found = self._own()
        with trio.move_on_after(WITHIN) as patience:
            try:
                found += await self._asked(probe)
            except (LinkDown, LinkLost) as error:
                found.append(tarantool_alarm(str(error)))
            except StorageError as error:
                found.append(tarantool_alarm(f"it refuses: {error}"))
        if patience.cancelled_caught:
            found.append(tarantool_alarm(f"no answer within {WITHIN:g} s"))
        return sorted(found, key=lambda alarm: _ORDER.index(alarm.severity))

    async def _asked(self, probe: bool) -> list[Alarm]:
        newsroom = self._newsroom
        found = memory_alarms(await newsroom.memory())
        found += outbox_alarms(await newsroom.outbox_age())
        found += channel_alarms(await newsroom.channel_states(), newsroom.questions())
        found += peer_alarms(await self._ring.peers())
        return found if probe else found + buried_alarms(buried(await newsroom.tubes()))


def closed(alarms: list[Alarm]) -> bool:
    """Whether a node with these alarms can accept nothing."""
    return any(alarm.name in _CLOSED for alarm in alarms)


def buried(statistics: TubeStatus) -> dict[str, int]:
    """Channel → buried batches, of the tubes' statistics."""
    tubes = statistics.tubes
    return {name.removeprefix(_TUBE): tasks.get("buried", 0) for name, tasks in tubes.items() if name.startswith(_TUBE)}
