"""What makes an alarm: memory, disks, reports, channels, nodes, workers, batches, and parts that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.base_records import LineFault
from broadside.api.operations import PeerReport
from broadside.errors import shown
from broadside.newsroom.ring import AWAY
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock
from storage.records import Memory

WARN = 0.85
MB = 1 << 20
OWED = 60.0
"""Seconds that a report may wait in the outbox before it is an alarm."""
REMEDY = "raise [node] memory in broadside.toml (memory of the server that runs it) and restart"
DISK_REMEDY = "make room on the disk of its data folder: all goes on by itself, without a restart"

_CHANNEL = {
    "question": (AlarmName.REFUSED_TOKENS, Severity.CRITICAL),
    "parked": (AlarmName.CHANNEL_PARKED, Severity.CRITICAL),
    "breaker": (AlarmName.CHANNEL_REFUSED, Severity.CRITICAL),
    "unreachable": (AlarmName.PROVIDER_UNREACHABLE, Severity.CRITICAL),
    "unserved": (AlarmName.CHANNEL_UNSERVED, Severity.CRITICAL),
    "silent": (AlarmName.PROVIDER_SILENT, Severity.WARNING),
    "settling": (AlarmName.SETTLEMENTS_FAIL, Severity.NOTICE),
    "quota": (AlarmName.PROVIDER_QUOTA, Severity.NOTICE),
    "answers": (AlarmName.PROVIDER_SLOW, Severity.NOTICE),
    "limiter": (AlarmName.CHANNEL_RATE, Severity.NOTICE),
}
"""Why a channel stands still → the alarm. What passes by itself is a notice."""


def tarantool_alarm(why: str) -> Alarm:
    """This node does not reach the store or its queue."""
    return Alarm(
        name=AlarmName.TARANTOOL_AWAY,
        severity=Severity.CRITICAL,
        text=f"Tarantool does not answer this node: {why}",
        remedy="`broadside doctor` says which server and why; campaigns go on by themselves once it is back",
    )


def memory_alarms(memories: Mapping[str, Memory]) -> list[Alarm]:
    """An alarm for each server that is full or nearly full, or whose disk is full."""
    found = []
    for name, memory in memories.items():
        if memory.disk_full:
            text = f"the disk of the {name} is full: nothing is accepted, and campaigns wait"
            found.append(_server(AlarmName.DISK_FULL, Severity.CRITICAL, name, text, DISK_REMEDY))
        share = memory.used / max(memory.size, 1)
        size = f"{share:.0%} of the {name}'s memory is used ({memory.used / MB:,.0f} of {memory.size / MB:,.0f} MB)"
        if memory.full:
            text = f"{size}: no subscribers are accepted, and campaigns wait until there is room"
            found.append(_server(AlarmName.MEMORY_FULL, Severity.CRITICAL, name, text, REMEDY))
        elif share > WARN:
            before = f"{REMEDY} before it is full"
            found.append(_server(AlarmName.MEMORY_NEARLY_FULL, Severity.WARNING, name, size, before))
    return found


def _server(name: AlarmName, severity: Severity, server: str, text: str, remedy: str) -> Alarm:
    return Alarm(name=name, severity=severity, text=text, remedy=remedy, about=server)


class Setbacks:
    """Failures of a part that the node can do without. The alarm lasts for an hour after the last failure."""

    SHOWN_FOR = 3600.0
    """Seconds."""

    def __init__(self, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._part = part
        self._clock = clock
        self.down = False
        """The part has failed too often, and is started again after a pause."""
        self._count = 0
        self._last = ""
        self._at = 0.0

    def add(self, error: BaseException) -> None:
        """Count one failure."""
        self._count += 1
        self._last = shown(f"{type(error).__name__}: {error}", 200)
        self._at = self._clock()

    def alarms(self) -> list[Alarm]:
        """Return the alarm, or none."""
        ago = self._clock() - self._at
        if not self._count or (ago > self.SHOWN_FOR and not self.down):
            return []
        now = "it is down and retried every half minute" if self.down else "it was restarted, campaigns went on"
        text = f"{self._part} has failed {self._count} times since the start, last {ago:.0f} s ago: {self._last}; {now}"
        remedy = "please report it with the traceback in node.log"
        return [Alarm(name=AlarmName.API_FAILS, severity=Severity.WARNING, text=text, remedy=remedy)]


class RefusedLines:
    """Requests with many subscribers of which the node has refused many. The alarm lasts for an hour after the last."""

    SHOWN_FOR = 3_600_000
    """Milliseconds."""
    SHARE, LEAST = 0.05, 10
    """A request with a smaller share, or fewer lines, is no alarm: its sender is told, and phones send odd values."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._alarm: Alarm | None = None
        self._at = 0

    def add(self, refused: int, lines: int, first: LineFault | None) -> None:
        """Count one request. ``first``: its first refused line."""
        if refused < max(self.LEAST, self.SHARE * lines) or first is None:
            return
        self._at = self._clock()
        what = f"{refused:,} of {lines:,} subscribers of one request were refused"
        self._alarm = Alarm(
            name=AlarmName.SUBSCRIBERS_REFUSED,
            severity=Severity.WARNING,
            text=f"{what}, first line {first.line}: {first.field}: {shown(first.detail, 200)}",
            remedy=f"{first.remedy}; then send them again: known ones are updated, not doubled",
            since=self._at,
        )

    def alarms(self) -> list[Alarm]:
        """Return the alarm, or none."""
        fresh = self._alarm is not None and self._clock() - self._at <= self.SHOWN_FOR
        return [self._alarm] if fresh and self._alarm is not None else []


