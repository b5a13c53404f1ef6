"""A small HTTP/1.1 server for one ASGI application. Every resource that a stranger can use up has a bound.

h11 parses and serialises; one task serves one connection. No body is read before the application asks for it, so a
client without the key cannot make the server read one. An error on a connection ends only that connection.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from email.utils import formatdate
from functools import partial
from typing import Any
from urllib.parse import unquote

import h11
import msgspec
import structlog
import trio

from broadside.api.problem_details import MEDIA_TYPE, ProblemDetails, problem
from broadside.console.door import Door
from broadside.console.outflow import STRAIGHT, Chunks, PlainWire, SecuredWire
from broadside.console.request_failure import FAILURE, failure, logged

log = structlog.get_logger(__name__)

Event = MutableMapping[str, Any]
Asgi = Callable[[Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]]

ADMITTED = "admitted"
"""The entry of ``scope["state"]`` that the application sets once the client has sent the API key."""
NOSNIFF = (b"x-content-type-options", b"nosniff")
"""A header field of every answer: no browser takes JSON with a text from outside for a page."""
LARGEST_HEAD = 8192
"""Bytes of a request line and its header fields."""
PIECE = 65536
"""Bytes to read or write at once."""
HEAD_WITHIN = 10.0
"""Seconds for the whole head of a request, counted from the connection or the last answer."""
IDLE_WITHIN = 30.0
"""Seconds between two requests of a client that has sent the key."""
BODY_WITHIN = 20.0
"""Seconds for the next piece of a body; of a stranger's (a log-in), for all of it."""
SEND_WITHIN = 10.0
"""Seconds for a client to take the next piece of an answer."""
LINGER, LINGER_BYTES = 2.0, 1 << 20
"""Seconds and bytes for which an unread body is read and dropped, so that its sender sees the answer."""
GRACE = 1.0
"""Seconds in which requests under way may finish at a stop."""


class ClientGone(OSError):
    """The client has left, does not take its answer, or does not speak HTTP."""


class HttpServer:
    """Serves ``app`` at ``doors`` until `stop`, and then finishes requests under way for `GRACE` seconds."""

    def __init__(self, app: Asgi, doors: Iterable[Door]) -> None:
        self._app = app
        self._doors = list(doors)
        self._stopping = trio.Event()
        self._open: dict[Door, dict[HttpConnection, None]] = {door: {} for door in self._doors}

    def stop(self) -> None:
        """Accept nothing more; finish the requests under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until stopped."""
        async with trio.open_nursery() as serving:
            try:
                async with trio.open_nursery() as accepting:
                    for door in self._doors:
                        accepting.start_soon(self._accept, door, serving)
                    await self._stopping.wait()
                    accepting.cancel_scope.cancel()
            finally:
                for door in self._doors:
                    door.listener.socket.close()
            for open_ in self._open.values():
                for connection in open_:
                    connection.last_request()
            serving.cancel_scope.deadline = trio.current_time() + GRACE

    async def _accept(self, door: Door, serving: trio.Nursery) -> None:
        while True:
            stream = await door.accept()
            if stream is None:
                continue
            if not door.admits(stream):
                await trio.aclose_forcefully(stream)
                continue
            connection = HttpConnection(stream, door.app or self._app, door)
            if len(self._open[door]) >= door.connections and not self._make_room(door):
                await trio.aclose_forcefully(stream)
                continue
            self._open[door][connection] = None
            serving.start_soon(self._serve, door, connection)

    def _make_room(self, door: Door) -> bool:
        waiting = [connection for connection in self._open[door] if connection.waits]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda connection: (connection.known, connection.since))
        oldest.life.cancel()
        del self._open[door][oldest]
        return True

    async def _serve(self, door: Door, connection: HttpConnection) -> None:
        try:
            with connection.life:
                await connection.run()
        except Exception as error:
            log.error("an API connection broke", why=repr(error), exc_info=error)
        except BaseExceptionGroup as group:  # an error together with a cancellation from outside
            errors, rest = group.split(Exception)
            if errors is not None:
                log.error("an API connection broke", why=repr(errors), exc_info=errors)
            if rest is not None:
                raise rest from None
        finally:
            self._open[door].pop(connection, None)


