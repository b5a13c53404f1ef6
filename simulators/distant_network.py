"""What lies between a client and a provider far away: the round trip, the connection's window, slow answers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from simulators.faults.latency import Latency, sampler

_DRAWS: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class DistantNetwork:
    """One network, and how the provider at its end answers. Times in seconds."""

    round_trip: float = 0.0
    window: int = 65_535
    """Octets of bodies that a connection may have on the way; they are given back a round trip later."""
    streams: int = 1_000
    """MAX_CONCURRENT_STREAMS."""
    answers: Latency = field(default_factory=lambda: Latency(constant=60.0))
    """From a request's arrival to its answer."""
    late: float = 0.0
    """This share of the answers takes ``late_after`` seconds instead."""
    late_after: float = 2.0
    dead: float = 0.0
    """This share of the answers says that the app has gone."""

    def draws(self, seed: int = 0) -> list[tuple[float, bool]]:
        """Return one answer after the other: (seconds from the request until it is here, whether the phone is dead)."""
        rng, seconds = random.Random(f"network:{seed}"), sampler(self.answers, seed)  # noqa: S311
        drawn = []
        for _ in range(_DRAWS):
            wait = self.late_after if rng.random() < self.late else seconds()
            drawn.append((self.round_trip + wait, rng.random() < self.dead))
        return drawn

    def carries(self, body: int) -> float:
        """Return the pushes a second that one connection can carry; ``body``: octets."""
        waits = [seconds for seconds, _ in self.draws()]
        by_streams = self.streams / (sum(waits) / len(waits))
        return min(by_streams, self.window / body / self.round_trip) if self.round_trip else by_streams
