"""A scripted HTTP/2 server over real TLS, on plain h2: what it answers, and when it breaks, is up to the test."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import trio
from h2.settings import Settings


@dataclass
class Seen:
    headers: dict[str, str]
    body: bytes
    stream_id: int
    link: Link

    @property
    def token(self) -> str:
        return self.headers[":path"].rsplit("/", 1)[-1]


Reply = tuple[int, dict[str, str], bytes]


class Link:
    """One client's connection, seen from the server."""

    def __init__(self, peer: Peer, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.peer = peer
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=peer.settings)
        self.requests: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.open: set[int] = set()
        self.most_open = 0
        self.wake = trio.Event()
        self.sending = trio.Lock()

    async def run(self) -> None:
        self.h2.initiate_connection()
        try:
            await self.flush()
            while data := await self.stream.receive_some(65_536):
                for event in self.h2.receive_data(data):
                    await self.on_event(event)
                await self.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.peer.links.remove(self)

    async def on_event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            names = [name for name, _ in event.headers]
            assert len(names) == len(set(names))
            self.requests[event.stream_id] = (dict(event.headers), bytearray())
            self.open.add(event.stream_id)
            self.most_open = max(self.most_open, len(self.open))
            self.peer.begun += 1
        elif isinstance(event, h2.events.DataReceived):
            self.requests[event.stream_id][1].extend(event.data)
            if self.peer.credit:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = self.requests.pop(event.stream_id)
            seen = Seen(headers, bytes(body), event.stream_id, self)
            self.peer.seen.append(seen)
            reply = self.peer.answer(seen)
            if reply is not None:
                self.reply(event.stream_id, reply)
        elif isinstance(event, h2.events.StreamReset):
            self.open.discard(event.stream_id)
            self.peer.resets += 1

    def reply(self, stream_id: int, reply: Reply) -> None:
        status, headers, body = reply
        self.open.discard(stream_id)
        self.h2.send_headers(stream_id, [(":status", str(status)), *headers.items()], end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)

    async def flush(self) -> None:
        async with self.sending:  # a test may answer while the peer answers a PING
            if data := self.h2.data_to_send():
                await self.stream.send_all(data)


@dataclass
class Peer:
    port: int = 0
    host: str = "localhost"
    answer: Callable[[Seen], Reply | None] = lambda seen: (200, {}, b"")
    settings: dict[int, int] = field(default_factory=dict)
    credit: bool = True
    seen: list[Seen] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    accepted: int = 0
    begun: int = 0
    resets: int = 0
    ca: Path = Path()
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"

    async def on_connect(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.accepted += 1
        link = Link(self, stream)
        self.links.append(link)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                await link.run()

    async def listen(
        self, context: ssl.SSLContext, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until ``scope`` is cancelled; started once ``port`` is known."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_ssl_over_tcp, self.on_connect, self.port, context, host=self.host)
                listeners = await nursery.start(serve)
                self.port = listeners[0].transport_listener.socket.getsockname()[1]
                task_status.started()
