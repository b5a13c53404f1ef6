"""A connection of the sink that is far away: everything comes back when the network would bring it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from simulators.distant_network import DistantNetwork
from simulators.distant_sink import LOOKS, TURN, Answers, DistantLink
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

    def waiting(self) -> bool:
        return bool(self.arrived)

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


@pytest.mark.parametrize("after", [0.1, 0.5, 0.9])
async def test_what_comes_early_in_a_turn_waits_no_longer_than_what_comes_late(
    autojump_clock: Any, after: float
) -> None:
    """24: a client that answers a turn at once waited nearly a turn more each time, and seemed an eighth slower."""
    wire, answers = Wire(), Answers(NETWORK)
    far_end = DistantLink(wire, NETWORK, answers)
    wire.arrived = [PREFACE]
    now = answers.now() + 1
    await trio.sleep_until(now * TURN)
    assert far_end.turn(now)
    seen: dict[int, list[float]] = {1: [], 8: []}
    for _ in range(200):
        await trio.sleep((after - 0.5 / LOOKS) * TURN)
        came = trio.current_time() + 0.5 / LOOKS * TURN
        wire.arrived.append(b"".join(request(2 * n + 1) for n in range(20)))
        await trio.sleep(1 / LOOKS * TURN)
        far_end.look()
        for _ in range(30):
            now += 1
            await trio.sleep_until(now * TURN)
            wire.sent.clear()
            assert far_end.turn(now)
            for kind, *_ in parse(b"".join(wire.sent)):
                if kind in seen:
                    seen[kind].append(trio.current_time() - came)
    for kind, wanted in ((1, 0.12), (8, 0.06)):
        assert sum(seen[kind]) / len(seen[kind]) == pytest.approx(wanted, abs=0.15 * TURN)


async def test_credit_comes_back_at_once_where_nothing_is_far_away(autojump_clock: Any) -> None:
    wire, near = Wire(), DistantNetwork(round_trip=0.0, answers=Latency(constant=60.0))
    far_end = DistantLink(wire, near, Answers(near))
    wire.arrived = [PREFACE]
    now = Answers(near).now() + 1
    assert far_end.turn(now)
    await trio.sleep(TURN)
    wire.arrived.append(request(1))
    far_end.look()
    wire.sent.clear()
    await trio.sleep(0.9 * TURN)
    assert far_end.turn(now + 1)
    assert 8 in [kind for kind, *_ in parse(b"".join(wire.sent))]