class HttpConnection:
    """One client's connection: request after request, until one side ends it."""

    def __init__(self, stream: trio.SocketStream, app: Asgi, door: Door) -> None:
        self._plain = stream
        self._secured: trio.SSLStream[trio.SocketStream] | None = None
        if door.tls is not None:
            self._secured = trio.SSLStream(stream, door.tls, server_side=True, https_compatible=True)
        self.life = trio.CancelScope()
        self.since = trio.current_time()
        self.waits = True
        """Whether it waits for the head of a request, or for a stranger's body, so that closing it loses nothing."""
        self.known = door.trusted
        """Whether this client has sent the key."""
        self._stream: trio.abc.Stream = self._secured or stream
        self._app, self._door = app, door
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._last = False
        self._gone = False
        self._cut = False
        """Whether bytes were left unwritten, so that nothing can follow them."""
        self._bodiless = False
        self._held = b""
        self._headed = self.since
        """When the head of the request under way was there."""
        self._state: Event = {}
        """The ``state`` of the request under way."""

    def last_request(self) -> None:
        """Close after the request under way; at once if there is none."""
        self._last = True
        if self.waits:
            self.life.cancel()

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            if self._secured is not None and not await self._shaken(self._secured):
                return
            while await self._one_request():
                self.since = trio.current_time()
                self.waits = True
            if not self._gone and self._h11.their_state in (h11.SEND_BODY, h11.ERROR):
                self.waits = True
                await self._linger()
        finally:
            await trio.aclose_forcefully(self._plain)

    async def _shaken(self, stream: trio.SSLStream[trio.SocketStream]) -> bool:
        """Whether the client has done TLS's handshake in time."""
        with trio.move_on_after(HEAD_WITHIN):
            try:
                await stream.do_handshake()
            except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
                return False
            return True
        return False

    async def _one_request(self) -> bool:
        try:
            request = await self._event(IDLE_WITHIN if self.known else HEAD_WITHIN, LARGEST_HEAD)
            self.waits = False
            if not isinstance(request, h11.Request):
                return False
            _check(request)
            await self._answer(request)
            while isinstance(self._h11.next_event(), h11.Data):
                pass  # read to the end of the body, if it came with the head or is empty
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
            return False
        except ClientGone:
            return False
        if self._cut or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    async def _answer(self, request: h11.Request) -> None:
        scope = self._scope(request)
        self._headed, self._state = trio.current_time(), scope["state"]
        self._bodiless = request.method == b"HEAD"
        failed: Exception | None = None
        try:
            await self._app(scope, self._receive, self._send_for(scope))
        except Exception as error:
            failed = error
        if self._gone:
            return
        if self._h11.our_state is h11.SEND_RESPONSE:
            failed = failed or RuntimeError("the application gave no answer")
        if failed is not None and FAILURE not in scope["state"]:
            id = logged(scope["path"], failed)
            await self._reply(failure(id, f"the node failed: {type(failed).__name__}"))

    def _scope(self, request: h11.Request) -> Event:
        path, _, query = bytes(request.target).partition(b"?")
        straight = None
        if request.http_version == b"1.1":
            wire = PlainWire(self._plain) if self._secured is None else SecuredWire(self._secured)
            straight = Chunks(self._send, partial(self._send_to, self._plain), wire)
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode(),
            "scheme": "http" if self._secured is None else "https",
            "path": unquote(path.decode()),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": None,
            "server": None,
            "state": {ADMITTED: self._door.trusted},
            "extensions": {STRAIGHT: straight},
        }

    # -- the application's two functions ----------------------------------------------------------------------------

    async def _receive(self) -> Event:
        try:
            if self._h11.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            read_all = self._h11.their_state is not h11.SEND_BODY
            event = await (self._event(math.inf) if read_all else self._part())
        except (h11.RemoteProtocolError, ClientGone):
            return {"type": "http.disconnect"}
        if isinstance(event, h11.Data):
            return {"type": "http.request", "body": bytes(event.data), "more_body": True}
        if isinstance(event, h11.EndOfMessage):
            return {"type": "http.request", "body": b"", "more_body": False}
        if event is h11.PAUSED:  # the next request has already arrived, so the client is not gone
            await trio.sleep_forever()
        self._gone = True
        return {"type": "http.disconnect"}

    async def _part(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event of a body. A stranger's has a time as a whole, and its place may be taken meanwhile."""
        if self._state.get(ADMITTED):
            return await self._event(BODY_WITHIN)
        self.waits = True
        try:
            return await self._event(max(0.0, self._headed + BODY_WITHIN - trio.current_time()))
        finally:
            self.waits = False

    def _send_for(self, scope: Event) -> Callable[[Event], Awaitable[None]]:
        async def send(message: Event) -> None:
            if message["type"] == "http.response.start":
                if scope["state"].get(ADMITTED) and not self.known:
                    self.known = True
                    self._door.known()
                headers = [*message.get("headers", ()), NOSNIFF, (b"date", formatdate(usegmt=True).encode())]
                if self._last or not self.known:
                    headers.append((b"connection", b"close"))
                whole = any(name == b"content-length" for name, _ in headers)
                await self._write(h11.Response(status_code=message["status"], headers=headers), hold=whole)
            elif message["type"] == "http.response.body":
                if message.get("body") and not self._bodiless:
                    await self._write(h11.Data(data=message["body"]))
                if not message.get("more_body", False):
                    await self._write(h11.EndOfMessage())

        return send

    # -- bytes ------------------------------------------------------------------------------------------------------

    async def _event(self, seconds: float, piece: int = PIECE) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event (RemoteProtocolError if it is not HTTP, ClientGone after ``seconds`` of silence)."""
        with trio.move_on_after(seconds):
            while True:
                event = self._h11.next_event()
                if event is not h11.NEED_DATA:
                    return event
                try:
                    self._h11.receive_data(bytes(await self._stream.receive_some(piece)))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    break
        self._gone = True
        raise ClientGone

    async def _write(self, event: h11.Event, *, hold: bool = False) -> None:
        """Send an event; with ``hold`` together with the next event, which saves a system call per answer."""
        held = self._held + (self._h11.send(event) or b"")
        if hold:
            self._held = held
            return
        self._held = b""
        await self._send(held)

    async def _send(self, data: bytes) -> None:
        """Write bytes (ClientGone if the client does not take them)."""
        await self._send_to(self._stream, data)

    async def _send_to(self, stream: trio.abc.SendStream, data: bytes) -> None:
        if self._cut:
            raise ClientGone
        view, self._cut = memoryview(data), True
        try:
            for at in range(0, len(view), PIECE):
                with trio.fail_after(SEND_WITHIN):
                    await stream.send_all(view[at : at + PIECE])
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            self._gone = True
            raise ClientGone from None
        self._cut = False

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer with the error and close, unless an answer has begun."""
        status, what, remedy = error.error_status_hint, str(error), "send a request as RFC 9112 writes it (HTTP/1.1)"
        if status == 431:
            what, remedy = "the path and the header fields are too long", "send less in the address"
        await self._reply(problem(status, what, field="request", remedy=remedy))

    async def _reply(self, content: ProblemDetails) -> None:
        """Answer without the application, and close, unless an answer has begun."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = b"" if self._bodiless else msgspec.json.encode(content)
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            NOSNIFF,
        ]
        try:
            await self._write(h11.Response(status_code=content.status, headers=headers), hold=True)
            await self._write(h11.Data(data=body))
            await self._write(h11.EndOfMessage())
        except ClientGone:
            return

    async def _linger(self) -> None:
        left = LINGER_BYTES
        with trio.move_on_after(LINGER):
            try:
                if self._secured is None:
                    await self._plain.send_eof()
                while left > 0 and (dropped := await self._stream.receive_some(PIECE)):
                    left -= len(dropped)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return


def _check(request: h11.Request) -> None:
    """Raise RemoteProtocolError unless this is plain HTTP/1.1. ``Upgrade`` is ignored, as RFC 9110 (7.8) allows."""
    if request.http_version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("this server speaks only HTTP/1.1", error_status_hint=505)
    names = {name for name, _ in request.headers}
    if {b"content-length", b"transfer-encoding"} <= names:
        raise h11.RemoteProtocolError("Content-Length and Transfer-Encoding exclude each other", error_status_hint=400)
