"""Credentials, a scripted peer, and batches for the transports."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.recipient import Recipient
from tests.transports.scripted_peer import Peer, Reply
from transports.backoff import Backoff
from transports.contract import TransportSettings
from transports.http2.connection import Timing


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

            await nursery.start(peer.listen, context or server_context)
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


FAST = Timing(deadline=4.0, connect=2.0, silence=0.3, ping=1.0, idle=60.0, sweep=0.02)


def fast_backoff() -> Backoff:
    return Backoff(first=0.01, base=0.02, limit=0.1)


@pytest.fixture
def make_apns(apns_credentials: dict[str, str]) -> Callable[..., Any]:
    from transports.apns.transport import build

    def make(peer: Peer, *, timing: Timing = FAST, connections: int = 1, upper_lane: bool = False) -> Any:
        settings = TransportSettings(
            channel="ios-news",
            platform="apns",
            app="com.example.news",
            credentials=apns_credentials,
            origin=peer.origin,
            ca=peer.ca,
            connections=connections,
            upper_lane=upper_lane,
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
        recipients = [Recipient(1_000 + index, token, kind, 0, "en") for index, token in enumerate(tokens)]
        message = message or Message(title="Flood", body="Leave the valley now")
        return Batch(campaign, message, attempt, expires_at, recipients)

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
