"""What stops a channel, and what is said about it, is one list."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.gate import BLINK, Gate
from actors.limiter import Limiter
from campaigns.batch import Batch, always
from campaigns.channel_state import ChannelState, worst
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.recipient import Recipient
from supervision import Parked
from tests.actors.channel_group import FAR, no_answer
from tests.draws import drawn
from transports.contract import Exceptional, Outage, Outcomes

WALL = 1_000_000
BATCH = Batch(
    9,
    Message(title="t", body="b"),
    1,
    FAR,
    [Recipient(n, f"token-{n}", "token", 1, "en") for n in range(4)],
    begin_until=math.inf,
    leave=always,
)


class House:
    """A gate, and what stands around it."""

    outage: Outage | None = None
    parked: Parked | None = None

    def __init__(self) -> None:
        self.gate = Gate("c", ask=no_answer, limiter=Limiter(2.0, 4.0), clock=lambda: WALL)
        around: Any = self
        self.gate.parking = self.gate.transport = around

    async def ends(self, outcome: Outcome, stop: str | None = None, slow: float = 0.0) -> None:
        ends = [Exceptional(n, outcome, "why") for n in range(4)]
        put_off = 4 if outcome is Outcome.RETRY else 0
        await self.gate.answered(BATCH, Outcomes(0, ends, stop, slow=slow, put_off=put_off))

    async def step(self, word: str) -> None:
        now, gate = trio.current_time(), self.gate
        match word:
            case "refused":
                await self.ends(Outcome.POSTPONED, stop="Apple refuses the key")
            case "put off":
                await self.ends(Outcome.RETRY, slow=12.0)
            case "unanswered":
                await self.ends(Outcome.UNKNOWN)
            case "delivered":
                await gate.answered(BATCH, Outcomes(4))
            case "probe":
                gate.probe()
            case "taken":
                gate.taken(BATCH)
            case "settled" if gate.in_hand[9]:
                gate.settled(BATCH)
            case "unsettled":
                gate.settlement_failed()
            case "settles":
                gate.settlement_succeeded()
            case "parked":
                self.parked = None if self.parked else Parked("KeyError: 1", now, now + 60)
            case "outage":
                self.outage = None if self.outage else Outage("no route", now)
            case "restarted":
                gate.begin_anew()
            case "a second":
                await trio.sleep(1)
            case "ten seconds":
                await trio.sleep(10)


WORDS = "refused|put off|unanswered|delivered|probe|taken|settled|unsettled|settles|parked|outage|restarted"
STEPS = [*WORDS.split("|"), "a second", "ten seconds"]


@settings(max_examples=drawn(150), deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=12))
def test_a_channel_that_waits_says_why_and_one_that_says_until_when_waits_that_long(steps: list[str]) -> None:
    async def main() -> None:
        house = House()
        gate = house.gate
        for step in steps:
            await house.step(step)
        obstacles = list(gate.obstacles())
        as_told = [ChannelState(channel="c", reason=each.reason, sentence="", since=0) for each in obstacles]
        assert not as_told or worst(as_told)["c"] is as_told[0], "the worst comes first"
        state, began, said = gate.state(), trio.current_time(), False
        opened = trio.Event()

        async def wait() -> None:
            await gate.opened()
            opened.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while trio.current_time() < began + 400 and not opened.is_set():
                said = said or gate.state() is not None
                if trio.current_time() >= began + 70:
                    house.parked = None  # which only the supervisor ends
                with trio.move_on_after(0.5):
                    await opened.wait()
            nursery.cancel_scope.cancel()
        waited = trio.current_time() - began
        stops = max((each.seconds for each in obstacles), default=0.0)
        assert (waited > 0) == (stops > 0), "it waits for what is in the way, and for nothing else"
        assert waited >= min(stops, 400) - 1e-6
        assert said or waited < BLINK + 0.5
        if state is not None and state.until is not None:
            assert waited >= (state.until - WALL) / 1000 - 1e-3

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("refused", "breaker"),
        ("put off", "quota"),
        ("unanswered", "silent"),
        ("unsettled", "settling"),
        ("parked", "parked"),
    ],
)
async def test_each_of_these_stops_a_channel(step: str, reason: str, autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    await house.step(step)
    if step == "refused":
        await house.step(step)
    with trio.move_on_after(0.3) as scope:
        await house.gate.opened()
    assert scope.cancelled_caught
    await trio.sleep(BLINK)
    state = house.gate.state()
    assert state is not None
    assert state.reason == reason


async def test_a_question_stands_though_the_channel_is_parked(autojump_clock: trio.testing.MockClock) -> None:
    """Only a person can answer it, and it waits: the crash must not hide it. Gate and vocabulary rank them alike."""
    house = House()
    house.gate.refusals.hear({9: "stopped"})
    await house.step("parked")
    assert [each.reason for each in house.gate.obstacles()] == ["question", "parked"]
    state = house.gate.state()
    assert state is not None
    assert state.reason == "question"


@pytest.mark.parametrize(("step", "reason"), [("outage", "unreachable"), ("taken", "answers")])
async def test_neither_of_these_does_but_people_hear_of_it(
    step: str, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    house = House()
    await house.step("probe")
    await house.step(step)
    await trio.sleep(2 * BLINK)
    with trio.fail_after(0.1):
        await house.gate.opened()
    state = house.gate.state()
    assert state is not None
    assert (state.reason, state.until) == (reason, None)


async def test_a_channel_that_keeps_its_rate_says_so_all_the_while(autojump_clock: trio.testing.MockClock) -> None:
    """It was said while a batch was far from paid for, and taken back two seconds before the next one."""
    house = House()
    gate = house.gate
    gate.taken(BATCH)  # what the bucket held
    gate.settled(BATCH)
    told: list[ChannelState | None] = []
    for _ in range(6):
        await gate.opened()
        gate.taken(BATCH)
        gate.settled(BATCH)
        for _ in range(4):
            told.append(gate.state())
            await trio.sleep(0.499)
    assert {state and state.reason for state in told} == {"limiter"}
    sinces = [state.since for state in told if state]
    assert WALL - sinces[-1] == pytest.approx(11_500, abs=100), "since when, and not since now"
    await trio.sleep(3 * BLINK)
    assert gate.state() is None, "nothing is sent any more"


async def test_a_restart_forgets_all_but_what_the_provider_has_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House()
    for step in ("taken", "unsettled", "put off", "refused", "restarted", "ten seconds"):
        await house.step(step)
    assert [each.reason for each in house.gate.obstacles()] == ["breaker"]


async def test_a_settlement_that_succeeds_opens_at_once(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    await house.step("unsettled")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.gate.opened)
        await trio.sleep(5.1)
        await house.step("settles")
        settled_at = trio.current_time()
    assert trio.current_time() == settled_at


async def test_batches_of_a_transport_that_is_gone_wait_for_no_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House()
    await house.step("taken")
    house.gate.transport = None  # it crashed, and its supervisor takes seconds to make the next
    await trio.sleep(2 * BLINK)
    assert house.gate.state() is None
