"""A connection of the sink that is far away: everything comes back when the network would bring it."""

from __future__ import annotations

from typing import Any

import pytest

from simulators.distant_network import DistantNetwork
from simulators.distant_sink import TURN, Answers, DistantLink
from simulators.faults.latency import Latency
from tests.simulators.conftest import PREFACE, frame, parse

NETWORK = DistantNetwork(round_trip=0.06, answers=Latency(constant=60.0))


def request(stream: int) -> bytes:
    return frame(1, 4, stream, b"h" * 40) + frame(0, 1, stream, b"b" * 20)


class Wire:
    """The sink's end, which says at which turn something was sent."""

    def __init__(self) -> None:
        self.arrived: list[bytes] = []
        self.sent: list[bytes] = []

    def receive_now(self) -> bytes | None:
        return self.arrived.pop(0) if self.arrived else None

    def send_now(self, data: bytes) -> None:
        if data:
            self.sent.append(data)

    def close(self) -> None: ...


async def test_answers_and_credit_come_back_after_the_networks_time(autojump_clock: Any) -> None:
    """To a turn, and on average exactly: a request waits half a turn for the sink's look."""
    wire, answers = Wire(), Answers(NETWORK)
    far_end = DistantLink(wire, NETWORK, answers)
    wire.arrived = [PREFACE]
    begin = answers.now() + 1
    assert far_end.turn(begin)
    seen: dict[str, list[int]] = {"answer": [], "credit": []}
    for start in range(begin + 1, begin + 2001, 100):
        wire.arrived.append(b"".join(request(2 * n + 1) for n in range(50)))
        for turn in range(start, start + 100):
            wire.sent.clear()
            assert far_end.turn(turn)
            for kind, *_ in parse(b"".join(wire.sent)):
                if kind in (1, 8):
                    seen["answer" if kind == 1 else "credit"].append(turn - start)
    assert answers.asked == len(seen["answer"]) == 1000
    assert set(seen["answer"]) <= {0.12 / TURN - 1, 0.12 / TURN}
    assert sum(seen["answer"]) / 1000 == pytest.approx(0.12 / TURN - 0.5, abs=0.1)
    assert len(seen["credit"]) == 20
    assert set(seen["credit"]) <= {0.06 / TURN - 1, 0.06 / TURN}
