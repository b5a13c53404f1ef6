"""One client's HTTP/2 connection to a twin: reads and judges, delays answers, writes in batches, misbehaves.

A turn: read requests → judge them → write the ledger's lines → send the answers. The order matters: a push that a
client saw accepted is in the ledger, whatever kills the twin next.
"""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import msgspec
import trio

from simulators.answers import TwinAnswer
from simulators.faults.forgery import forge
from simulators.faults.script import ConnectionFaultRule
from simulators.http2 import framing as f
from simulators.http2.received_request import ReceivedRequest
from simulators.http2.server_connection import Http2Connection
from simulators.ledger import Ledger
from simulators.provider import Provider

_READ: Final = 262_144
_LINGER_SECONDS: Final = 1.0
#: A TLS record that promises 16 KiB and holds four bytes of them.
_TORN_RECORD: Final = b"\x17\x03\x03\x40\x00torn"
#: The first half of a HEADERS frame's head.
_TORN_FRAME: Final = b"\x00\x00\x10\x01"

Stream = trio.SSLStream[trio.SocketStream]


class Http2Peer:
    """Serves a connection with three tasks: one reads and judges, one writes, one sends delayed answers.

    Args:
        stream: after its handshake, with ``h2`` selected.
        provider: the rules.
        ledger: flushed before any answer goes out.
        faults: what to do to this connection, ordered by ``after``.
    """

    def __init__(self, stream: Stream, provider: Provider, ledger: Ledger, faults: list[ConnectionFaultRule]) -> None:
        self._stream = stream
        self._ledger = ledger
        self._faults = faults
        self._session = provider.session(stream.getpeercert(binary_form=True))
        self._streams = self._session.streams
        limits = replace(provider.limits, max_concurrent_streams=self._streams)
        self._http2 = Http2Connection(limits, ledger.refused)
        self._wake_writer = trio.Event()
        self._wake_delayer = trio.Event()
        self._delayed: list[tuple[float, int, int, TwinAnswer]] = []
        self._taken = 0
        self._silent: set[int] = set()
        self._mute = False
        self._torn = False
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve until either side ends the connection."""
        if self._faults and not self._faults[0].after:
            self._misbehave(self._faults.pop(0), 0)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guard, self._write)
                nursery.start_soon(self._guard, self._delay)
                await self._guard(self._read)
                nursery.cancel_scope.cancel()

    async def _guard(self, part: Callable[[], Awaitable[None]]) -> None:
        """Run one of the tasks; a connection that breaks under it ends them all."""
        try:
            await part()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def drain(self) -> None:
        """Send GOAWAY; the connection ends once all requests that will ever be answered are answered."""
        for stream in self._silent:
            self._http2.abandon(stream)
        self._http2.go_away()
        self._wake_writer.set()

    async def _read(self) -> None:
        http2 = self._http2
        while not http2.closed:
            data = await self._stream.receive_some(_READ)
            if not data:
                return
            if self._mute:
                continue
            requests = http2.feed(bytes(data))
            if requests:
                self._take(requests)
            if http2.has_outgoing or http2.closed:
                self._wake_writer.set()
        # Hanging up with bytes unread would make the kernel reset the connection and destroy our last answers.
        with trio.move_on_after(_LINGER_SECONDS):
            while await self._stream.receive_some(_READ):
                pass

    def _take(self, requests: list[ReceivedRequest]) -> None:
        """Judge a read's requests; once the ledger has them, answer all that need not wait."""
        http2 = self._http2
        now = trio.current_time()
        ready: list[tuple[int, TwinAnswer]] = []
        waiting = False
        for request in requests:
            if self._mute or http2.closed or request.stream > http2.accept_up_to:
                break
            answer = self._session.answer(request)
            self._taken += 1
            if answer.mute or (self._faults and self._is_unanswered()):
                self._silent.add(request.stream)
            elif answer.delay:
                heapq.heappush(self._delayed, (now + answer.delay, self._taken, request.stream, answer))
                waiting = True
            else:
                ready.append((request.stream, answer))
            while self._faults and self._taken >= self._faults[0].after:
                # Requests that came before the fault are answered before it.
                self._answer(ready)
                self._misbehave(self._faults.pop(0), request.stream)
        self._answer(ready)
        if self._session.streams != self._streams and not http2.closed:
            self._streams = self._session.streams
            http2.settings({f.MAX_CONCURRENT_STREAMS: self._streams})
        if waiting:
            self._wake_delayer.set()

    def _answer(self, ready: list[tuple[int, TwinAnswer]]) -> None:
        self._ledger.flush()
        for stream, answer in ready:
            self._send(stream, answer)
        ready.clear()

    def _send(self, stream: int, answer: TwinAnswer) -> None:
        if answer.reset is not None:
            self._http2.reset(stream, answer.reset)
        else:
            self._http2.respond(stream, answer.fields, answer.body)

    def _is_unanswered(self) -> bool:
        fault = self._faults[0]
        return fault.after - fault.unanswered < self._taken <= fault.after

    def _misbehave(self, fault: ConnectionFaultRule, stream: int) -> None:
        http2 = self._http2
        if fault.do in ("goaway", "close", "cut"):
            for silent in self._silent:
                http2.abandon(silent)
        if fault.do == "goaway":
            debug = msgspec.json.encode({"reason": fault.reason}) if fault.reason is not None else b""
            http2.go_away(f.CODES[fault.code], debug, stream)
        elif fault.do == "close":
            http2.hang_up()
        elif fault.do == "cut":
            http2.inject(_TORN_FRAME)
            http2.hang_up()
            self._torn = True
        elif fault.do == "illegal":
            assert fault.frame is not None
            http2.inject(forge(fault.frame, stream or 1, fault.count))
        elif fault.do == "settings":
            values = {}
            if fault.max_concurrent_streams is not None:
                values[f.MAX_CONCURRENT_STREAMS] = fault.max_concurrent_streams
            if fault.initial_window_size is not None:
                values[f.INITIAL_WINDOW_SIZE] = fault.initial_window_size
            http2.settings(values)
        elif fault.do == "mute":
            self._mute = True
        else:
            http2.topping_up = False

    async def _delay(self) -> None:
        while True:
            if self._delayed:
                with trio.move_on_at(self._delayed[0][0]):
                    await self._wake_delayer.wait()
            else:
                await self._wake_delayer.wait()
            self._wake_delayer = trio.Event()
            now = trio.current_time()
            while self._delayed and self._delayed[0][0] <= now:
                _, _, stream, answer = heapq.heappop(self._delayed)
                self._send(stream, answer)
            if self._http2.has_outgoing or self._http2.closed:
                self._wake_writer.set()

    async def _write(self) -> None:
        http2 = self._http2
        while True:
            out = b"" if self._mute else http2.outgoing()
            if out:
                await self._stream.send_all(out)
            elif http2.closed:
                # The reader may be in a read that never ends, because the client waits for us.
                self._scope.deadline = trio.current_time() + _LINGER_SECONDS
                if self._torn:
                    await self._stream.transport_stream.send_all(_TORN_RECORD)
                await self._stream.transport_stream.send_eof()
                return
            else:
                await self._wake_writer.wait()
                self._wake_writer = trio.Event()
