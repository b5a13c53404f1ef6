"""The same against a real Tarantool: a worker's whole tree on a real clock, with durations made short."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors.settler import Settler
from broadside import topology, wire
from campaigns.outcome import Outcome
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from supervision.testing import Report, crash_at_every_step
from tests.conftest import Server, linked
from tests.sweep.campaign import Campaign, rows
from tests.sweep.slices import crash_once

ACTORS = ["walker", "batcher", "consumer", "transport", "settler", "reporter", "shepherd", "membership"]
SUBSCRIBERS = 30
_campaigns = itertools.count(1 << 40)


class WatchedLink(Link):
    """Counts the recipients of the batches that were taken and are not settled, and forgives them when nobody is left
    who could settle them: when the link ends, or a new consumer gives back what the one before it had.

    Not when a crash begins: until the supervisor has stopped the settler's siblings, the consumer may take another
    batch, and the transport send it.
    """

    def __init__(self, forgive: Callable[[int], None], *args: Any) -> None:
        super().__init__(*args)
        self.leases: dict[tuple[str, int], int] = {}
        self.forgive = forgive

    def _forgive(self, channel: str | None = None) -> None:
        orphans = [lease for lease in self.leases if channel in (None, lease[0])]
        self.forgive(sum(self.leases.pop(lease) for lease in orphans))

    def _hang_up(self) -> None:
        super()._hang_up()
        self._forgive()

    async def call(self, where: str, verb: str, *args: Any, **options: Any) -> list[Any]:
        if verb == "tubes.batch_release_worker":
            self._forgive(args[0])
        answer = await super().call(where, verb, *args, **options)
        if verb == "tubes.batch_take":
            self.leases.update({(args[0], id): data[-2] for _, (id, _, data) in answer[0]})
        elif verb == "tubes.settle":
            for settlement in args[1]:
                lease = (args[0], settlement[0])
                if settlement[4:] and lease in self.leases:
                    self.leases[lease] = settlement[4][1]  # a part: the others stay leased
                else:
                    self.leases.pop(lease, None)
        return answer


class Real:
    """One base and one instance for all runs; each run is a campaign of its own."""

    def __init__(self, server: Server, patch: pytest.MonkeyPatch, channels: list[str]) -> None:
        self.server, self.patch, self.channels = server, patch, channels
        self.audience: set[int] = set()
        self.patience = 20.0
        patch.setattr("storage.tubes.POLL", 0.1)
        patch.setattr("actors.settler.HELD_DELAY", 0.02)  # a retry waits for a second at least
        patch.setattr("actors.membership.RENEW_EVERY", 0.2)

    @asynccontextmanager
    async def base(self) -> AsyncIterator[Link]:
        async with linked(self.server) as link:
            if not self.audience:
                store = Store(link)
                await store.subscribers_put(rows(SUBSCRIBERS, self.channels))
                page = await store.subscribers_page(0, 100_000)
                self.audience = {row.id for row in page if row.channel in self.channels}
            yield link

    async def scenario(self) -> None:
        endpoint = self.server.embedded.endpoint
        async with self.base() as link:
            campaign = Campaign(
                channels=self.channels, campaign=next(_campaigns), page_size=8, seconds=0.002, shepherd=0.2,
                refusal=Outcome.POSTPONED,
                server=wire.TarantoolLogin(endpoint.uri, endpoint.user, endpoint.password),
            )  # fmt: skip
            campaign.wired(self.patch)
            forgive = campaign.ledger.forgive
            self.patch.setattr(
                topology, "Link", lambda endpoints, greetings: WatchedLink(forgive, endpoints, greetings)
            )
            store = Store(link)

            async def state() -> str:
                found = await store.campaign_get(campaign.id)
                return "" if found is None else found.state

            async with trio.open_nursery() as nursery:
                nursery.start_soon(campaign.run_node, link)
                await trio.sleep(0.05)
                await campaign.fire(store, Tubes(link, "console"))
                await campaign.wait_done(state, self.patience)
                campaign.stop()
            found = await store.campaign_get(campaign.id)
            assert found is not None
            campaign.judge(self.audience, found.tallies)

    def crash(self, actor: str, **options: Any) -> Report:
        return crash_at_every_step(self.scenario, actor=actor, virtual=False, within=40, **options)


@pytest.fixture
def real(own_tarantool: Server, monkeypatch: pytest.MonkeyPatch) -> Real:
    return Real(own_tarantool, monkeypatch, list(own_tarantool.embedded.channels))


def test_a_slice_of_the_crashes_loses_nothing_in_a_real_queue(real: Real) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    print(f"slice {seed}")
    for actor in chance.sample(ACTORS, 3):
        crash_once(real.crash, actor, chance.randrange(1, 12)).check()


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("actor", ACTORS)
def test_a_crash_at_every_step_loses_nothing_in_a_real_queue(real: Real, actor: str) -> None:
    print(real.crash(actor).check())


@pytest.mark.sweep
@pytest.mark.timeout(1800)
# a crash inside the event loop leaves asyncio no turn to close its transports: their sockets go with the objects
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_crash_of_the_link_loses_nothing_in_a_real_queue(real: Real) -> None:
    # Its steps are those of an event loop: hundreds, and much alike. While a crash unwinds, the loop still serves
    # takes; so what may be repeated is what is leased when it has ended.
    print(real.crash("link", every=7).check())


def test_what_is_taken_while_a_settler_dies_may_come_twice_and_nothing_else(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: the consumer and the transport go on until the supervisor stops them: the crash ends with the group."""
    run = Settler.run

    async def dying(self: Settler, ready: Callable[[], None]) -> None:
        try:
            await run(self, ready)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)  # as on a busy machine

    monkeypatch.setattr(Settler, "run", dying)
    real.crash("settler", every=4).check()
