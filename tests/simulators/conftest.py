"""Clients of the twins which share no code with them: a frame forge, h2 over real TLS, signed credentials."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import jwt
import msgspec
import pytest
import trio

from simulators import twin_credentials as keys
from simulators.faults.script import Script
from simulators.ledger import Ledger
from simulators.serving.service import TwinReady, serve_twin

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def parse(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Split what a server sent into (type, flags, stream, payload)."""
    frames = []
    while data:
        length = int.from_bytes(data[:3])
        kind, flags, stream = struct.unpack(">BBI", data[3:9])
        frames.append((kind, flags, stream, data[9 : 9 + length]))
        assert len(frames[-1][3]) == length
        data = data[9 + length :]
    return frames


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.ensure_credentials(tmp_path_factory.mktemp("twins") / "made")


@pytest.fixture(scope="session")
def provider_token(folder: keys.Credentials) -> Callable[..., str]:
    """Sign an APNs provider token; keywords replace claims, ``kid``, ``key`` and ``algorithm`` the rest."""

    def sign(kid: str = keys.KEY_ID, key: Any = None, algorithm: str = "ES256", **claims: object) -> str:
        said = {"iss": keys.TEAM_ID, "iat": int(time.time())} | claims
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, key or folder.apns_key.read_bytes(), algorithm, headers={"kid": kid})

    return sign


@pytest.fixture(scope="session")
def apns_headers(provider_token: Callable[..., str]) -> dict[str, str]:
    """What every push of the tests has in common."""
    return {
        "authorization": "bearer " + provider_token(),
        "apns-topic": "org.example.news",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": "0",
        "apns-collapse-id": "CAMPAIGN",
    }


def assertion(account: dict[str, str], **claims: object) -> str:
    now = int(time.time())
    said: dict[str, Any] = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": now,
        "exp": now + 3600,
    }
    said |= claims
    return jwt.encode(said, account["private_key"], "RS256", headers={"kid": account["private_key_id"]})


class Answered(msgspec.Struct):
    """What came back on one stream."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    reset: int | None = None
    at: float = 0.0


class Client:
    """h2 as a client over TLS: requests go out at once, answers are collected by stream."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.answers: dict[int, Answered] = {}
        self.limits: list[int] = []
        self.goaway: h2.events.ConnectionTerminated | None = None
        self.eof = False
        self.received = b""
        self.after_goaway = b""

    async def open(self) -> None:
        await self.flush()
        await self.read_until(lambda: bool(self.limits))

    def request(self, path: str, headers: dict[str, str], body: bytes, method: str = "POST") -> int:
        stream = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, [*pseudo, *headers.items()], end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        return stream

    async def ask(self, path: str, headers: dict[str, str], body: bytes, method: str = "POST") -> Answered:
        stream = self.request(path, headers, body, method)
        await self.flush()
        return await self.answer(stream)

    async def answer(self, stream: int) -> Answered:
        await self.read_until(lambda: stream in self.answers)
        return self.answers[stream]

    async def flush(self) -> None:
        await self.stream.send_all(self.h2.data_to_send())

    async def read_until(self, done: Callable[[], bool]) -> None:
        partial: dict[int, Answered] = {}
        with trio.fail_after(5):
            while not done() and not self.eof:
                try:
                    data = await self.stream.receive_some(65_536)
                except trio.BrokenResourceError:
                    data = b""
                self.eof = not data
                self.received += data
                for whole in self.frames():
                    # After a GOAWAY h2 refuses even valid answers: the tests read them from `after_goaway`.
                    if self.goaway is not None:
                        self.after_goaway += whole
                        continue
                    for event in self.h2.receive_data(whole):
                        self.on_event(event, partial)
                with contextlib.suppress(trio.BrokenResourceError):
                    await self.flush()

    def frames(self) -> Iterator[bytes]:
        """Take the whole frames off what was received."""
        while len(self.received) >= (end := 9 + int.from_bytes(self.received[:3])):
            yield self.received[:end]
            self.received = self.received[end:]

    def on_event(self, event: h2.events.Event, partial: dict[int, Answered]) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            partial[event.stream_id] = Answered(int(headers.pop(":status")), headers)
        elif isinstance(event, h2.events.DataReceived):
            partial[event.stream_id].body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.answers[event.stream_id] = partial.pop(event.stream_id)
            self.answers[event.stream_id].at = trio.current_time()
        elif isinstance(event, h2.events.StreamReset):
            self.answers[event.stream_id] = Answered(reset=event.error_code)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            changed = event.changed_settings.get(3)
            if changed is not None:
                self.limits.append(changed.new_value)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event


class Twin:
    """A running twin and what a test may do with it."""

    def __init__(self, ready: TwinReady, ledger: Ledger, stopping: trio.Event) -> None:
        self.ready = ready
        self.ledger = ledger
        self.stopping = stopping
        self.ended = trio.Event()

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ready.ca)
        context.set_alpn_protocols(list(protocols))
        return context

    @contextlib.asynccontextmanager
    async def raw(self, *protocols: str) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", self.ready.port, ssl_context=self.context(*protocols), https_compatible=True
        )
        try:
            await stream.do_handshake()
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        async with self.raw("h2") as stream:
            client = Client(stream)
            await client.open()
            yield client


StartTwin = Callable[..., AbstractAsyncContextManager[Twin]]


@pytest.fixture
def start_twin(folder: keys.Credentials) -> StartTwin:
    @contextlib.asynccontextmanager
    async def start(
        platform: Any,
        *,
        rules: Iterable[dict[str, object]] = (),
        connections: Iterable[dict[str, object]] = (),
        ledger: Path | None = None,
        latency_ms: float = 0.0,
        app: tuple[str, ...] = (),
        **script: object,
    ) -> AsyncIterator[Twin]:
        faults = msgspec.convert({"rules": [*rules], "connections": [*connections]} | script, Script)
        opened = Ledger(ledger)
        stopping = trio.Event()
        heard: list[TwinReady] = []
        started: list[trio.TaskStatus[None]] = []

        def announce(ready: TwinReady) -> None:
            heard.append(ready)
            started[0].started()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            started.append(task_status)
            await serve_twin(
                platform,
                directory=folder.directory,
                script=faults,
                ledger=opened,
                latency_ms=latency_ms,
                app=app,
                announce=announce,
                stopping=stopping,
            )
            twin.ended.set()

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            twin = Twin(heard[0], opened, stopping)
            yield twin
            nursery.cancel_scope.cancel()
        opened.close()

    return start


def token(number: int, prefix: str = "") -> str:
    return prefix + uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex * 2


ALERT = b'{"aps":{"alert":{"title":"Hot","body":"news"}}}'
