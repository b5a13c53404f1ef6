"""The link: this process's connections to Tarantool, and the only place where asyncio lives.

One actor keeps one connection per instance for ever. It is ready when its loop runs. Callers need not know whether it
is connected: a call waits for the connection within its own deadline. The driver's traps that this file avoids are
numbered in the comments (docs/adr/0004-the-link.md describes them).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import structlog
import trio
import trio_asyncio
from asynctnt.exceptions import TarantoolDatabaseError, TarantoolError, TarantoolNotConnectedError

from storage.connection import Connection, connect
from storage.endpoint import Endpoint as Endpoint  # callers need both it and the link
from storage.errors import DiskFull, LinkDown, LinkLost, LinkTimeout, OutOfMemory, VerbRefused

log = structlog.get_logger(__name__)

PING_EVERY = 1.0
"""Seconds between pings of an instance."""
PING_DEADLINE = 5.0
"""Seconds after which a silent instance's connection is given up."""
AGAIN_AFTER = 0.02
"""Seconds until a lost call is repeated."""
_ELSEWHERE = {7, 203}  # read-only: it is no longer the master
_OUTAGES = _ELSEWHERE | {116, 134, 214, 215, 216, 217, 225, 227, 228, 279}
"""``box.error`` codes of an instance that cannot write now: it is loading or ending, its master has just changed, or
the replicas that must confirm a write do not."""
CALLS_IN_FLIGHT = 32
"""Calls in flight at once per instance, long polls not counted. Bounds our memory when a server stops answering."""
BYTES_UNSENT = 16 << 20
"""Bytes that may wait for an instance to read them before further calls have to wait."""

Orphan = Callable[[list[Any]], None]
"""Gets the results of a call when its caller has gone."""

MEMORY_PAUSE = 1.0
"""Seconds between two tries of a call that an instance refuses because it is out of memory."""
ER_MEMORY_ISSUE = 2
DISK_PAUSE = 0.5
"""Seconds until a caller learns that the instance's disk is full: who repeats the call at once, does so no faster."""
ER_WAL_IO = 40


class _Line:
    """One instance's connection as it is now."""

    def __init__(self, name: str, endpoint: Endpoint, greeting: Sequence[Any]) -> None:
        self.name = name
        self.endpoint = endpoint
        self.greeting = greeting
        self.connection: Any = None
        self.up = trio.Event()
        self.lost = trio.Event()
        self.connections = 0
        self.session: Any = None
        self.places = trio.Semaphore(CALLS_IN_FLIGHT)
        self.life = trio.CancelScope()


class _Answer:
    """The wait for one call's answer. If nobody waits any more, the results go to ``orphan`` (trap 3)."""

    __slots__ = ("abandoned", "asked_at", "connection", "done", "error", "orphan", "value")

    def __init__(self, orphan: Orphan | None) -> None:
        self.done = trio.Event()
        self.connection: Any = None  # the one that was asked; None: the call was not sent
        self.asked_at = 0.0
        self.value: list[Any] = []
        self.error: BaseException | None = None
        self.abandoned = False
        self.orphan = orphan

    def resolve(self, future: Any) -> None:
        # trap 8: a failed call that nobody retrieves would kill the loop, so every future is retrieved here
        self.error = None if future.cancelled() else future.exception()
        if future.cancelled():
            self.error = TarantoolNotConnectedError("the call was cancelled by the driver")
        elif self.error is None:
            body = future.result().body
            if body is not None:  # a ping's answer has none
                self.value = body[:]
                body.clear()  # trap 5: each response is a reference cycle, which the collector finds too late
        if self.abandoned:
            self._give_back()
        elif not self.done.is_set():  # the link may have hung up in the meantime
            self.done.set()

    def abandon(self) -> None:
        """Nobody waits any more. The answer may have come between the cancel and this moment: then it goes back now."""
        self.abandoned = True
        if self.done.is_set():
            self._give_back()

    def _give_back(self) -> None:
        if self.error is None and self.orphan is not None:
            self.orphan(self.value)


