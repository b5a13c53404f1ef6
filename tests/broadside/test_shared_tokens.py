"""One provider token for all processes of a node."""

from __future__ import annotations

import os
import signal
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broadside import shared_tokens, wire
from broadside.api.campaign_report import FireRequest
from broadside.api.subscriber import Subscriber
from broadside.config.config import Channel, Config, Http, NodeConfig
from broadside.datafolder import DataFolder
from broadside.node.node import Node
from broadside.shared_tokens import TokenHolder, TokenMaker
from campaigns.guards import NO_GUARDS
from campaigns.identity import parse_campaign
from campaigns.message import Message
from tests.transports.scripted_peer import Peer
from transports.apns.transport import ApnsTransport, build
from transports.contract import TransportSettings

APPS = {"ios-news": "com.example.news", "ios-sport": "com.example.sport", "ios-other": "org.example.other"}


def signing_key(folder: Path, key_id: str, team: str) -> dict[str, str]:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"AuthKey_{key_id}.p8"
    path.write_bytes(pem)
    path.chmod(0o600)
    return {"key": str(path), "key_id": key_id, "team_id": team}


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Two channels of one key, and one of another."""
    ours = signing_key(tmp_path, "ABCDE12345", "TEAM123456")
    return {"ios-news": ours, "ios-sport": ours, "ios-other": signing_key(tmp_path, "ZYXWV98765", "TEAM654321")}


class Apple(Peer):
    """The scripted peer, which remembers which token came over which connection, by topic."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.answer = self._remember

    def _remember(self, seen: Any) -> tuple[int, dict[str, str], bytes]:
        token = seen.headers["authorization"].removeprefix("bearer ")
        self.shown[seen.headers["apns-topic"]][id(seen.link)].add(token)
        return 200, {}, b""

    def tokens(self, channel: str) -> set[str]:
        return set().union(*self.shown[APPS[channel]].values())


@pytest.fixture
async def apple(tmp_path: Path) -> AsyncIterator[Apple]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    peer = Apple()
    peer.ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(peer.ca))
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.listen, context)
        yield peer
        nursery.cancel_scope.cancel()


@pytest.fixture
async def node(
    tmp_path: Path, apple: Apple, keys: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    """A node of two workers, each an OS process, whose channels all go to ``apple``."""
    monkeypatch.setattr(shared_tokens, "LOOK_EVERY", 0.05)
    channels = {
        name: Channel(
            platform="apns", app=APPS[name], credentials=keys[name], origin=apple.origin, ca=apple.ca, connections=1
        )
        for name in APPS
    }
    data = tmp_path / "var"
    config = Config(
        node=NodeConfig(data=data, workers=2), http=Http(bind="127.0.0.1:0"), channels=channels, guards=NO_GUARDS
    )
    folder = DataFolder(data)
    with folder.locked():
        node = Node(config, folder)
        async with trio.open_nursery() as nursery:
            up = trio.Event()
            nursery.start_soon(node.run, up.set)
            await up.wait()
            yield node
            node.stop()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
            await trio.sleep(0.02)


async def fire_until_both_workers_have_sent(node: Node, apple: Apple) -> None:
    """Campaigns, until each channel's pushes have come over two connections: each worker has one of its own."""
    apple.shown.clear()
    with trio.fail_after(30):
        while any(len(apple.shown[app]) < 2 for app in APPS.values()):
            report = await node.newsroom.fire(FireRequest(message=Message(title="t", body="b")))
            while not report.ended:
                await trio.sleep(0.05)
                found = await node.newsroom.campaign(parse_campaign(report.id))
                assert found is not None
                report = found


@pytest.mark.timeout(120)
@pytest.mark.tarantool
async def test_all_processes_show_apple_one_token_per_key_and_change_it_together(node: Node, apple: Apple) -> None:
    await node.newsroom.subscribers.put(
        Subscriber(channel=name, token=f"{number:064x}") for number in range(300) for name in APPS
    )
    await fire_until_both_workers_have_sent(node, apple)
    first = {token.name: token.text for token in node._tokens.current()}
    assert len(first) == 2, "two keys"
    assert apple.tokens("ios-news") == apple.tokens("ios-sport") != apple.tokens("ios-other")
    assert apple.tokens("ios-news") | apple.tokens("ios-other") == set(first.values()), "the node's own, and no other"

    connections = apple.accepted
    for credential in node._tokens._credentials.values():
        credential._made_at -= 41 * 60
    await until(lambda: {token.text for token in node._tokens.current()}.isdisjoint(first.values()))
    await trio.sleep(0.5)  # both workers have heard of it
    await fire_until_both_workers_have_sent(node, apple)
    second = {token.name: token.text for token in node._tokens.current()}
    assert apple.tokens("ios-news") | apple.tokens("ios-other") == set(second.values())
    assert apple.accepted == connections, "no open connection is disturbed"

    pid = node._workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: node._workers[0].pid not in (None, pid))
    await fire_until_both_workers_have_sent(node, apple)
    assert apple.tokens("ios-news") | apple.tokens("ios-other") == set(second.values()), "a new worker gets the same"


def transport(credentials: dict[str, str]) -> ApnsTransport:
    return build(TransportSettings(channel="c", platform="apns", app="a.b", credentials=credentials))


def shown(transport: ApnsTransport) -> str:
    assert transport.shared is not None
    return transport.shared.header().decode().removeprefix("bearer ")


async def nobody(token: wire.SharedToken) -> None:
    raise AssertionError("not running")


def test_a_transports_successor_borrows_the_same_token_and_hears_of_the_next(keys: dict[str, dict[str, str]]) -> None:
    maker = TokenMaker(lambda: {name: transport(credentials) for name, credentials in keys.items()}, nobody)
    tokens = {token.name: token for token in maker.current()}
    assert maker.current() == list(tokens.values()), "made once"
    holder = TokenHolder(list(tokens.values()))
    first, other = transport(keys["ios-news"]), transport(keys["ios-other"])
    holder.lend("ios-news", first)
    holder.lend("ios-other", other)
    successor = transport(keys["ios-news"])
    holder.lend("ios-news", successor)
    assert successor.shared is not None
    name = successor.shared.name
    assert shown(successor) == shown(first) == tokens[name].text
    assert shown(other) != shown(first)
    before = shown(other)
    holder.receive(wire.SharedToken(name, "next.one", tokens[name].issued_at + 10, tokens[name].made_at + 10))
    assert shown(successor) == "next.one"
    assert shown(other) == before
    third = transport(keys["ios-news"])
    holder.lend("ios-news", third)
    assert shown(third) == "next.one"


def test_a_key_of_the_same_name_is_another_key(keys: dict[str, dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    impostor = signing_key(tmp_path / "copy", "ABCDE12345", "TEAM123456")
    mine, theirs = transport(keys["ios-news"]).shared, transport(impostor).shared
    assert mine is not None
    assert theirs is not None
    assert mine.name != theirs.name


def test_what_has_nothing_to_share_is_left_alone() -> None:
    class Plain:
        pass

    holder = TokenHolder([])
    holder.lend("c", Plain())  # type: ignore[arg-type]
    assert TokenMaker(lambda: {"c": Plain()}, nobody).current() == []  # type: ignore[dict-item]
