"""Mailboxes: nothing is lost between incarnations, nobody waits for the dead."""

import math
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from supervision import (
    TRANSIENT,
    CalleeDied,
    CallTimedOut,
    ChildSpec,
    Mailbox,
    MailboxClosed,
    MailboxFull,
    Request,
    Supervisor,
)


@dataclass(frozen=True, slots=True)
class Double(Request[int]):
    value: int


class Doubler:
    """Keeps what it receives; doubles, dies on -1, is silent on 0, refuses negatives."""

    def __init__(self, mailbox, seen):
        self.mailbox, self.seen = mailbox, seen

    async def run(self, ready):
        with self.mailbox.serving():
            ready()
            async for message in self.mailbox:
                self.seen.append(message)
                if isinstance(message, Double):
                    if message.value == -1:
                        raise ValueError("died of it")
                    if message.value < 0:
                        message.fail(LookupError("negative"))
                    elif message.value:
                        message.reply(2 * message.value)
                elif message == "die":
                    raise ValueError("died of it")

    def stop(self):
        self.mailbox.close()


def mailbox(capacity=4):
    letters = []
    box = Mailbox("box", capacity, letters.append)
    return box, letters


# -- 4: outlives incarnations -------------------------------------------------------------------------------------


async def test_what_waits_in_a_mailbox_outlives_the_incarnation(virtual):
    box, letters = mailbox(10)
    seen = []
    supervisor = Supervisor("top", [ChildSpec("doubler", lambda: Doubler(box, seen))])
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        for message in ("a", "die", "b", "c"):
            box.ref.send_nowait(message)
        await trio.testing.wait_all_tasks_blocked()
        supervisor.stop()
    assert seen == ["a", "die", "b", "c"]
    assert [(letter.message, letter.mailbox) for letter in letters] == [("die", "box")]
    assert "died of it" in letters[0].why
    assert box.statistics().dead_letters == 1


async def test_a_mailbox_nobody_serves_keeps_its_messages_and_pushes_back():
    box, _ = mailbox(2)
    await box.ref.send(1)
    box.ref.send_nowait(2)
    with pytest.raises(MailboxFull, match="2 messages"):
        box.ref.send_nowait(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.ref.send, 3)
        await trio.testing.wait_all_tasks_blocked()
        assert box.statistics().senders == 1
        assert [await box.receive() for _ in range(3)] == [1, 2, 3]


async def test_a_mailbox_closed_by_one_incarnation_opens_for_the_next():
    box, _ = mailbox()
    box.close()
    with pytest.raises(MailboxClosed):
        box.ref.send_nowait(1)
    with box.serving():
        box.ref.send_nowait(1)
        assert await box.receive() == 1


# -- 5: cancelled in the same tick ---------------------------------------------------------------------------------


@given(data=st.data())
def test_a_message_is_either_received_or_still_waits_however_tasks_are_cancelled(data):
    steps = data.draw(st.lists(st.sampled_from(["send", "receive", "cancel", "yield"]), max_size=40))
    box, _ = mailbox(2)
    got, sent, scopes = [], [], []

    async def receive(scope):
        with scope:
            got.append(await box.receive())

    async def send(scope, n):
        with scope:
            await box.ref.send(n)
            sent.append(n)

    async def main():
        async with trio.open_nursery() as nursery:
            for n, step in enumerate(steps):
                if step == "cancel":
                    for scope in scopes[-2:]:
                        scope.cancel()
                elif step == "yield":
                    await trio.lowlevel.checkpoint()
                else:
                    scopes.append(scope := trio.CancelScope())
                    nursery.start_soon(*((send, scope, n) if step == "send" else (receive, scope)))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        box.close()
        waiting = [message async for message in box]
        assert sorted(got + waiting) == sorted(sent)

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_an_answer_in_the_tick_of_the_deadline_counts(virtual):
    box, _ = mailbox()

    async def serve():
        with box.serving():
            message = await box.receive()
            await trio.sleep(5)
            message.reply(42)
            await trio.sleep_forever()

    for _ in range(20):  # Trio shuffles who runs first in a tick
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            request, answer = Double(1), None
            try:
                answer = await box.ref.call(request, timeout=5)
            except CallTimedOut:
                assert not request.slot.done.is_set()
            else:
                assert answer == 42
            nursery.cancel_scope.cancel()


# -- 7: calls ------------------------------------------------------------------------------------------------------


async def run_doubler(box, nursery):
    await nursery.start(lambda task_status: Doubler(box, []).run(task_status.started))


async def test_a_call_returns_the_answer_or_raises_the_refusal(virtual):
    box, _ = mailbox()
    async with trio.open_nursery() as nursery:
        await run_doubler(box, nursery)
        assert await box.ref.call(Double(21), timeout=1) == 42
        with pytest.raises(LookupError, match="negative"):
            await box.ref.call(Double(-5), timeout=1)
        with pytest.raises(CallTimedOut, match="1 s"):
            await box.ref.call(Double(0), timeout=1)
        request = Double(3)
        await box.ref.call(request, timeout=1)
        with pytest.raises(ValueError, match="one call"):
            await box.ref.call(request, timeout=1)
        box.close()
        with pytest.raises(MailboxClosed):
            await box.ref.call(Double(1), timeout=1)


