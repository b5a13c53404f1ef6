"""Laws of parking: what crashes too often harms no sibling, and is tried again for as long as the tree lives."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from supervision import (
    ONE_FOR_ALL,
    REST_FOR_ONE,
    ActorParked,
    ChildSpec,
    ExitKind,
    Intensity,
    Parking,
    Supervisor,
)
from supervision.crash import LONGEST, in_words

BUGS = Intensity(5, 30.0)


class Sick:
    """Crashes after as many seconds as are listed for its incarnation, counted over all of them; then serves."""

    def __init__(self, lives: list[float], starts: list[float]) -> None:
        self.lives, self.starts, self.asked = lives, starts, trio.Event()

    async def run(self, ready):
        self.starts.append(trio.current_time())
        ready()
        with trio.move_on_after(self.lives.pop(0) if self.lives else float("inf")):
            await self.asked.wait()
            return
        raise RuntimeError("a bug")

    def stop(self) -> None:
        self.asked.set()


class Well:
    def __init__(self, stops: list[float]) -> None:
        self.stops, self.asked = stops, trio.Event()

    async def run(self, ready):
        ready()
        await self.asked.wait()

    def stop(self) -> None:
        self.stops.append(trio.current_time())
        self.asked.set()


class House:
    """A worker's tree in small: a sick channel beside a well one, and what is below both."""

    def __init__(self, lives: list[float], pause: float = 60.0) -> None:
        self.starts, self.stops, self.parked, self.events = [], [], [], []

        def group(trial: bool) -> Supervisor:
            return self._tree("channel:sick", [ChildSpec("transport", lambda: Sick(lives, self.starts))], trial)

        self.parking = Parking("channel:sick", group, pause=pause, observe=self.parked.append)
        well = Parking("channel:well", lambda trial: Well(self.stops), observe=self.parked.append)
        children = [ChildSpec("sick", lambda: self.parking), ChildSpec("well", lambda: well)]
        delivery = lambda: Supervisor("delivery", children, intensity=BUGS, observe=self.events.append)  # noqa: E731
        self.worker = Supervisor(
            "worker",
            [ChildSpec("delivery", delivery)],
            strategy=REST_FOR_ONE,
            intensity=BUGS,
            observe=self.events.append,
        )

    def _tree(self, name, children, trial):
        intensity = Intensity(0, 30.0) if trial else BUGS
        return Supervisor(name, children, strategy=ONE_FOR_ALL, intensity=intensity, observe=self.events.append)

    async def run(self, seconds: float) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: self.worker.run(task_status.started))
            await trio.sleep(seconds)
            assert self.stops == [], "the well channel is stopped by the end alone"
            with trio.fail_after(1):
                self.worker.stop()
                while self.worker.snapshot()["state"] != "stopped":  # noqa: ASYNC110 - virtual time
                    await trio.sleep(0.1)


async def test_a_channel_that_always_crashes_is_parked_and_its_neighbour_is_not_stopped_even_once(
    autojump_clock: MockClock,
) -> None:
    """C1: with a transport that raises 0.05 s after each start the whole worker ended after 10.8 s."""
    house = House([0.05] * 10_000)
    await house.run(300)
    assert len(house.starts) == 6 + 4, "six crashes in thirty seconds, then one try a minute"
    assert [round(event.at) for event in house.parked] == [0, 60, 120, 180, 240]


async def test_a_parked_actor_says_why_since_when_and_until_when(autojump_clock: MockClock) -> None:
    """C1, C3: the crash itself, not that a supervisor gave up because of it."""
    house = House([0.0] * 7)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: house.worker.run(task_status.started))
        began = trio.current_time()
        await trio.sleep(70)
        parked = house.parking.parked
        assert parked is not None
        assert parked.why == "RuntimeError: a bug"
        assert parked.since == pytest.approx(began)
        assert parked.until == pytest.approx(began + 120), "the failed try did not change since when"
        assert isinstance(house.parked[0], ActorParked)
        assert house.parking.snapshot()["state"] == "parked"
        await trio.sleep(60)
        assert house.parking.parked is None, "the seventh crash was the last"
        assert house.parking.snapshot()["state"] == "running"
        house.worker.stop()


async def test_a_first_start_that_fails_parks_and_the_neighbours_start_all_the_same(autojump_clock: MockClock) -> None:
    def broken(trial: bool) -> Well:
        raise FileNotFoundError("AuthKey.p8")

    stops: list[float] = []
    children = [
        ChildSpec("broken", lambda: Parking("broken", broken, observe=lambda event: None)),
        ChildSpec("well", lambda: Well(stops)),
    ]
    supervisor = Supervisor("delivery", children, observe=lambda event: None)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(1):
            await nursery.start(lambda task_status: supervisor.run(task_status.started))
        await trio.sleep(200)
        assert stops == []
        supervisor.stop()


