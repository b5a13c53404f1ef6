"""What an editor may ask of a node: fire, look, count, write subscribers. The API and the demo both go through here."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import trio

from actors.messages import Clock, wall_clock
from broadside.api import strict_json
from broadside.api.campaign_report import CampaignReport, DryRunReport, FireRequest, Verdict
from broadside.api.operations import Coverage, Verification
from broadside.api.served_channels import first_unserved, meant
from broadside.api.subscriber import Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Conflict, Problem, RecordError, shown
from broadside.newsroom import served
from broadside.newsroom.coverage import coverage, verify
from broadside.newsroom.dead_desk import DeadDesk, questions
from broadside.newsroom.dry_run import PHONES, DryRun
from broadside.newsroom.firing import Firing, new_id
from broadside.newsroom.reports import report
from campaigns.channel_state import ChannelState
from campaigns.identity import campaign_text
from campaigns.message import Message
from storage.errors import LinkDown, LinkLost
from storage.records import Buried, DeadStanding, Memory, Row
from storage.store import Store
from storage.tubes import Tubes
from transports import registry
from transports.errors import PayloadError

PAGE_SIZE = 2000
"""Subscribers a page (`./dev bench choices`): with 1,000 a push costs 18 % more CPU, with 4,000 it costs 4 %
less, and small calls of others wait 4.3 to 5.2 ms at p99 where they now wait 3.6 to 3.9."""
TTL = 4 * 3600
"""Seconds after which nobody wants a piece of news any more, unless the campaign says otherwise."""
SERVED_FOR = 1.0
"""Seconds for which the ring's channels are remembered while subscribers come in."""
LOOK_EVERY = 0.2
"""Seconds between two looks at a campaign under way."""

MessageCheck = Callable[[Message], None]
"""Raises ``PayloadError`` when a platform cannot carry a message."""