def channel_alarms(states: Iterable[ChannelState], questions: Mapping[str, str]) -> list[Alarm]:
    """An alarm for each channel that stands still. ``questions``: channel → the open question, which is said alone."""
    found = [
        Alarm(
            name=AlarmName.REFUSED_TOKENS,
            severity=Severity.CRITICAL,
            text=question,
            remedy="",
            about=channel,
        )
        for channel, question in questions.items()
    ]
    for state in states:
        if state.reason == "question" and state.channel in questions:
            continue
        name, severity = _CHANNEL.get(state.reason, (AlarmName.PROVIDER_SLOW, Severity.NOTICE))
        where = f" on {state.node}" if state.node else ""
        found.append(
            Alarm(
                name=name,
                severity=severity,
                text=f"channel {state.channel}{where}: {state.sentence}",
                remedy=state.remedy,
                about=state.channel,
                node=state.node,
                since=state.since,
            )
        )
    return found


def outbox_alarms(age: float) -> list[Alarm]:
    """Return an alarm if this node's oldest report has waited for the store for a minute. ``age``: seconds."""
    if age <= OWED:
        return []
    what = f"the store has not taken this node's reports for {age:,.0f} s: counts stand still, no campaign can be done"
    remedy = "check that the store is up, and look for the word report in the node's log"
    return [Alarm(name=AlarmName.REPORTS_OWED, severity=Severity.CRITICAL, text=what, remedy=remedy)]


def peer_alarms(peers: Iterable[PeerReport]) -> list[Alarm]:
    """An alarm for each node of the ring that is away, and if this one was forgotten."""
    found = []
    for peer in peers:
        if peer.this and peer.status != "current":
            text = f"{peer.name}, this node, was forgotten by the others: it sends nothing until it has joined again"
            remedy = "nothing to do: it joins by itself once its last lease is over, in about 11 s"
            found.append(_peer(AlarmName.NODE_FORGOTTEN, Severity.WARNING, peer, text, remedy))
        elif not peer.this and peer.status == "current" and peer.seconds_ago > AWAY:
            waiting = f"; {peer.unsettled_pages:,} pages wait for it" if peer.unsettled_pages else ""
            text = f"{peer.name} was last seen {peer.seconds_ago:,.0f} s ago{waiting}"
            remedy = f"start it again; if its server is lost: `broadside peers forget {peer.name}`"
            severity = Severity.CRITICAL if peer.unsettled_pages else Severity.WARNING
            found.append(_peer(AlarmName.PEER_AWAY, severity, peer, text, remedy))
    return found


def _peer(name: AlarmName, severity: Severity, peer: PeerReport, text: str, remedy: str) -> Alarm:
    return Alarm(name=name, severity=severity, text=text, remedy=remedy, about=peer.name, since=peer.seen_at)


def buried_alarms(buried: Mapping[str, int]) -> list[Alarm]:
    """An alarm for each channel with buried batches. ``buried``: channel → batches."""
    return [
        Alarm(
            name=AlarmName.BATCHES_BURIED,
            severity=Severity.WARNING,
            text=f"channel {channel}: {count:,} {'batch is' if count == 1 else 'batches are'} buried",
            remedy=f"`broadside tube buried {channel}` says why; then `broadside tube kick {channel}`",
            about=channel,
        )
        for channel, count in buried.items()
        if count
    ]


def worker_alarms(serving: Mapping[str, bool]) -> list[Alarm]:
    """An alarm for each worker that does not serve. ``serving``: name → whether its tree is up."""
    return [
        Alarm(
            name=AlarmName.WORKER_AWAY,
            severity=Severity.WARNING,
            text=f"{name} does not serve: the other workers send its share",
            remedy="it is started again by itself; if that fails, node.log says why",
            about=name,
        )
        for name, up in serving.items()
        if not up
    ]


def log_alarms(troubles: Iterable[str]) -> list[Alarm]:
    """An alarm for each log file that cannot be written. ``troubles``: a sentence each."""
    return [
        Alarm(name=AlarmName.LOG_UNWRITABLE, severity=Severity.WARNING, text=text, remedy="make room on its disk")
        for text in troubles
    ]
