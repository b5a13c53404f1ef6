"""Whom a campaign is for: turns a request's audience into what the store keeps, and says how many people it has."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import trio

from broadside.api.audience_request import (
    AudienceCount,
    AudienceRequest,
    ChannelCount,
    KnownAttributes,
    listed_in,
    where_of,
)
from broadside.errors import Problem, RecordError, shown
from storage.records import AudienceRows
from storage.store import Store

DRAWS = 10_000
"""Subscribers that are drawn for an estimate: then a tenth of the base is known to ±6 % of itself."""
DRAWS_OF_ATTRIBUTES = 2_000
"""About 3 ms of Tarantool's thread."""
DRAWS_AT_FIRE = 2_000
"""Before Fire a rougher estimate does: the walk finds the exact number."""
MOST_DRAWS = 20_000
"""Ids drawn for one estimate: in a base with many gaps fewer subscribers are found, and the error is larger."""
SMALL = 12_000
"""A base of up to so many subscribers is counted instead: it costs no more."""
MOST_KNOWN = 200
"""Values of an attribute that an editor is offered."""
KNOWN_FOR = 60.0
"""Seconds for which they are cached: a base changes slowly."""
_Z = 1.96  # of the normal distribution: 95 %


class Chosen(NamedTuple):
    """A campaign's audience, as the store takes it."""

    channels: list[str] | None
    """None: all that have subscribers."""
    where: dict[str, Any] | None = None
    """None: whole channels."""
    listed: list[int] | None = None
    """The ids of the only subscribers that it may go to."""
    estimate: dict[str, int] | None = None
    """channel → about how many are in it."""
    share: float = 1.0
    """About which share of its channels' subscribers is in it; 1 for a list, which is not walked for."""


class ByZone(NamedTuple):
    """Subscribers who are alike in all that decides when a campaign may reach them."""

    channel: str
    slot: int
    """The half hour of their best time; 48: they have none."""
    zone: str


class ZoneRows(NamedTuple):
    """An audience by zones: all of it, or subscribers who were drawn."""

    rows: dict[ByZone, AudienceRows]
    base: dict[str, int]
    """channel → all its subscribers."""
    exact: bool

    def size(self, groups: Collection[ByZone]) -> ChannelCount:
        """How many subscribers of the audience are in these groups."""
        inside: dict[str, int] = {}
        for group in groups:
            inside[group.channel] = inside.get(group.channel, 0) + self.rows[group].inside
        if self.exact:
            return ChannelCount(subscribers=sum(inside.values()))
        drawn = dict.fromkeys(inside, 0)
        for group, rows in self.rows.items():
            if group.channel in drawn:
                drawn[group.channel] += rows.total
        found = [_estimate(self.base[name], AudienceRows(n, drawn[name] - n)) for name, n in inside.items()]
        return ChannelCount(subscribers=sum(each.subscribers for each in found), error=_joint_error(found))