async def test_a_call_to_an_actor_that_dies_fails_promptly_with_its_reason(virtual):
    box, letters = mailbox()
    supervisor = Supervisor("top", [ChildSpec("doubler", lambda: Doubler(box, []))])
    failed = []

    async def call(value):
        with pytest.raises(CalleeDied) as caught:
            await box.ref.call(Double(value), timeout=1000)
        failed.append(str(caught.value.reason))

    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        nursery.start_soon(call, 0)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(7):  # more than the mailbox holds: some wait for room
            nursery.start_soon(call, -1)
        await trio.testing.wait_all_tasks_blocked()
        supervisor.stop()
    assert failed == ["died of it"] * 8
    assert trio.current_time() == 0
    assert letters == []


async def test_a_call_nobody_serves_fails_at_once(virtual):
    box, _ = mailbox()
    with pytest.raises(CalleeDied, match="no actor serves"):
        await box.ref.call(Double(1), timeout=math.inf)


async def test_a_request_whose_caller_gave_up_is_not_delivered(virtual):
    box, _ = mailbox()
    with box.serving():
        with pytest.raises(CallTimedOut):
            await box.ref.call(Double(1), timeout=1)
        box.ref.send_nowait("next")
        assert await box.receive() == "next"


# -- 8: an acknowledged drain --------------------------------------------------------------------------------------


async def test_a_drain_returns_when_the_last_message_is_acknowledged_not_merely_taken(virtual):
    box, letters = mailbox()
    done = []

    async def work():
        with box.serving():
            async for message in box:
                await trio.sleep(2)
                done.append(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        for n in range(3):
            await box.ref.send(n)
        assert await box.drain(timeout=100) == 0
        assert done == [0, 1, 2]
        assert trio.current_time() == 6
        with pytest.raises(MailboxClosed):
            await box.ref.send(4)
    assert letters == []


async def test_a_drain_waits_for_a_message_that_is_in_hand_although_none_waits(virtual):
    box, _ = mailbox()

    async def work():
        async for _ in box:
            await trio.sleep(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await box.ref.send(1)
        await trio.testing.wait_all_tasks_blocked()
        assert await box.drain(timeout=100) == 0
        assert trio.current_time() == 2


async def test_a_drain_reaches_a_receiver_that_is_blocked_in_receive(virtual):
    box, _ = mailbox()
    ended = []

    async def work():
        async for _ in box:
            pass
        ended.append(True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await trio.testing.wait_all_tasks_blocked()
        assert await box.drain() == 0
    assert ended == [True]


async def test_a_drain_goes_on_over_a_crash_of_the_receiver_and_lets_nothing_in(virtual):
    box, letters = mailbox()
    seen = []
    supervisor = Supervisor("top", [ChildSpec("doubler", lambda: Doubler(box, seen), restart=TRANSIENT)])
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        for message in ("a", "die", "b"):
            await box.ref.send(message)
        assert await box.drain(timeout=5) == 0
        assert seen == ["a", "die", "b"]
        with pytest.raises(MailboxClosed):
            box.ref.send_nowait("late")
        supervisor.stop()
    assert [letter.message for letter in letters] == ["die"]


async def test_a_drain_that_runs_out_of_time_names_what_was_left(virtual):
    box, letters = mailbox()

    async def work():
        async for _ in box:
            await trio.sleep(1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        for n in range(3):
            await box.ref.send(n)
        await trio.testing.wait_all_tasks_blocked()
        assert await box.drain(timeout=5) == 3
        assert sorted(letter.message for letter in letters) == [0, 1, 2]
        nursery.cancel_scope.cancel()


async def test_senders_that_wait_for_room_are_told_when_the_mailbox_closes(virtual):
    box, _ = mailbox(1)
    told = []

    async def send():
        with pytest.raises(MailboxClosed):
            await box.ref.send("x")
        told.append(True)

    async with trio.open_nursery() as nursery:
        box.ref.send_nowait("first")
        nursery.start_soon(send)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        box.close()
    assert told == [True, True]


async def test_statistics_tell_depth_peak_and_the_oldest_ones_age(virtual):
    box, _ = mailbox()
    await box.ref.send(1)
    await trio.sleep(3)
    await box.ref.send(2)
    now = box.statistics()
    assert (now.capacity, now.depth, now.peak, now.oldest, now.received) == (4, 2, 2, 3.0, 0)
    await box.receive()
    now = box.statistics()
    assert (now.depth, now.peak, now.oldest, now.received, now.in_hand) == (1, 2, 0.0, 1, 1)
    assert box.ref.name == "box"


async def test_a_snapshot_shows_the_mailboxes_an_actor_offers(virtual):
    box, _ = mailbox()

    class Offering(Doubler):
        def mailboxes(self):
            return [self.mailbox]

    supervisor = Supervisor("top", [ChildSpec("doubler", lambda: Offering(box, []))])
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: supervisor.run(task_status.started))
        box.ref.send_nowait(1)
        shot = supervisor.snapshot()["children"][0]["mailboxes"]
        assert shot == {"box": {"depth": 1, "peak": 1, "oldest": 0.0}}
        supervisor.stop()


def test_a_mailbox_without_room_is_refused():
    with pytest.raises(ValueError, match="capacity=0"):
        Mailbox("box", 0)