async def test_one_that_has_proved_well_is_restarted_at_once_when_it_crashes_again(autojump_clock: MockClock) -> None:
    house = House([0.0] * 6 + [100.0, 1.0])
    await house.run(400)
    assert [round(at) for at in house.starts[5:]] == [0, 60, 160, 161]
    assert len(house.parked) == 1


async def test_a_stop_waits_for_no_pause(autojump_clock: MockClock) -> None:
    house = House([0.0] * 1000)
    began = trio.current_time()
    await house.run(30)
    assert trio.current_time() - began < 31


@given(lives=st.lists(st.floats(0.0, 100.0), max_size=40))
def test_no_drawn_order_of_crashes_reaches_a_neighbour_or_is_the_last_try(lives: list[float]) -> None:
    """C1, for any crashes: nothing but the channel itself ever ends, and it serves again within its pause."""

    async def scenario() -> None:
        drawn = list(lives)
        house = House(drawn)
        await house.run(sum(lives) + 60.0 * len(lives) + 61.0)
        assert drawn == [], "every life was lived"
        ended = [
            e for e in house.events if getattr(e, "child", "") in ("sick", "well", "delivery") and hasattr(e, "reason")
        ]
        assert {event.reason.kind for event in ended} <= {ExitKind.SHUTDOWN}

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_a_tree_shows_that_a_child_is_parked_and_its_last_crash_in_words(autojump_clock: MockClock) -> None:
    """Issue 23, CONSOLE §3: in the tree of its supervisor a parked group was `running`."""

    def delivery(house: House) -> dict[str, dict]:
        (shot,) = house.worker.snapshot()["children"]
        return {child["id"]: child for child in shot["children"]}

    house = House([0.0] * 7)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: house.worker.run(task_status.started))
        assert "crash" not in delivery(house)["well"]
        await trio.sleep(70)
        sick = delivery(house)["sick"]
        assert (sick["state"], sick["crash"]) == ("parked", "RuntimeError: a bug")
        await trio.sleep(60)
        sick = delivery(house)["sick"]
        assert (sick["state"], sick["crash"]) == ("running", "RuntimeError: a bug"), "the last one stays"
        house.worker.stop()


@given(st.text(max_size=400), st.integers(0, 3))
def test_a_crash_in_words_is_one_short_line_of_the_first_cause(text: str, deep: int) -> None:
    """Issue 23."""
    error: Exception = ValueError(text)
    for _ in range(deep):
        try:
            raise RuntimeError("because of another") from error
        except RuntimeError as outer:
            error = ExceptionGroup("several", [outer])
    words = in_words(error)
    assert words.startswith("ValueError")
    assert len(words) <= LONGEST
    assert "\n" not in words


@given(st.from_regex(r"[A-Za-z0-9_-]{64,180}", fullmatch=True).filter(lambda token: any(map(str.isdigit, token))))
def test_a_crash_in_words_shows_no_token(token: str) -> None:
    """Issue 23: the words of a crash go to every node, and to everybody with a viewer's key."""
    words = in_words(ValueError(f"cannot read 'f3Rz:{token}' of AuthKey_7Q2.p8"))
    assert token[:32] not in words
    assert words.endswith("AuthKey_7Q2.p8")


async def test_a_renewed_actor_is_stopped_in_an_orderly_way_and_its_supervisor_sees_no_exit(
    autojump_clock: MockClock,
) -> None:
    stops: list[float] = []
    events = []
    parking = Parking("channel", lambda trial: Well(stops), observe=events.append)
    supervisor = Supervisor("delivery", [ChildSpec("channel", lambda: parking)], observe=events.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        before = len(events)
        with trio.fail_after(1):
            await parking.renew()
            async with trio.open_nursery() as several:
                several.start_soon(parking.renew)
                several.start_soon(parking.renew)
        assert len(stops) >= 2
        assert len(events) == before
        assert parking.parked is None
        supervisor.stop()
    await parking.renew()  # nothing to renew


async def test_a_parked_actor_is_tried_at_once_when_it_is_renewed(autojump_clock: MockClock) -> None:
    house = House([0.0] * 6)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: house.worker.run(task_status.started))
        await trio.sleep(5)
        assert house.parking.parked is not None
        tries = len(house.starts)
        with trio.fail_after(1):
            await house.parking.renew()
        assert len(house.starts) == tries + 1
        assert house.parking.parked is None
        house.worker.stop()


async def test_a_renewal_whose_actor_does_not_start_ends_all_the_same(autojump_clock: MockClock) -> None:
    def start(trial: bool) -> Well:
        if broken:
            raise FileNotFoundError("AuthKey.p8")
        return Well([])

    broken = False
    parking = Parking("channel", start, observe=lambda event: None)
    supervisor = Supervisor("delivery", [ChildSpec("channel", lambda: parking)], observe=lambda event: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        broken = True
        with trio.fail_after(1):
            await parking.renew()
        assert parking.parked is not None
        assert "AuthKey" in parking.parked.why
        supervisor.stop()
