"""What may be asked of the base: subscribers come, are counted, listed and removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import trio

from broadside.api.base_records import SubscriberPage
from broadside.api.served_channels import unserved
from broadside.api.subscriber import Subscriber
from broadside.api.token_rules import DeviceTokens, of_another_channel
from broadside.api.v1.cursors import number, read_cursor
from broadside.errors import Problem
from broadside.newsroom.successions import Target, put_order
from campaigns.clock import Clock
from storage.records import Row, Stored
from storage.store import Store, pack_rows

SERVED_FOR = 1.0
"""Seconds for which the ring's channels are cached while subscribers come in."""
ASKED_AT_ONCE = 100
"""Replaced tokens that one call looks for: the store names the first that it finds, and the rest is asked for again."""


class Prepared(NamedTuple):
    """Subscribers that are ready to be stored."""

    faults: dict[int, Problem]
    """Index → why it is not stored."""
    packed: Sequence[bytes] = ()
    """The rows, if none of them replaces a token."""
    replacing: Mapping[int, tuple[Any, ...]] = MappingProxyType({})
    """Index → row, if some do: what stands in the base decides about those."""
    replaced: Mapping[int, Target] = MappingProxyType({})
    """Index → the target that is replaced."""


class SubscriberDesk:
    """One node's way to the base.

    ``own``: the channels that this node serves; ``device_tokens``: the rules by which every token is normalised before
    it is stored.
    """

    def __init__(self, store: Store, own: Collection[str], device_tokens: DeviceTokens, clock: Clock) -> None:
        self._store = store
        self._own = own
        self._device_tokens = device_tokens
        self._clock = clock
        self._served: frozenset[str] | None = None
        self._served_until = -math.inf

    async def put(self, subscribers: Iterable[Subscriber]) -> tuple[Stored, dict[int, Problem]]:
        """Write subscribers. A token is written before the one that replaces it, in whatever order they are given.

        Not written are those with a channel that no node serves, with an invalid token, or with a token that should be
        replaced on another channel than its own: index → problem.
        """
        return await self.store(await self.prepare(list(subscribers)))

    async def prepare(self, rows: Sequence[Subscriber]) -> Prepared:
        """Do of ``put`` all that does not depend on the base: others may be stored meanwhile."""
        now, known = self._clock(), await self._served_lately()
        lost = {name: unserved(name, known) for name in {row.channel for row in rows} - known}
        faults = {n: lost[row.channel] for n, row in enumerate(rows) if row.channel in lost} if lost else {}
        good: Sequence[int] = [n for n in range(len(rows)) if n not in faults] if faults else range(len(rows))
        chosen = [rows[n] for n in good] if faults else rows
        tokens = self._device_tokens.normalised(chosen)
        if Problem in set(map(type, tokens)):
            invalid = {n: token for n, token in zip(good, tokens, strict=True) if isinstance(token, Problem)}
            faults |= invalid
            good = [n for n in good if n not in invalid]
            chosen, tokens = [rows[n] for n in good], [token for token in tokens if isinstance(token, str)]
        wired = _wired(chosen, cast("Sequence[str]", tokens), now)
        replaced = {
            n: (row.channel, self._device_tokens.stored(row.channel, row.replaces))
            for n, row in zip(good, chosen, strict=True)
            if row.replaces is not None
        }
        if replaced:
            return Prepared(faults, replacing=dict(zip(good, wired, strict=True)), replaced=replaced)
        return Prepared(faults, pack_rows(wired))

    async def store(
        self, prepared: Prepared, sent: Callable[[], None] | None = None
    ) -> tuple[Stored, dict[int, Problem]]:
        """Write what ``prepare`` has made, and return what ``put`` does. ``sent``: as ``subscribers_put_packed``'s."""
        packed, faults, replaced = prepared.packed, prepared.faults, prepared.replaced
        if replaced:
            rows = prepared.replacing
            targets = {n: (row[0], row[1]) for n, row in rows.items()}
            elsewhere = await self._elsewhere(replaced, set(targets.values()))
            order = put_order({n: target for n, target in targets.items() if n not in elsewhere}, replaced)
            packed = pack_rows([rows[n] + ((replaced[n][1],) if n in replaced else ()) for n in order])
            faults = faults | elsewhere
        return await self._store.subscribers_put_packed(packed, sent), faults

    async def _elsewhere(self, replaced: Mapping[int, Target], put: Collection[Target]) -> dict[int, Problem]:
        """Find the tokens that are replaced on one channel and known on another."""
        faults = {}
        asked = [index for index, old in replaced.items() if old not in put]
        for start in range(0, len(asked), ASKED_AT_ONCE):
            part = asked[start : start + ASKED_AT_ONCE]
            while part and (found := await self._store.subscribers_elsewhere([replaced[index] for index in part])):
                index, other = part[found[0]], found[1]
                channel, token = replaced[index]
                faults[index] = of_another_channel(token, channel, other)
                part = part[found[0] + 1 :]
        return faults

    async def _served_lately(self) -> frozenset[str]:
        """The channels that the ring serves, cached for ``SERVED_FOR`` seconds: apps register phones one by one.

        Until a node has joined they are this node's own.
        """
        if trio.current_time() >= self._served_until:
            self._served, self._served_until = await self._store.channels_served(), trio.current_time() + SERVED_FOR
        return frozenset(self._own) if self._served is None else self._served

    async def count(self) -> dict[str, int]:
        """Count subscribers by channel."""
        return await self._store.subscribers_count()

    async def page(self, limit: int, cursor: str = "") -> SubscriberPage:
        """Return a part of the base. Raises ``RecordError`` if there is no such ``cursor``."""
        rows = await self._store.subscribers_page(read_cursor(cursor, number) or 0, limit)
        # a page is bounded in bytes too, so only an empty one is the end
        return SubscriberPage([_subscriber(row) for row in rows], str(rows[-1].id) if rows else None)

    async def remove(self, channel: str, token: str) -> bool:
        """Delete one subscriber, in whatever form its token is given; returns whether it existed."""
        return any([await self._store.subscribers_remove(channel, text) for text in self._spellings(channel, token)])

    def _spellings(self, channel: str, token: str) -> set[str]:
        """The forms of a token: as given, and as its platform writes it."""
        written = [self._device_tokens.one(channel, kind, token) for kind in self._device_tokens.kinds(channel)]
        return {token, *(text for text in written if isinstance(text, str))}


def _wired(rows: Sequence[Subscriber], tokens: Sequence[str], now: int) -> list[tuple[Any, ...]]:
    """Return the rows as ``pack_rows`` takes them. Made from columns they cost half as much."""
    columns = (
        [s.channel for s in rows],
        tokens,
        [s.kind for s in rows],
        [now if s.registered_at is None else s.registered_at for s in rows],
        [s.locale for s in rows],
        [s.tz for s in rows],
        [s.country for s in rows],
        [s.app_version for s in rows],
        [s.screen for s in rows],
        [s.best_minute for s in rows],
        [s.tags for s in rows],
        [s.fields for s in rows],
    )
    return list(zip(*columns, strict=True))


def _subscriber(row: Row) -> Subscriber:
    plain = row._asdict()
    del plain["changed_at"]
    return Subscriber(**plain)
