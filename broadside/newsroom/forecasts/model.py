"""How long a campaign takes on one node: a fluid that runs from the walk through the tubes to the providers. Pure.

Time goes on in short steps. In each of them the walk puts phones on the tubes, and each channel sends as many as the
tightest of its limits allows. What was the tightest for most of the time is the channel's bottleneck.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from broadside.api.forecast_records import Limit

FIRST_STEP = 0.05
"""Seconds …"""
LONGER = 1.02
"""… and each step is so many times as long as the one before: a forecast of days needs no tenths of a second."""
STEPS = 1_500
START = 0.05
"""Share of its full rate at which a ramp begins (``actors/limiter.py``)."""
OPEN_EVERY = 1.0
"""Seconds from one more connection to the next, on a node."""
LEAST = 0.5
"""Phones: less than that is nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """One channel on one node. Rates are pushes a second."""

    connections: float
    """That are up."""
    most: float
    """That may be opened."""
    by_streams: float
    """Of one connection, by the pushes in flight that the provider allows, and the time of its answers."""
    by_window: float
    """Of one connection, by its window, the round trip and the size of a push."""
    rate: float = math.inf
    """That may be sent, by the provider's quota or the channel's own rate."""
    rate_now: float = math.inf
    """The same now, while it rises …"""
    ramp: float = 0.0
    """… over so many seconds."""
    head: float = 0.0
    """Pushes that may go at once on top of the rate: what it has saved up, and the last batch."""
    weight: float = 1.0
    """CPU of a push, in that of an ordinary one, of which ``NodeSpeed.cpu`` speaks."""
    rate_word: Limit = "rate"
    asked_less: float = math.inf
    """That were accepted while the provider asked for less."""
    tail: float = 0.1
    """Seconds from the last push to its answer."""
    answer: float = 0.1
    """Seconds that an answer takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpeed:
    """What a node can do besides. Phones a second."""

    walk: float
    cpu: float
    """Of pushes with a weight of 1."""
    herd: float = math.inf
    """For the sake of the newsroom's site …"""
    herd_ramp: float = 0.0
    """… rising over so many seconds, from a twentieth."""
    begin: float = 0.2
    """Seconds from Fire until the first push is begun, and from the last outcome until the ledger has it."""


@dataclass(slots=True)
class Course:
    """How a channel went."""

    ends: float = 0.0
    """Seconds until the last of those who may get it at once."""
    sent: float = 0.0
    waited: dict[Limit, float] = field(default_factory=dict)
    """Limit → seconds in which it was the tightest."""
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    """(begin of a step, its seconds, phones sent in it)."""

    @property
    def bottleneck(self) -> Limit:
        """What it waited for longest."""
        return max(self.waited, key=lambda word: self.waited[word], default="answers")


def run(speed: NodeSpeed, pipes: Mapping[str, Pipe], now: Mapping[str, float]) -> dict[str, Course]:
    """Send to ``now``, channel → phones that may get it at once.

    A channel that never ends has ``ends`` of ``math.inf``.
    """
    courses = {name: Course() for name in pipes}
    unwalked = dict(now)
    tubes = dict.fromkeys(pipes, 0.0)
    open_ = {name: pipe.connections for name, pipe in pipes.items()}
    full = dict.fromkeys(pipes, 0.0)  # seconds of activity, for the ramp
    head = {name: pipe.head for name, pipe in pipes.items()}
    at, step = 0.0, FIRST_STEP
    for _ in range(STEPS):
        left = sum(unwalked.values())
        if left < LEAST and all(each < LEAST for each in tubes.values()):
            break
        share = min(1.0, speed.walk * step / left) if left >= LEAST else 1.0
        for name, phones in unwalked.items():
            tubes[name] += phones * share
            unwalked[name] = phones - phones * share
        wanted = {name: _room(pipes[name], open_[name], full[name], head[name] / step) for name in pipes}
        goes = {name: min(wanted[name][0] * step, tubes[name]) for name in pipes}
        total = sum(goes.values())
        work = sum(goes[name] * pipe.weight for name, pipe in pipes.items())
        both: list[tuple[float, Limit]] = [
            (speed.cpu * step / work if work else math.inf, "cpu"),
            (_people(speed, at) * step / total if total else math.inf, "herd"),
        ]
        most, tight = min(both, key=lambda each: each[0])
        slower = min(1.0, most)
        for name, pipe in pipes.items():
            if unwalked[name] + tubes[name] < LEAST:
                continue
            course, sent = courses[name], goes[name] * slower
            starved = tubes[name] < wanted[name][0] * step and unwalked[name] >= LEAST
            word: Limit = tight if slower < 1.0 else "walk" if starved else wanted[name][1]
            used = step if sent < tubes[name] or not tubes[name] else step * min(1.0, sent / (wanted[name][0] * step))
            course.waited[word] = course.waited.get(word, 0.0) + used
            course.curve.append((at, step, sent))
            course.sent += sent
            tubes[name] -= sent
            head[name] = max(0.0, head[name] - max(0.0, sent - _risen(pipe, full[name]) * step))
            full[name] += step
            if word in ("streams", "window") and open_[name] < pipe.most:
                open_[name] = min(pipe.most, open_[name] + step / OPEN_EVERY)
            if tubes[name] + unwalked[name] < LEAST:
                course.ends = at + used + pipe.tail + speed.begin
        at += step
        step *= LONGER
    for name, course in courses.items():
        if tubes[name] + unwalked[name] >= LEAST:
            course.ends = math.inf
    return courses


def _room(pipe: Pipe, connections: float, active: float, saved: float) -> tuple[float, Limit]:
    """Pushes a second, and what allows no more. ``saved``: a second, on top of the rate."""
    found: list[tuple[float, Limit]] = [
        (connections * pipe.by_streams, "streams"),
        (connections * pipe.by_window, "window"),
        (pipe.asked_less, "quota"),
        (_risen(pipe, active) + saved, pipe.rate_word),
    ]
    return min(found, key=lambda each: each[0])


def _risen(pipe: Pipe, active: float) -> float:
    """The rate after so many seconds of activity."""
    if not pipe.ramp or pipe.rate_now >= pipe.rate:
        return pipe.rate
    return min(pipe.rate, pipe.rate_now + (1 - START) * pipe.rate * active / pipe.ramp)


def _people(speed: NodeSpeed, at: float) -> float:
    """People a second for the sake of the newsroom's site."""
    if not speed.herd_ramp:
        return speed.herd
    return speed.herd * (START + (1 - START) * min(1.0, at / speed.herd_ramp))


def together(courses: Sequence[Course]) -> Course:
    """One channel on several nodes: it ends with the last of them, which names the bottleneck."""
    last = max(courses, key=lambda course: course.ends)
    curve = sorted(point for course in courses for point in course.curve)
    return Course(last.ends, sum(course.sent for course in courses), last.waited, curve)
