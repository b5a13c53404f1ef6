"""Whatever a provider answers, every batch is settled and nobody gets a push twice: real channels, queue and twin."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.breaker import Breaker
from actors.slowdown import Slowdown
from broadside import topology, wire
from simulators.faults.script import Rule, Script
from simulators.ledger import count_ledger
from simulators.serving.service import TwinReady, serve_twin
from storage.store import Store
from storage.tubes import Tubes
from supervision.events import ChildExited, ExitKind, SupervisionEvent
from tests.conftest import Server, linked
from tests.sweep.campaign import MESSAGE, Campaign

TTL = 8_000
"""Ms: a phone whose provider wants more time than that has expired."""
APPS = {"apns": "com.example.news", "fcm": "twin-project", "huawei": "twin-project", "rustore": "twin-project"}
_campaigns = itertools.count(1 << 41)


class Odd(Campaign):
    """A campaign over a twin that draws the first answer to every phone, and knows the phone at the second."""

    twin: TwinReady
    platform: str

    def hello(self) -> wire.Hello:
        hello = super().hello()
        (setup,) = hello.channels
        real = msgspec.structs.replace(
            setup, platform=self.platform, app=APPS[self.platform], credentials=self.twin.credentials,
            origin=self.twin.origin, ca=self.twin.ca,
        )  # fmt: skip
        return msgspec.structs.replace(hello, channels=[real])

    def wired(self, patch: pytest.MonkeyPatch) -> None:
        build = topology.build_transport
        super().wired(patch)
        patch.setattr(topology, "build_transport", build)
        slow = Slowdown.slow
        patch.setattr(Slowdown, "slow", lambda gate, seconds, *rest: slow(gate, min(seconds, 0.05), *rest))
        patch.setattr("actors.gate.Breaker", lambda: Breaker(first=0.01, limit=0.05))


def phones(platform: str, channel: str, count: int) -> list[list[Any]]:
    tokens = (f"{n + 1:064x}" if platform != "fcm" else f"{n:0>22}:APA91b{'x' * 134}" for n in range(count))
    return [[channel, token, "token", 1000, "en", "UTC", "AT", "1", "", None, [], {}] for token in tokens]


async def example(
    server: Server, patch: pytest.MonkeyPatch, folder: Path, *, platform: str, count: int, seed: int, within: float
) -> None:
    crashes: list[SupervisionEvent] = []

    def observe(event: SupervisionEvent) -> None:
        if isinstance(event, ChildExited) and event.reason.kind is ExitKind.CRASH:
            crashes.append(event)

    channel = server.embedded.channels[0]
    endpoint = server.embedded.endpoint
    patch.setattr("storage.tubes.POLL", 0.1)
    patch.setattr("actors.settler.HELD_DELAY", 0.02)
    patch.setattr("actors.membership.RENEW_EVERY", 0.2)
    script = Script(seed=seed, rules=(Rule(answer="anything", times=1),))
    made: list[TwinReady] = []
    async with trio.open_nursery() as nursery, linked(server) as link:
        up = trio.Event()

        async def twin() -> None:
            def announce(ready: TwinReady) -> None:
                made.append(ready)
                up.set()

            await serve_twin(
                platform, directory=folder / "twin", script=script, ledger=folder / "ledger", announce=announce,  # type: ignore[arg-type]
                app=(APPS[platform],),
            )  # fmt: skip

        nursery.start_soon(twin)
        await up.wait()
        campaign = Odd(
            channels=[channel], campaign=next(_campaigns), page_size=500, seconds=0.01, shepherd=0.5,
            server=wire.TarantoolLogin(endpoint.uri, endpoint.user, endpoint.password),
        )  # fmt: skip
        campaign.twin, campaign.platform = made[0], platform
        campaign.wired(patch)
        patch.setattr(topology, "observe", observe)
        store, tubes = Store(link), Tubes(link, "console")
        await store.subscribers_put(phones(platform, channel, count))
        nursery.start_soon(campaign.run_node, link)
        await trio.sleep(0.1)
        await store.campaign_create(
            campaign.id, MESSAGE, [channel], {"page_size": 500, "ttl_ms": TTL}, campaign.clock()
        )
        await tubes.baton_put(await store.campaign_fire(campaign.id, 2, campaign.clock()) or [])

        async def state() -> str:
            found = await store.campaign_get(campaign.id)
            return "" if found is None else found.state

        await campaign.wait_done(state, within)
        found = await store.campaign_get(campaign.id)
        statistics = await tubes.statistics()
        campaign.stop()
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert found is not None
    tallies = found.tallies[channel]
    ends = sum(n for word, n in tallies.items() if word not in ("audience", "enqueued", "retried", "removed_before"))
    assert ends == count, f"every recipient has one end: {tallies}"
    assert count_ledger(folder / "ledger").duplicates == 0, "nobody is sent to again because of what came back"
    assert crashes == [], "an answer crashes nobody"
    assert statistics["tubes"][f"push_{channel}"]["buried"] == 0
    reasons = Counter(found.reasons.get(channel, {}))
    assert len(reasons) <= 51
    assert max(map(len, reasons)) <= 100


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_slice_of_all_answers_settles_every_batch(
    platform: str, own_tarantool: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S1, S6, S7: in the suite."""
    seed = random.randrange(10**6)
    print(f"answers of seed {seed}")
    await example(own_tarantool, monkeypatch, tmp_path, platform=platform, count=150, seed=seed, within=40)


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("platform", ["apns", "fcm", "huawei", "rustore"])
async def test_five_thousand_drawn_answers_settle_every_batch(
    platform: str, own_tarantool: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S1, S6, S7."""
    seed = random.randrange(10**6)
    print(f"answers of seed {seed}")
    await example(own_tarantool, monkeypatch, tmp_path, platform=platform, count=5_000, seed=seed, within=240)
