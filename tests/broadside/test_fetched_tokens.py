"""A node's real processes ask their provider's token endpoint once, and all of them send under its token."""

from __future__ import annotations

import json
import ssl
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from broadside.api.campaign_report import FireRequest
from broadside.api.subscriber import Subscriber
from broadside.config.config import Channel, Config, Http, NodeConfig
from broadside.datafolder import DataFolder
from broadside.node.node import Node
from campaigns.guards import NO_GUARDS
from campaigns.identity import parse_campaign
from campaigns.message import Message
from tests.transports.scripted_peer import Peer
from tests.transports.test_token_endpoint import HEAD, endpoint
from transports.registry import load

WORKERS = 3


class Google(Peer):
    """The scripted peer, which remembers which token came over which connection."""

    def __init__(self) -> None:
        super().__init__(answer=self._remember)
        self.shown: dict[int, set[str]] = defaultdict(set)

    def _remember(self, seen: Any) -> tuple[int, dict[str, str], bytes]:
        self.shown[id(seen.link)].add(seen.headers["authorization"])
        return 200, {}, b"{}"


def service_account(folder: Path, token_uri: str) -> dict[str, str]:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "service-account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "news-1a2b3",
                "client_email": "push@news-1a2b3.iam.gserviceaccount.com",
                "private_key_id": "k1",
                "private_key": pem.decode(),
                "token_uri": token_uri,
            }
        )
    )
    path.chmod(0o600)
    return {"service_account": str(path)}


async def _grant(asked: list[bytes], stream: trio.SSLStream[trio.SocketStream]) -> None:
    body = json.dumps({"access_token": f"token-{len(asked)}", "expires_in": 3600}).encode()
    await stream.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def _fired(node: Node, google: Google) -> None:
    """Campaigns, until pushes have come over a connection of each worker."""
    with trio.fail_after(60):
        while len(google.shown) < WORKERS:
            report = await node.newsroom.fire(FireRequest(message=Message(title="t", body="b")))
            while not report.ended:
                await trio.sleep(0.05)
                found = await node.newsroom.campaign(parse_campaign(report.id))
                assert found is not None
                report = found


@pytest.mark.timeout(120)
@pytest.mark.tarantool
async def test_three_workers_send_under_the_one_token_that_their_node_has_fetched(tmp_path: Path) -> None:
    authority = trustme.CA()
    contexts = [ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) for _ in range(2)]
    for context in contexts:
        authority.issue_cert("localhost").configure_cert(context)
    contexts[0].set_alpn_protocols(["h2"])
    google, asked = Google(), list[bytes]()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with endpoint(contexts[1], partial(_grant, asked), asked) as url, trio.open_nursery() as nursery:
        await nursery.start(google.listen, contexts[0])
        channel = Channel(
            platform="fcm",
            app="news-1a2b3",
            credentials=service_account(tmp_path, url),
            origin=google.origin,
            ca=tmp_path / "ca.pem",
            connections=1,
        )
        config = Config(
            node=NodeConfig(data=tmp_path / "var", workers=WORKERS),
            http=Http(bind="127.0.0.1:0"),
            channels={"android-news": channel},
            guards=NO_GUARDS,
        )
        folder = DataFolder(tmp_path / "var")
        with folder.locked():
            node = Node(config, folder)
            up = trio.Event()
            nursery.start_soon(node.run, up.set)
            await up.wait()
            sample = load("fcm").sample
            await node.newsroom.subscribers.put(
                Subscriber(channel="android-news", token=sample(f"{number:064x}")) for number in range(900)
            )
            await _fired(node, google)
            assert set().union(*google.shown.values()) == {"Bearer token-1"}
            assert len(asked) == 1, "three workers and the node"
            node.stop()
            google.scope.cancel()
