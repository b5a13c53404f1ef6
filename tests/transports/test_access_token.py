"""Laws of an access token that one process of a node fetches for all: fetched once, and never missed by a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from broadside import shared_tokens, wire
from broadside.shared_tokens import TokenHolder, TokenMaker
from transports.access_token import EARLY, PATIENCE, AccessToken
from transports.errors import ConnectionLost
from transports.token_grants import Granted


class Endpoint:
    """A provider's, which counts; ``name`` and ``stamp`` as of a :class:`TokenSource`."""

    name, stamp = "app", "secret-1"

    def __init__(self, seconds: float = 3600.0) -> None:
        self.asked = 0
        self.away = False
        self.seconds = seconds

    async def ask(self) -> Granted:
        await trio.sleep(0.1)
        self.asked += 1
        if self.away:
            raise ConnectionLost("endpoint is away")
        return Granted(f"token-{self.asked}", self.seconds)


class Channel:
    """As much of a transport as shares a credential."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.shared = AccessToken(endpoint, elapsed=trio.current_time)


class Ring:
    """A node's process and its workers."""

    def __init__(self, endpoint: Endpoint, nursery: trio.Nursery) -> None:
        self.endpoint = endpoint
        self.nursery = nursery
        self.holders: list[TokenHolder] = []
        self.maker = TokenMaker(lambda: {"c": Channel(endpoint)}, self._tell)  # type: ignore[dict-item]

    async def _tell(self, token: wire.SharedToken) -> None:
        for holder in self.holders:
            holder.receive(token)

    def worker(self) -> AccessToken:
        """Start a worker with one channel."""
        holder, channel = TokenHolder(self.maker.current()), Channel(self.endpoint)
        self.holders.append(holder)
        holder.lend("c", channel)  # type: ignore[arg-type]
        self.nursery.start_soon(channel.shared.run)
        return channel.shared


@asynccontextmanager
async def ring(endpoint: Endpoint, *, serves: bool = True) -> AsyncIterator[Ring]:
    async with trio.open_nursery() as nursery:
        it = Ring(endpoint, nursery)
        if serves:
            nursery.start_soon(it.maker.run, lambda: None)
        yield it
        nursery.cancel_scope.cancel()


async def test_a_node_fetches_one_token_for_all_of_its_workers(autojump_clock: trio.testing.MockClock) -> None:
    async with ring(Endpoint()) as node:
        early = [node.worker() for _ in range(3)]  # before there is a token
        await trio.sleep(1)
        late = node.worker()
        for token in (*early, late):
            assert await token.wait() is None
            assert token.value == b"Bearer token-1"
        await trio.sleep(50 * 60)
        assert node.endpoint.asked == 1


async def test_it_is_renewed_once_before_it_ends_and_every_worker_hears_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ring(Endpoint()) as node:
        workers = [node.worker() for _ in range(3)]
        await trio.sleep(3600 - EARLY + 1)
        assert {token.value for token in workers} == {b"Bearer token-2"}
        await trio.sleep(20 * 3600)
        assert node.endpoint.asked == 22 or node.endpoint.asked == 23
        assert len({token.value for token in workers}) == 1


async def test_a_worker_fetches_its_own_if_the_node_has_none_in_time(autojump_clock: trio.testing.MockClock) -> None:
    async with ring(Endpoint(), serves=False) as node:
        worker = node.worker()
        with trio.fail_after(PATIENCE + 1):
            assert await worker.wait() is None
        assert worker.value == b"Bearer token-1"


async def test_a_worker_whose_token_is_refused_fetches_another_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with ring(Endpoint()) as node:
        worker = node.worker()
        await trio.sleep(1)
        worker.renew(worker.value)
        with trio.fail_after(1):
            assert await worker.wait() is None
        assert worker.value == b"Bearer token-2"
        # the node's own is the refused one: it must not come back
        node.holders[0].lend("c", node_channel := Channel(node.endpoint))  # type: ignore[arg-type]
        assert node_channel.shared.value == b"Bearer token-1", "a new transport tries it"
        assert worker.value == b"Bearer token-2"


async def test_a_node_that_can_fetch_no_more_leaves_its_workers_a_way(autojump_clock: trio.testing.MockClock) -> None:
    async with ring(Endpoint()) as node:
        worker = node.worker()
        await trio.sleep(1)
        node.maker.stop()
        await trio.sleep(3600)
        assert worker.value == b"Bearer token-2", "it fetched its own before the first one ended"
        assert worker.missing_since is None


async def test_an_endpoint_that_is_away_is_a_reason_until_the_token_comes_from_elsewhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    endpoint = Endpoint()
    endpoint.away = True
    async with ring(endpoint) as node:
        worker = node.worker()
        await trio.sleep(PATIENCE + 2)
        outage = worker.missing("Huawei")
        assert outage is not None
        assert outage.sentence == "Huawei gives no access token: endpoint is away"
        endpoint.away = False
        with trio.fail_after(120):
            assert await worker.wait() is None
        assert worker.missing("Huawei") is None


async def test_another_secret_of_the_same_name_is_another_credential(autojump_clock: trio.testing.MockClock) -> None:
    old, new = Endpoint(), Endpoint()
    new.stamp = "secret-2"
    assert Channel(old).shared.name != Channel(new).shared.name
    async with ring(old) as node:
        await trio.sleep(1)
        node.maker.change({"c": Channel(new)})  # type: ignore[dict-item]
        await trio.sleep(1)
        assert (old.asked, new.asked) == (1, 1)
        await trio.sleep(10 * 3600)
        assert old.asked == 1, "what nobody uses any more is not renewed"


async def test_a_reload_keeps_the_token_and_fetches_by_the_new_settings(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_tokens, "LOOK_EVERY", 1.0)
    old, new = Endpoint(), Endpoint()
    async with ring(old) as node:
        worker = node.worker()
        await trio.sleep(2)
        node.maker.change({"c": Channel(new)})  # type: ignore[dict-item]
        await trio.sleep(10)
        assert (worker.value, old.asked, new.asked) == (b"Bearer token-1", 1, 0)
        await trio.sleep(3600)
        assert (old.asked, new.asked) == (1, 1)
