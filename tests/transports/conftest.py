"""A scripted HTTP/2 server over real TLS, on plain h2: what it answers, and when it breaks, is up to the test."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from h2.settings import Settings

from transports.backoff import Backoff
from transports.connection import Timing
from transports.contract import Batch, Message, Recipient, TransportSettings


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
        if data := self.h2.data_to_send():
            await self.stream.send_all(data)


@dataclass
class Peer:
    port: int = 0
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
        return f"https://localhost:{self.port}"

    async def on_connect(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.accepted += 1
        link = Link(self, stream)
        self.links.append(link)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                await link.run()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
async def start_peer(server_context: ssl.SSLContext, ca_file: Path) -> AsyncIterator[Any]:
    async with trio.open_nursery() as nursery:

        async def start(peer: Peer | None = None, context: ssl.SSLContext | None = None, **options: Any) -> Peer:
            peer = peer or Peer(**options)
            peer.ca = ca_file

            async def listen(task_status: trio.TaskStatus[Any]) -> None:
                with peer.scope:
                    await trio.serve_ssl_over_tcp(
                        peer.on_connect, peer.port, context or server_context, host="localhost", task_status=task_status
                    )

            listeners = await nursery.start(listen)
            peer.port = listeners[0].transport_listener.socket.getsockname()[1]
            return peer

        yield start
        nursery.cancel_scope.cancel()


@pytest.fixture
async def peer(start_peer: Any) -> Peer:
    made: Peer = await start_peer()
    return made


@pytest.fixture(scope="session")
def apns_credentials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("apns") / "AuthKey_ABCDE12345.p8"
    path.write_bytes(_pem(ec.generate_private_key(ec.SECP256R1())))
    return {"key": str(path), "key_id": "ABCDE12345", "team_id": "TEAM123456"}


@pytest.fixture(scope="session")
def service_account(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "news-1a2b3",
        "private_key_id": "key-1",
        "private_key": _pem(rsa.generate_private_key(65537, 2048)).decode(),
        "client_email": "push@news-1a2b3.iam.gserviceaccount.com",
        "token_uri": "https://localhost/token",
    }


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


FAST = Timing(deadline=1.0, connect=2.0, silence=0.3, ping=1.0, idle=60.0, sweep=0.02)


def fast_backoff() -> Backoff:
    return Backoff(first=0.01, base=0.02, limit=0.1)


@pytest.fixture
def make_apns(apns_credentials: dict[str, str]) -> Callable[..., Any]:
    from transports.apns.transport import build

    def make(peer: Peer, *, timing: Timing = FAST, connections: int = 1) -> Any:
        settings = TransportSettings(
            channel="ios-news",
            platform="apns",
            app="com.example.news",
            credentials=apns_credentials,
            origin=peer.origin,
            ca=peer.ca,
            connections=connections,
        )
        return build(settings, timing=timing, backoff=fast_backoff)

    return make


@pytest.fixture
def running() -> Any:
    """``async with running(transport):`` runs it, and stops it in order."""

    @contextlib.asynccontextmanager
    async def run(transport: Any) -> AsyncIterator[Any]:
        async with trio.open_nursery() as nursery:
            await nursery.start(_started, transport.run)
            yield transport
            transport.stop()

    return run


async def _started(
    run: Callable[[Callable[[], None]], Any], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await run(task_status.started)


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(
        n: int = 1,
        *,
        kind: str = "token",
        campaign: int = 7,
        attempt: int = 1,
        expires_at: int = 4_000_000_000_000,
        tokens: list[str] | None = None,
        message: Message | None = None,
    ) -> Batch:
        tokens = tokens or [f"{index:064x}" for index in range(n)]
        recipients = [Recipient(1_000 + index, token, kind, 0, 0) for index, token in enumerate(tokens)]
        message = message or Message(title="Flood", body="Leave the valley now")
        return Batch(campaign, message, attempt, expires_at, ("en",), recipients)

    return make


@pytest.fixture
def reason() -> Callable[..., Reply]:
    def apple(status: int, word: str, **more: Any) -> Reply:
        return status, {}, json.dumps({"reason": word, **more}).encode()

    return apple


@pytest.fixture
def until() -> Callable[..., Any]:
    async def wait(condition: Callable[[], bool], seconds: float = 5.0) -> None:
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for happens behind a socket
                await trio.sleep(0.005)

    return wait


@pytest.fixture
def fast() -> dict[str, Any]:
    return {"timing": FAST, "backoff": fast_backoff}
