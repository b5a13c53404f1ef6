"""One scenario: a node's own worker tree walks and delivers a campaign, and a ledger says who got what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from actors.membership import Membership
from actors.shepherd import Shepherd
from broadside import topology, wire
from broadside.shared_tokens import TokenHolder
from campaigns.batch import Batch
from campaigns.clock import wall_clock
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.recipient import Recipient
from campaigns.where import Where
from storage.store import Store
from storage.tubes import Tubes
from supervision import REST_FOR_ONE, ChildSpec, Intensity, StartFailed, Supervisor
from supervision.testing import Fired
from transports.contract import Exceptional, Outcomes

MESSAGE = Message(title="t", body="b")


class Ledger:
    """Every (campaign, subscriber) that a provider accepted; the oracle."""

    def __init__(self) -> None:
        self.asked: set[int] = set()
        self.accepted: Counter[tuple[int, int]] = Counter()
        self.unsettled: Callable[[], int] = lambda: 0
        self.forgiven = 0

    def crash(self, _: Fired) -> None:
        """A crash may repeat what is leased at this moment, and no more."""
        self.forgive(self.unsettled())

    def forgive(self, recipients: int) -> None:
        """So many more may come twice."""
        self.forgiven += recipients


class LedgerTransport:
    """A provider that accepts all, but for the ids that it first wants to be asked again (every 7th)."""

    def __init__(self, ledger: Ledger, seconds: float, refusal: Outcome) -> None:
        self.ledger, self.seconds, self.refusal, self.ended = ledger, seconds, refusal, trio.Event()

    outage = quota = None

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self.ended.wait()

    def stop(self) -> None:
        self.ended.set()

    def check(self, message: Message) -> None: ...

    async def send(self, batch: Batch) -> Outcomes:
        await trio.sleep(self.seconds)
        again: list[Exceptional] = []
        *most, late = list(enumerate(batch.recipients))
        self._answer(batch, most, again)
        batch.stragglers({late[0], *(entry.index for entry in again)})
        await trio.sleep(self.seconds)
        self._answer(batch, [late], again)
        return Outcomes(len(batch.recipients) - len(again), again)

    def _answer(self, batch: Batch, some: list[tuple[int, Recipient]], again: list[Exceptional]) -> None:
        for index, recipient in some:
            if recipient.id % 7 == 0 and recipient.id not in self.ledger.asked:
                self.ledger.asked.add(recipient.id)
                again.append(Exceptional(index, self.refusal, "busy", self.seconds))
            else:
                self.ledger.accepted[batch.campaign, recipient.id] += 1


def rows(count: int, channels: list[str]) -> list[list[Any]]:
    """Subscribers without an id, as `subscribers_put` wants them."""
    return [
        [channels[n % len(channels)], f"token-{n}", "token", 1000, "en", "UTC", "AT", "1", "", None, [], {}]
        for n in range(count)
    ]


class Campaign:
    """What a run needs to know; `link` makes the link of a tree, and `other` one to look on from outside."""

    def __init__(
        self,
        *,
        channels: list[str],
        campaign: int,
        page_size: int,
        seconds: float,
        shepherd: float,
        server: wire.TarantoolLogin | None = None,
        queue: wire.TarantoolLogin | None = None,
        peers: dict[str, wire.TarantoolLogin] | None = None,
        node: str = "n1",
        clock: Callable[[], int] = wall_clock,
        refusal: Outcome = Outcome.RETRY,
        where: Where | None = None,
    ) -> None:
        self.refusal, self.where = refusal, where
        self.ledger = Ledger()
        self.channels, self.id, self.page_size = channels, campaign, page_size
        self.seconds, self.shepherd, self.node, self.clock = seconds, shepherd, node, clock
        self.stop: Callable[[], None] = lambda: None
        self.server = server or wire.TarantoolLogin("memory", "", "")
        self.queue, self.peers = queue or self.server, peers or {}

    def hello(self) -> wire.Hello:
        setups = [
            wire.ChannelSetup(
                name=name,
                platform="ledger",
                app="",
                credentials={},
                origin=None,
                ca=None,
                connections=1,
                pace=None,
                dead_limit=1.0,
            )
            for name in self.channels
        ]
        return wire.Hello(
            node=self.node,
            worker="worker-1",
            store=self.server,
            queue=self.queue,
            peers=self.peers,
            channels=setups,
            reports=True,
        )

    def wired(self, patch: pytest.MonkeyPatch) -> None:
        """Put the ledger where the providers are, and shorten what would wait for real."""
        patch.setattr(
            topology, "build_transport", lambda setup: LedgerTransport(self.ledger, self.seconds, self.refusal)
        )
        patch.setattr(topology, "Shepherd", lambda **options: Shepherd(**options, timeout=self.shepherd))
        patch.setattr("actors.shepherd.MARKS_AGE", 0.5)
        patch.setattr(topology, "BUGS", Intensity(20, 30.0))
        patch.setattr(topology, "observe", lambda event: None)

    def tree(self) -> Supervisor:
        """The worker's whole tree, from the topology."""
        return topology.worker_tree(
            self.hello(),
            tokens=TokenHolder([]),
            clock=self.clock,
        ).supervisor

    def node_tree(self, link: Any) -> Supervisor:
        """Membership, then a worker."""
        member = lambda: Membership(  # noqa: E731
            node=self.node,
            channels=self.channels,
            tubes=Tubes(link, "console"),
            store=Store(link),
            clock=self.clock,
            sending=lambda since: frozenset(),
        )
        return Supervisor(
            "node",
            [ChildSpec("membership", member), ChildSpec("worker", self.tree)],
            strategy=REST_FOR_ONE,
            intensity=Intensity(20, 30.0),
            observe=lambda event: None,
        )

    async def run_node(self, link: Any) -> None:
        """A node as its service manager runs it: what fails at boot is started again."""
        while True:
            tree = self.node_tree(link)
            self.stop = tree.stop
            try:
                await tree.run(lambda: None)
            except StartFailed:
                await trio.sleep(self.seconds)
            else:
                return

    async def fire(self, store: Store, tubes: Tubes) -> None:
        policy = {"page_size": self.page_size, "ttl_ms": 3_600_000}
        where = None if self.where is None else self.where.plain()
        await store.campaign_create(self.id, MESSAGE, self.channels, policy, self.clock(), where=where)
        await tubes.baton_put(await store.campaign_fire(self.id, 2, self.clock()) or [])

    async def wait_done(self, look: Callable[[], Awaitable[str]], within: float) -> None:
        """Return when the campaign is done; AssertionError with its state when it is not in time."""
        state = ""
        with trio.move_on_after(within):
            while (state := await look()) != "done":  # noqa: ASYNC110 - the store tells nobody
                await trio.sleep(self.seconds)
        assert state == "done", f"the campaign is {state!r} after {within:g} s, {len(self.ledger.accepted)} accepted"

    def judge(self, audience: set[int], tallies: dict[str, dict[str, int]]) -> None:
        got = {id for _, id in self.ledger.accepted}
        lost, unexpected = sorted(audience - got), sorted(got - audience)
        assert not lost, f"lost = {len(lost)}: {lost[:9]}"
        assert not unexpected, f"unexpected = {unexpected[:9]}"
        again = self.ledger.accepted.total() - len(audience)
        assert again <= self.ledger.forgiven, f"duplicates = {again}, more than the {self.ledger.forgiven} leased"
        ended = sum(tallies.get(name, {}).get("delivered", 0) for name in self.channels)
        assert ended == len(audience), f"terminal = {ended} of {len(audience)}: {tallies}"