class AudienceDesk:
    """Chooses and counts audiences."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: KnownAttributes | None = None
        self._known_until = 0.0

    async def choose(self, request: AudienceRequest | None, channels: list[str] | None, salt: str) -> Chosen:
        """Return the audience of a campaign to ``channels`` (raises ``RecordError``).

        ``salt``: the salt of a share that names none.
        """
        if request is None:
            return Chosen(channels)
        where, listed = where_of(request, salt).plain(), await self._listed(request, channels)
        if not where and listed is None:
            return Chosen(channels)
        base = await self._store.subscribers_count()
        found = await self._counted(base, channels, where, listed, DRAWS_AT_FIRE)
        estimate = {name: each.subscribers for name, each in found.items()}
        if listed is not None:
            return Chosen(channels, where, listed, estimate)
        of = sum(count for name, count in base.items() if channels is None or name in channels)
        return Chosen(channels, where, listed, estimate, sum(estimate.values()) / max(of, 1))

    async def count(self, request: AudienceRequest, exact: bool) -> AudienceCount:
        """Count an audience: exactly where that costs nothing or is wanted, else by an estimate.

        Raises ``RecordError`` if the request is invalid.
        """
        base = await self._store.subscribers_count()
        channels = request.channels
        for number, name in enumerate(channels or ()):
            if name not in base:
                known = ", ".join(sorted(base)) or "none"
                where_ = f"audience.channels[{number}]"
                raise RecordError(Problem(where_, f"no subscriber is on {shown(name)}", f"known: {known}", name[:40]))
        where, listed = where_of(request, "").plain(), await self._listed(request, channels)
        draws = 0 if exact else DRAWS
        found = await self._counted(base, channels, where, listed, draws)
        return AudienceCount(
            subscribers=sum(each.subscribers for each in found.values()),
            error=_joint_error(found.values()),
            of=sum(n for name, n in base.items() if channels is None or name in channels),
            channels=found,
        )

    async def at_most(self, chosen: Chosen) -> int:
        """How many subscribers an audience has, at most: an estimate counts with its error."""
        base = await self._store.subscribers_count()
        found = await self._counted(base, chosen.channels, chosen.where or {}, chosen.listed, DRAWS)
        return sum(each.subscribers for each in found.values()) + (_joint_error(found.values()) or 0)

    async def over_budget(self, chosen: Chosen, kind: str | None, since: int, budget: int) -> tuple[ChannelCount, int]:
        """How many of an audience had at least ``budget`` campaigns of a kind (None: of any) since a moment (ms UTC);
        and of about how many.
        """
        base = await self._store.subscribers_count()
        listed = chosen.listed
        if listed is None and sum(base.values()) <= SMALL:
            listed = await self._store.all_ids()
        where = chosen.where or {}
        rows = await self._store.budget_sample(chosen.channels, where, listed, DRAWS, kind, since, budget)
        if listed is not None:
            found = ChannelCount(subscribers=sum(each.inside for each in rows.values()))
        else:
            each_ = [_estimate(base[name], each) for name, each in rows.items() if each.inside and name in base]
            found = ChannelCount(subscribers=sum(each.subscribers for each in each_), error=_joint_error(each_))
        if not found.subscribers:
            return ChannelCount(subscribers=0), 0
        whole = await self._counted(base, chosen.channels, where, chosen.listed, DRAWS)
        return found, sum(each.subscribers for each in whole.values())

    async def about(
        self, channels: list[str] | None, where: dict[str, Any], listed: list[int] | None
    ) -> dict[str, int]:
        """About how many subscribers keep stored conditions, by channel."""
        base = await self._store.subscribers_count()
        found = await self._counted(base, channels, where, listed, DRAWS_AT_FIRE)
        return {name: each.subscribers for name, each in found.items()}

    async def attributes(self) -> KnownAttributes:
        """Return the attributes that subscribers have, the most frequent first, from some who are drawn."""
        if self._known is None or trio.current_time() >= self._known_until:
            drawn = await self._store.attributes_drawn(DRAWS_OF_ATTRIBUTES)
            frequent = {name: sorted(counts, key=lambda each: (-counts[each], each)) for name, counts in drawn.items()}
            self._known = KnownAttributes(
                locales=frequent["locale"][:MOST_KNOWN],
                countries=frequent["country"][:MOST_KNOWN],
                zones=frequent["tz"][:MOST_KNOWN],
                tags=frequent["tags"][:MOST_KNOWN],
            )
            self._known_until = trio.current_time() + KNOWN_FOR
        return self._known

    async def by_zones(self, chosen: Chosen, draws: int = DRAWS) -> ZoneRows:
        """Count an audience by zones: exactly where that costs nothing, else by an estimate from ``draws``."""
        base = await self._store.subscribers_count()
        rows, exact = await self._rows(base, chosen.channels, chosen.where or {}, chosen.listed, draws, by_zones=True)
        found: dict[ByZone, AudienceRows] = {}
        for key, each in rows.items():
            channel, slot, zone = key.split(" ", 2)
            if chosen.channels is None or channel in chosen.channels:
                found[ByZone(channel, int(slot), zone)] = each
        return ZoneRows(found, base, exact)

    async def _listed(self, request: AudienceRequest, channels: Collection[str] | None) -> list[int] | None:
        listed = listed_in(request)
        if listed is None:
            return None
        ids, tokens = listed
        names = [*channels] if channels is not None else [*await self._store.subscribers_count()]
        found, missing = await self._store.subscribers_find(names, ids, tokens)
        if missing:
            some = ", ".join(shown(each, 24) for each in missing[:3]) + (", …" if len(missing) > 3 else "")
            what = f"{len(missing):,} of {len(ids) + len(tokens):,} are not in the base: {some}"
            raise RecordError(Problem("audience.subscribers", what, "leave them out", str(missing[0])[:40]))
        return found

    async def _counted(
        self,
        base: dict[str, int],
        channels: list[str] | None,
        where: dict[str, Any],
        listed: list[int] | None,
        draws: int,
    ) -> dict[str, ChannelCount]:
        """``base``: channel → all its subscribers; ``draws``: subscribers to draw for an estimate; 0: count exactly."""
        names = [name for name in sorted(base) if channels is None or name in channels]
        if listed is None and not where:
            return {name: ChannelCount(subscribers=base[name]) for name in names}
        rows, exact = await self._rows(base, channels, where, listed, draws)
        found = {name: rows.get(name, AudienceRows()) for name in names}
        if exact:
            return {name: ChannelCount(subscribers=each.inside) for name, each in found.items()}
        return {name: _estimate(base[name], each) for name, each in found.items()}

    async def _rows(
        self,
        base: dict[str, int],
        channels: list[str] | None,
        where: dict[str, Any],
        listed: list[int] | None,
        draws: int,
        *,
        by_zones: bool = False,
    ) -> tuple[dict[str, AudienceRows], bool]:
        """The rows by whether they are in the audience; and whether these are all, or some of the base were drawn."""
        if listed is not None or not draws or sum(base.values()) <= SMALL:
            return await self._store.audience_count(channels, where, listed, by_zones=by_zones), True
        drawn: dict[str, AudienceRows] = {}
        for _ in range(0, MOST_DRAWS, draws):
            sample = await self._store.audience_sample(None, where, draws, by_zones=by_zones)
            for key, more in sample.items():
                known = drawn.get(key, AudienceRows())
                drawn[key] = AudienceRows(known.inside + more.inside, known.outside + more.outside)
            if sum(rows.total for rows in drawn.values()) >= draws:
                break
        return drawn, False


def _joint_error(found: Collection[ChannelCount]) -> int | None:
    """The error of a sum of counts; None: all are exact."""
    if all(each.error is None for each in found):
        return None
    return math.ceil(math.sqrt(sum((each.error or 0) ** 2 for each in found)))


def _estimate(subscribers: int, drawn: AudienceRows) -> ChannelCount:
    """How many of a channel's subscribers are in the audience, from those that were drawn."""
    inside = round(subscribers * drawn.inside / drawn.total) if drawn.total else subscribers // 2
    # two more of each kind (Agresti and Coull): else nobody, or everybody, among a few would seem to be certain
    likely = (drawn.inside + 2) / (drawn.total + 4)
    error = _Z * subscribers * math.sqrt(likely * (1 - likely) / (drawn.total + 4))
    return ChannelCount(subscribers=inside, error=min(subscribers, math.ceil(error)))