class Link:
    """An actor that keeps a connection to each of ``endpoints``. One object serves all of its incarnations.

    Args:
        endpoints: instances by name.
        greetings: the verb and arguments of every new connection's first call, by instance. Its answer names the
            session, with which the next connection goes on (``tubes.identify``). Without a greeting each connection has
            its own session.
    """

    def __init__(
        self, endpoints: Mapping[str, Endpoint], greetings: Mapping[str, Sequence[Any]] = MappingProxyType({})
    ) -> None:
        self._lines = {name: _Line(name, endpoint, greetings.get(name, ())) for name, endpoint in endpoints.items()}
        self._greetings = greetings
        self._stopping = trio.Event()
        self._running = False
        self._changed = trio.Event()
        self._waiting: set[_Answer] = set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Keep the connections until stopped."""
        self._stopping = trio.Event()
        for line in self._lines.values():
            line.up, line.life = trio.Event(), trio.CancelScope()
        try:
            async with trio_asyncio.open_loop() as loop:
                self._running = True
                async with trio.open_nursery() as nursery:
                    # a task of this loop begins them, also later ones: another task's context knows no loop
                    nursery.start_soon(self._begin, nursery)
                    ready()
                    await self._stopping.wait()
                    nursery.cancel_scope.cancel()
                await loop.synchronize()  # retrieve the calls that just failed (trap 8)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Release everybody who waits for the link: a loop that is gone brings no answer."""
        self._running = False
        for answer in self._waiting:
            answer.error = LinkDown("the link is not running")
            answer.done.set()
        for line in self._lines.values():
            line.up.set()

    def stop(self) -> None:
        """End ``run``; calls under way fail with LinkLost."""
        self._stopping.set()

    def change(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Keep connections to these instances from now on. Those whose endpoint stays the same are not disturbed."""
        for name, line in list(self._lines.items()):
            if endpoints.get(name) != line.endpoint:
                del self._lines[name]
                line.life.cancel()
                line.up.set()
        for name, endpoint in endpoints.items():
            if name not in self._lines:
                self._lines[name] = _Line(name, endpoint, self._greetings.get(name, ()))
        self._changed.set()

    def connected(self, where: str) -> bool:
        """Is the connection to this instance up?"""
        return where in self._lines and self._lines[where].connection is not None

    def session(self, where: str) -> Any:
        """The instance's session. It changes when a new connection gets a new one: the old one's leases are gone."""
        return self._line(where).session

    def _line(self, where: str) -> _Line:
        if where not in self._lines:
            raise LinkDown(f"{where} is not in the configuration any more")
        return self._lines[where]

    async def call(
        self,
        where: str,
        verb: str,
        *args: Any,
        deadline: float = 10.0,
        poll: bool = False,
        orphan: Orphan | None = None,
        sent: Callable[[], None] | None = None,
    ) -> list[Any]:
        """Call ``verb`` on the instance named ``where`` and return its results.

        Args:
            where: the instance's name.
            verb: ``role.verb``.
            args: its arguments.
            deadline: seconds for all of it, waiting for the connection included.
            poll: a long poll: it is not counted among the calls in flight.
            orphan: gets the results if the caller was cancelled before they came (to give taken tasks back).
            sent: is called once the call is on its way: the instance begins it before any call that is made later.

        Raises:
            LinkLost: no answer; the verb may have run or not.
            LinkDown: the link is not running.
            DiskFull: the instance's disk is full (a LinkLost, for waiting is the answer to both).
            VerbRefused: the instance answered with an error, or the arguments cannot be sent.
        """
        line = self._line(where)
        answer = _Answer(orphan)
        with trio.move_on_after(deadline):
            if line.connection is None:
                if self._running:
                    await line.up.wait()
                if not self._running:
                    raise LinkDown(f"{line.name}: the link is not running")
                self._line(where)
            if poll:
                await self._ask(line, verb, args, answer, sent)
            else:
                async with line.places:
                    await self._ask(line, verb, args, answer, sent)
        if answer.abandoned or not answer.done.is_set():
            # trap 7: a stopped peer looks connected for ever. A call that got its connection late says nothing about it
            if trio.current_time() - answer.asked_at > deadline / 2:
                _give_up(line, answer)
            raise LinkTimeout(f"{line.name}: no answer to {verb} within {deadline:g} s")
        if isinstance(answer.error, TarantoolDatabaseError) and answer.error.code == ER_WAL_IO:
            await trio.sleep(DISK_PAUSE)
        return _judge(line, verb, answer)

    async def insist(self, where: str, verb: str, *args: Any, deadline: float = 10.0) -> list[Any]:
        """Like ``call``, but waits for ever for a lost link, or an instance out of memory or disk.

        Only for verbs that are safe to repeat.
        """
        told = False
        while True:
            try:
                return await self.call(where, verb, *args, deadline=deadline)
            except DiskFull as error:
                if not told:
                    log.warning("tarantool's disk is full: waiting", instance=where, verb=verb, error=str(error))
                    told = True
            except LinkLost:
                await self._line(where).up.wait()
                await trio.sleep(AGAIN_AFTER)
            except OutOfMemory as error:
                if not told:
                    log.warning("tarantool's memory is used up: waiting", instance=where, verb=verb, error=error.text)
                    told = True
                await trio.sleep(MEMORY_PAUSE)

    def tell(self, where: str, verb: str, *args: Any) -> None:
        """Call without waiting for the answer, if the connection is up; for calls that may be lost."""
        line = self._lines.get(where)
        if line is None or line.connection is None:
            return
        answer = _Answer(None)
        answer.abandoned = True
        with suppress(TarantoolNotConnectedError):
            line.connection.call(verb, args).add_done_callback(answer.resolve)

    async def _ask(
        self, line: _Line, verb: str, args: tuple[Any, ...], answer: _Answer, sent: Callable[[], None] | None
    ) -> None:
        while line.connection is not None and line.connection.unsent() > BYTES_UNSENT:  # noqa: ASYNC110
            await trio.sleep(0.01)  # trap 9; the transport does not report when it has written
        if line.connection is None:
            answer.error = TarantoolNotConnectedError("not connected")
            answer.done.set()
            await trio.lowlevel.checkpoint()  # else a caller that retries at once would never let `_keep` connect
            return
        answer.connection, answer.asked_at = line.connection, trio.current_time()
        try:
            line.connection.call(verb, args).add_done_callback(answer.resolve)
        except TarantoolNotConnectedError as error:
            answer.error = error
            answer.done.set()
            _give_up(line, answer)
            await trio.lowlevel.checkpoint()
            return
        except (TypeError, ValueError, OverflowError) as error:  # a number beyond 64 bits, invalid text
            raise VerbRefused(verb, 0, f"its arguments cannot be sent: {error}") from error
        self._waiting.add(answer)
        if sent is not None:
            sent()
        try:
            await answer.done.wait()
        except trio.Cancelled:
            answer.abandon()
            raise
        finally:
            self._waiting.discard(answer)

    async def _begin(self, nursery: trio.Nursery) -> None:
        """Keep each line, also those that come later."""
        begun: set[_Line] = set()
        while True:
            self._changed = trio.Event()
            for line in self._lines.values():
                if line not in begun:
                    begun.add(line)
                    nursery.start_soon(self._live, line)
            await self._changed.wait()

    async def _live(self, line: _Line) -> None:
        """Keep one connection, until the link stops or its instance is in the configuration no more."""
        with line.life:
            await self._keep(line)

    async def _keep(self, line: _Line) -> None:
        """Connect, watch, connect again. An outage is retried here for ever: it is no bug, so it needs no restart."""
        delay = 0.05
        told = False
        number = 0  # which of the endpoint's addresses
        while True:
            line.lost = trio.Event()
            connection = Connection(line.endpoint, number, line.lost)
            try:
                await connect(connection)
                await self._probe(line, connection)
                session = await self._greet(line, connection)
            except (OSError, AssertionError, TarantoolNotConnectedError, TarantoolDatabaseError, TimeoutError) as error:
                connection.give_up()
                number += 1
                if not told:
                    log.warning("tarantool out of reach", instance=line.name, uri=line.endpoint.uri, error=str(error))
                    told = True
                if number % line.endpoint.addresses:
                    continue  # it may be at the next address
                await trio.sleep(delay * random.uniform(0.7, 1.3))  # noqa: S311 - jitter
                delay = min(delay * 1.6, 1.0)
                continue
            except trio.Cancelled:
                connection.give_up()  # nobody else has it yet, so nobody else would close it
                raise
            if told or line.connections:
                log.info("tarantool connected", instance=line.name, same_session=session == line.session)
            delay, told = 0.05, False
            line.connections += 1
            line.session = session
            line.connection = connection
            line.up.set()
            try:
                await self._watch(line)
            finally:
                line.connection = None
                line.up = trio.Event()
                connection.give_up()
            number += 1  # whoever was lost is not asked first
            log.warning("tarantool connection lost", instance=line.name)

    async def _probe(self, line: _Line, connection: Connection) -> None:
        """Raise OSError if this is not the right instance."""
        if line.endpoint.others and not await self._first(connection, line.endpoint.probe):
            raise OSError(f"not the right instance, by probe {line.endpoint.probe}")

    async def _greet(self, line: _Line, connection: Connection) -> Any:
        """Identify this process, before any other call. Returns the name of the connection's session."""
        return await self._first(connection, *line.greeting) if line.greeting else line.connections + 1

    async def _first(self, connection: Connection, verb: str, *args: Any) -> Any:
        value = await self._answer(connection.call(verb, args), verb)
        return value[0] if value else None

    async def _answer(self, future: Any, verb: str) -> list[Any]:
        answer = _Answer(None)
        future.add_done_callback(answer.resolve)
        with trio.move_on_after(PING_DEADLINE):
            await answer.done.wait()
        answer.abandoned = True
        if answer.error is not None:
            raise answer.error
        if not answer.done.is_set():
            raise TimeoutError(f"no answer to {verb} within {PING_DEADLINE:g} s")
        return answer.value

    async def _watch(self, line: _Line) -> None:
        """Return when the connection is lost, or its instance has been silent for too long."""
        while not line.lost.is_set():
            with trio.move_on_after(PING_EVERY):
                await line.lost.wait()
                return
            try:
                await self._probe(line, line.connection)
                if not line.endpoint.others:
                    await self._answer(line.connection.ping(), "ping")
            except (OSError, TarantoolError):
                return


def _give_up(line: _Line, answer: _Answer) -> None:
    """Reconnect, unless the call was sent on another connection than the present one: a call that waited for a
    connection in vain says nothing about the one that is just logging in.
    """
    if answer.connection is not None and answer.connection is line.connection:
        line.lost.set()


def _judge(line: _Line, verb: str, answer: _Answer) -> list[Any]:
    error = answer.error
    if error is None:
        return answer.value
    if isinstance(error, LinkDown):
        raise error
    if isinstance(error, TarantoolDatabaseError) and error.code in _OUTAGES:
        if error.code in _ELSEWHERE:
            _give_up(line, answer)
        raise LinkLost(f"{line.name}: {verb} is not written: {error.message}") from error
    if isinstance(error, TarantoolDatabaseError) and error.code == ER_WAL_IO:
        raise DiskFull(f"{line.name}: {verb} is not written: {error.message}") from error
    if isinstance(error, TarantoolDatabaseError):
        kind = OutOfMemory if error.code == ER_MEMORY_ISSUE else VerbRefused
        raise kind(verb, error.code, error.message)
    raise LinkLost(f"{line.name}: connection lost during {verb}") from error
