"""A bounded mailbox between groups of actors. It belongs to whoever wires the tree, so it outlives incarnations.

Its buffer is a plain deque, not a memory channel: a channel whose last receiver closes loses its buffer, and a value
handed to a receiver in the tick in which it is cancelled is easily dropped. Here a wake-up carries no value: a
message is in the buffer until the very step in which `receive` returns it.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

import trio
from trio.lowlevel import (
    Abort,
    ParkingLot,
    Task,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from supervision.call import Request, Slot
from supervision.errors import CalleeDied, CallTimedOut, MailboxClosed, MailboxFull
from supervision.events import log
from supervision.letters import DeadLetter, MailboxStatistics, log_dead_letter

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T]):
    """A sender's message that waits for room."""

    __slots__ = ("accepted", "message")

    def __init__(self, message: T) -> None:
        self.message = message
        self.accepted = False


class Mailbox(Generic[T]):
    """At most `capacity` messages on their way to one actor, whichever incarnation of it.

    `dead_letter` is called with each message that was accepted and then lost; left out, it is logged. Raises
    `ValueError` for a capacity below 1.
    """

    def __init__(self, name: str, capacity: int, dead_letter: Callable[[DeadLetter], None] = log_dead_letter) -> None:
        if capacity < 1:
            raise ValueError(f'mailbox "{name}": capacity={capacity} must be at least 1')
        self.name = name
        self.capacity = capacity
        self.ref: Ref[T] = Ref(self)
        self._dead_letter = dead_letter
        self._buffer: deque[tuple[float, T]] = deque()
        self._in_hand: dict[Task, T] = {}
        self._blocked: OrderedDict[Task, _Waiting[T]] = OrderedDict()
        self._readers = ParkingLot()
        self._quiet = ParkingLot()
        self._slots: set[Slot] = set()
        self._servers = 0
        self._closed = False
        self._drains = 0
        self._peak = self._received = self._dead = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Mark the time in which an incarnation answers; it opens a mailbox that was closed, unless it drains.

        When it ends, every call that is not answered yet fails with `CalleeDied`. When it ends with an exception,
        what was in hand is a dead letter; what waits stays for the next incarnation.
        """
        if not self._drains:
            self._closed = False
        self._servers += 1
        reason: BaseException | None = None
        try:
            yield
        except BaseException as error:
            reason = error
            raise
        finally:
            self._servers -= 1
            if not self._servers:
                self._fail_calls(reason)
                self._let_go(None if reason is None else f"its incarnation ended: {reason!r}")

    async def receive(self) -> T:
        """The next message; this acknowledges the one this task received before.

        Raises `MailboxClosed` when the mailbox is closed and empty. Cancelled, it has taken nothing.
        """
        task = current_task()
        if task in self._in_hand:
            del self._in_hand[task]
            self._settle()
        await checkpoint_if_cancelled()
        while True:
            while self._buffer:
                message = self._buffer.popleft()[1]
                self._admit_blocked()
                if isinstance(message, Request) and message.abandoned:
                    self._settle()
                    continue
                self._in_hand[task] = message
                self._received += 1
                await cancel_shielded_checkpoint()
                return message
            if self._closed:
                raise MailboxClosed(f'mailbox "{self.name}" is closed and empty')
            await self._readers.park()

    def __aiter__(self) -> Mailbox[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except MailboxClosed:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the intake: senders get `MailboxClosed`, receivers what is left and then the end."""
        self._closed = True
        for task in self._blocked:
            reschedule(task)  # it finds its message not accepted
        self._blocked.clear()
        self._readers.unpark_all()
        self._settle()

    async def drain(self, timeout: float = math.inf) -> int:
        """Close, and wait until every message has been received and acknowledged. Returns how many were not.

        A receiver acknowledges a message by asking for the next, or by leaving `serving` without an exception.
        Those left after `timeout` seconds are dead letters.
        """
        self.close()
        self._drains += 1
        try:
            with trio.move_on_after(timeout):
                await trio.lowlevel.checkpoint()
                while self._buffer or self._in_hand:
                    await self._quiet.park()
        finally:
            self._drains -= 1
        left = len(self._buffer) + len(self._in_hand)
        self._fail_calls(None)
        waiting = [message for _, message in self._buffer]
        self._buffer.clear()
        for message in waiting:
            self._bury(message, "not received before the drain's deadline")
        self._let_go("not acknowledged before the drain's deadline")
        return left

    def statistics(self) -> MailboxStatistics:
        """The figures of now."""
        oldest = trio.current_time() - self._buffer[0][0] if self._buffer else 0.0
        return MailboxStatistics(
            self.capacity, len(self._buffer), self._peak, oldest, len(self._in_hand), len(self._blocked),
            self._received, self._dead, self._closed, self._servers > 0,
        )  # fmt: skip

    def _accept(self, message: T) -> bool:
        if self._closed:
            raise MailboxClosed(f'mailbox "{self.name}" is closed')
        if len(self._buffer) >= self.capacity:
            return False
        self._append(message)
        return True

    def _append(self, message: T) -> None:
        self._buffer.append((trio.current_time(), message))
        if len(self._buffer) > self._peak:
            self._peak = len(self._buffer)
        self._readers.unpark()

    def _admit_blocked(self) -> None:
        if self._blocked:
            task, waiting = self._blocked.popitem(last=False)
            waiting.accepted = True
            self._append(waiting.message)
            reschedule(task)

    async def _wait_for_room(self, message: T) -> None:
        task, waiting = current_task(), _Waiting(message)
        self._blocked[task] = waiting

        def abort(_: object) -> Abort:
            del self._blocked[task]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)
        if not waiting.accepted:
            raise MailboxClosed(f'mailbox "{self.name}" was closed while a message waited for room')

    def _fail_calls(self, reason: BaseException | None) -> None:
        for slot in list(self._slots):
            slot.settle(None, CalleeDied(f'the actor that serves mailbox "{self.name}" is gone: {reason!r}', reason))

    def _let_go(self, lost: str | None) -> None:
        """Acknowledge what is in hand, or bury it for the reason `lost`."""
        held = list(self._in_hand.values())
        self._in_hand.clear()
        if lost is not None:
            for message in held:
                self._bury(message, lost)
        self._settle()

    def _bury(self, message: T, why: str) -> None:
        if isinstance(message, Request) and message.slot is not None:
            return  # its caller has been told
        self._dead += 1
        try:
            self._dead_letter(DeadLetter(self.name, message, why))
        except Exception:
            log.exception("mailbox %s: dead_letter raised", self.name)

    def _settle(self) -> None:
        if not self._buffer and not self._in_hand:
            self._quiet.unpark_all()