class Newsroom:
    """One node's editor desk.

    ``node``: this node's name; ``checks``: channel → its platform's word on a message; ``states``: why this node's
    channels stand still; ``segments``: in how many parts a base is walked at once; ``peers``: the other nodes' tubes,
    which get their share of the first batons; ``device_tokens``: the only door into the base writes tokens as their
    platforms do; ``standing``: what stands of the dead ledger.
    """

    def __init__(
        self,
        *,
        store: Store,
        tubes: Tubes,
        checks: Mapping[str, MessageCheck],
        node: str,
        states: Callable[[], Iterable[ChannelState]],
        standing: Callable[[], Sequence[DeadStanding]] = tuple,
        segments: int,
        peers: Sequence[Tubes] = (),
        dry_run: DryRun,
        device_tokens: DeviceTokens,
        clock: Clock = wall_clock,
    ) -> None:
        self._store = store
        self._tubes = tubes
        self._checks = checks
        self._node = node
        self._states = states
        self._firing = Firing(store=store, tubes=tubes, peers=peers, segments=segments, clock=clock)
        self._standing = standing
        self.dead = DeadDesk(store, clock)
        self._dry_run = dry_run
        self.device_tokens = device_tokens
        self._rehearsing = trio.Lock()
        self._clock = clock
        self._served: frozenset[str] | None = None
        self._served_until = -math.inf

    async def fire(self, request: FireRequest, key: str | None = None, owner: str = "local") -> CampaignReport:
        """Create a campaign and fire it; once, however often the same request comes under the same ``key``.

        ``owner``: whose key it is. Raises ``RecordError`` when the message or the channels cannot be, ``KeyReused`` for
        a key of another request, and ``FireFailed``, which says whether the campaign may be firing.
        """

        async def check() -> None:
            await self._check(request)

        policy = {"page_size": PAGE_SIZE, "ttl_ms": (request.ttl_seconds or TTL) * 1000}
        campaign = await self._firing.fire(request, policy, check, key, owner)
        return report(campaign, self._clock(), self._states())

    async def pause(self, id: int) -> CampaignReport:
        """Begin a pause: nothing more is claimed or sent. Raises ``Conflict`` where there is nothing to pause."""
        return await self._moved(id, "pause", await self._store.campaign_pause(id, self._clock()))

    async def cancel(self, id: int) -> CampaignReport:
        """Begin to cancel: who has not been reached will not be. Raises ``Conflict`` for a campaign that is done."""
        return await self._moved(id, "cancel", await self._store.campaign_cancel(id, self._clock()))

    async def resume(self, id: int) -> CampaignReport:
        """Go on. Raises ``Conflict`` for a draft, and for a campaign that is cancelled."""
        state, batons = await self._store.campaign_resume(id, self._clock()) or (None, [])
        if batons:
            await self._firing.spread(batons)
        return await self._moved(id, "resume", state)

    async def _moved(self, id: int, act: str, state: str | None) -> CampaignReport:
        """The report, if ``state`` is one that ``act`` leads to: then a repeat of the call changes nothing."""
        now = await self.campaign(id)
        if now is None or state is None:
            raise Conflict(f"no campaign {campaign_text(id)}", "`campaign list` shows the ids", missing=True)
        goals, otherwise = _ACTS[act]
        if state not in goals:
            raise Conflict(f"campaign {now.id} is {state}", otherwise)
        return now

    async def coverage(self, id: int) -> Coverage | None:
        """Which id ranges a campaign has walked, from the ledger."""
        campaign = await self._store.campaign_get(id)
        return None if campaign is None else await coverage(self._store, campaign)

    async def verify(self, id: int) -> Verification | None:
        """Check a campaign's ledger against the base."""
        campaign = await self._store.campaign_get(id)
        return None if campaign is None else await verify(self._store, campaign)

    async def rehearse(self, request: FireRequest) -> DryRunReport:
        """Ask every channel's platform, and its provider where that has a dry run. Fires and stores nothing.

        Raises ``RecordError`` for channels that cannot be, and while another dry run is under way.
        """
        names = self._channels(request)
        id, ttl = new_id(self._clock()), request.ttl_seconds or TTL
        phones = {name: await self._store.subscribers_some(name, PHONES) for name in names}
        verdicts: dict[str, Verdict] = {}

        async def ask(name: str) -> None:
            verdicts[name] = await self._dry_run.ask(name, request.message, phones[name], id, ttl)

        try:
            self._rehearsing.acquire_nowait()
        except trio.WouldBlock:
            raise RecordError(Problem("dry_run", "another one is under way", "try again in a moment")) from None
        try:
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(ask, name)
        finally:
            self._rehearsing.release()
        return DryRunReport({name: verdicts[name] for name in names})

    async def _check(self, request: FireRequest) -> None:
        known = await self._store.channels_served()
        for name in self._channels(request, known or ()):
            if name in self._checks:  # another node's channel is for that node to judge
                try:
                    self._checks[name](request.message)
                except PayloadError as error:
                    raise RecordError(_problem(str(error))) from None
        served.refuse(await self._store.campaign_audience(request.channels), request.channels, known or self._checks)

    def _channels(self, request: FireRequest, others: Collection[str] = ()) -> list[str]:
        """The channels that a request means; raises ``RecordError`` for what none of them can read.

        ``others``: channels that other nodes serve.
        """
        platforms = registry.platforms()
        for platform in request.message.options:
            if platform not in platforms:
                raise RecordError(
                    strict_json.unknown(f"message.options.{platform[:64]}", platform, platforms, "platform")
                )
        for name in request.channels or ():
            if name not in self._checks and name not in others:
                known = {*self._checks, *others}
                what = f"unknown channel {shown(name)}"
                raise RecordError(Problem("channels", what, meant(name, known), name))
        if request.channels is not None and not request.channels:
            raise RecordError(Problem("channels", "names none", "leave it away for all channels"))
        return list(request.channels or self._checks)

    async def campaign(self, id: int) -> CampaignReport | None:
        """How a campaign stands."""
        campaign = await self._store.campaign_get(id)
        if campaign is None:
            return None
        return report(campaign, self._clock(), await self.channel_states(), self._standing())

    async def campaigns(self) -> list[CampaignReport]:
        """The newest hundred first."""
        states = await self.channel_states()
        now, standing = self._clock(), self._standing()
        return [report(campaign, now, states, standing) for campaign in await self._store.campaign_list()]

    def questions(self) -> dict[str, str]:
        """The questions about refused tokens that wait for a person's answer: channel → a sentence."""
        return questions(self._standing())

    async def channel_states(self) -> list[ChannelState]:
        """Why channels stand still, on every node of the ring; of this node alone while the store is away."""
        try:
            others = [state for state in await self._store.channel_states() if state.node != self._node]
            others += served.missing(await self._store.channels_missing())
        except (LinkLost, LinkDown):
            others = []
        return [*self._states(), *others]

    async def served(self) -> list[str] | None:
        """The channels that the ring serves, sorted; None: no node has joined yet."""
        known = await self._store.channels_served()
        return None if known is None else sorted(known)

    @trio.as_safe_channel
    async def progress(self, id: int) -> AsyncGenerator[CampaignReport, None]:
        """A campaign's reports, whenever something has changed, until it has ended. Waits while the store is away."""
        last = None
        while True:
            try:
                now = await self.campaign(id)
            except (LinkLost, LinkDown):
                await trio.sleep(LOOK_EVERY)
                continue
            if now is None:
                return
            if last is None or (now.channels, now.state, now.paused_channels) != (
                last.channels,
                last.state,
                last.paused_channels,
            ):
                yield now
                last = now
            if now.ended:
                return
            await trio.sleep(LOOK_EVERY)

    async def put(self, subscribers: Iterable[Subscriber]) -> tuple[int, int]:
        """Write subscribers; answers (inserted, updated).

        Raises ``RecordError`` for a channel that no node serves, and for a token that is none.
        """
        now, rows = self._clock(), list(subscribers)
        if found := first_unserved([row.channel for row in rows], await self._served_lately()):
            index, problem = found
            raise RecordError(problem, index)
        tokens = self.device_tokens.normalised(rows)
        return await self._store.subscribers_put([_wire(*row, now) for row in zip(rows, tokens, strict=True)])

    async def _served_lately(self) -> frozenset[str] | None:
        """What the ring serves, asked for once in ``SERVED_FOR`` seconds: apps register phones one by one."""
        if trio.current_time() >= self._served_until:
            self._served, self._served_until = await self._store.channels_served(), trio.current_time() + SERVED_FOR
        return self._served

    async def count(self) -> dict[str, int]:
        """Subscribers by channel."""
        return await self._store.subscribers_count()

    async def page(self, after: int, limit: int) -> list[Subscriber]:
        """Up to ``limit`` subscribers with id > ``after``."""
        return [_subscriber(row) for row in await self._store.subscribers_page(after, limit)]

    async def remove(self, channel: str, token: str) -> bool:
        """Delete one subscriber, however its token is written; answers whether it was there."""
        return any([await self._store.subscribers_remove(channel, text) for text in self._spellings(channel, token)])

    def _spellings(self, channel: str, token: str) -> set[str]:
        """The spellings of a token: as given, and as its platform writes it."""
        written = [self.device_tokens.one(channel, kind, token) for kind in self.device_tokens.kinds(channel)]
        return {token, *(text for text in written if isinstance(text, str))}

    async def tubes(self) -> dict[str, Any]:
        """Tasks by tube and state, outbox, memory."""
        return await self._tubes.statistics()

    async def buried(self, channel: str, limit: int) -> list[Buried]:
        """Buried batches of a channel, as they are there. Raises ``Conflict`` for no such channel."""
        self._known(channel)
        return await self._tubes.tube_buried(channel, limit)

    async def kick(self, channel: str, count: int) -> int:
        """Bring buried batches back; answers how many. Raises ``Conflict`` for no such channel."""
        self._known(channel)
        return await self._tubes.tube_kick(channel, count)

    async def end_buried(self, channel: str, limit: int) -> tuple[int, int]:
        """End buried batches; answers how many, and how many recipients. Raises ``Conflict`` for no such channel."""
        self._known(channel)
        return await self._tubes.tube_end(channel, limit)

    async def outbox_age(self) -> float:
        """For how many seconds the store has been owed this node's first report."""
        return await self._tubes.outbox_age()

    def _known(self, channel: str) -> None:
        if channel not in self._checks:
            known = ", ".join(sorted(self._checks))
            raise Conflict(f"no channel {shown(channel)} on this node", f"known: {known}", missing=True)

    async def memory(self) -> dict[str, Memory]:
        """How full the store's and the queue's memory is; one entry where they are one instance."""
        store, queue = await self._store.memory(), await self._tubes.memory()
        return {"store": store} if store.uuid == queue.uuid else {"store": store, "queue": queue}


_ACTS = {
    "pause": (("pausing", "paused"), "only a campaign that is firing can be paused"),
    "cancel": (("cancelling", "cancelled"), "it has ended already"),
    # a resumed campaign whose last batches ended during the pause is done at once
    "resume": (("firing", "done"), "only a paused campaign can go on"),
}
"""Act → the states it leads to, and why it cannot be in any other."""


def _problem(said: str) -> Problem:
    """A platform's objection, ``message.title: is empty; write …``, taken apart."""
    found = re.fullmatch(r"(message[\w.\[\]-]*): (.*?)(?:; (.*))?", said, re.DOTALL)
    return Problem(found[1], found[2], found[3] or "") if found else Problem("message", said)


def _wire(s: Subscriber, token: str, now: int) -> tuple[Any, ...]:
    """As ``store.subscribers_put`` wants a row."""
    registered = now if s.registered_at is None else s.registered_at
    return (
        s.channel, token, s.kind, registered, s.locale, s.tz, s.country, s.app_version, s.screen, s.best_minute,
        s.tags, s.fields,
    )  # fmt: skip


def _subscriber(row: Row) -> Subscriber:
    return Subscriber(**row._asdict())