class Ref(Generic[T]):
    """The sending side of a mailbox: all a source needs to know of its sink."""

    __slots__ = ("_box",)

    def __init__(self, box: Mailbox[T]) -> None:
        self._box = box

    @property
    def name(self) -> str:
        """The mailbox's name."""
        return self._box.name

    async def send(self, message: T) -> None:
        """Put a message into the mailbox, waiting for room. Raises `MailboxClosed`. Cancelled, it has put nothing."""
        await checkpoint_if_cancelled()
        if self._box._accept(message):
            await cancel_shielded_checkpoint()
        else:
            await self._box._wait_for_room(message)

    def send_nowait(self, message: T) -> None:
        """Put a message into the mailbox at once. Raises `MailboxFull` and `MailboxClosed`."""
        if not self._box._accept(message):
            raise MailboxFull(f'mailbox "{self.name}" holds {self._box.capacity} messages, its capacity')

    async def call(self, request: Request[R], timeout: float) -> R:
        """Send a request, which the mailbox's type must know, and wait at most `timeout` seconds for its answer.

        Raises `CalleeDied` at once when nobody serves the mailbox, and when its actor ends before it answered;
        `CallTimedOut`, `MailboxClosed`, `ValueError` for a request object used before; and whatever the callee
        passed to `Request.fail`.
        """
        box = self._box
        with trio.move_on_after(timeout) as scope:
            slot = Slot(scope)
            request.attach(slot)
            if not box._servers:
                await trio.lowlevel.checkpoint()
                raise CalleeDied(f'no actor serves mailbox "{self.name}" (it opens `with mailbox.serving()`)')
            box._slots.add(slot)
            try:
                await self.send(cast("T", request))
                await slot.done.wait()
            finally:
                box._slots.discard(slot)
                slot.abandoned = True
        # The answer may have come in the very tick in which the deadline passed: then it counts.
        if not slot.done.is_set():
            raise CallTimedOut(f'mailbox "{self.name}": no answer within {timeout:g} s')
        if slot.error is not None:
            raise slot.error
        return cast("R", slot.value)
