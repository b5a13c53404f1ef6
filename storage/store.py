"""The store's verbs, typed. One call is one transaction on the store."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from types import MappingProxyType
from typing import Any

import msgspec

from campaigns.baton import Baton
from campaigns.campaign import UNDER_WAY, Campaign
from campaigns.channel_state import MOST, ChannelState
from campaigns.drill import is_drill_channel
from campaigns.id_set import pack_ids, unpack_ids
from campaigns.message import Message
from campaigns.recipient import Recipient
from campaigns.where import AppVersions
from campaigns.windows import Windows
from storage.armed import ArmedStore
from storage.canaries import CanaryStore
from storage.drafts import DraftStore
from storage.errors import LinkLost, Repeats, VerbRefused
from storage.forecasts import ForecastStore
from storage.herd_store import HerdStore
from storage.link import Link
from storage.outward_store import OutwardStore
from storage.records import (
    Audience,
    AudienceRows,
    Claim,
    Cursor,
    DeadRow,
    DeadStanding,
    DeadVerdict,
    Due,
    Keyed,
    Lease,
    LedgerPage,
    Memory,
    Missed,
    NodeRow,
    Once,
    PageAnswer,
    PagePart,
    PageRows,
    PausedCampaign,
    Row,
    SigningKey,
    StoppedCanary,
    Stored,
    TextGuard,
    WaitedFor,
    WrittenState,
    given_windows,
    read_campaign,
)
from storage.stories import StoryStore

_WINDOWS = msgspec.json.Decoder(Windows)

ROWS_A_CALL = 1000
"""Subscribers written in one transaction: more would hold up every other caller for too long."""
REPLACEMENTS_A_CALL = 250
"""The same where some of them replace tokens: each is looked up in the refused tokens of all recent campaigns, too."""

REPLICA_DEADLINE = 3.0
"""Seconds for a read replica to answer with a page; the replica waits up to one of them to catch up."""
PAGES_A_CALL = 200
ROWS_A_COUNT = 5000
"""Rows that one call counts: about 2 ms of Tarantool's thread."""
COUNTED_A_CALL = 4000
"""Rows whose audience one call counts: about 2 ms of Tarantool's thread, which others may have after each thousand."""
LOOKUPS_A_CALL = 2000
"""Subscribers that one call looks up: about 3 ms of Tarantool's thread."""

_pack = msgspec.msgpack.Encoder().encode


def pack_rows(rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """Encode subscribers for `Store.subscribers_put_packed`, a part for each call: the driver takes ten times as long.

    Rows as ``storage.records.Row`` without the id and ``changed_at``. A row may have one value more: the token that its
    own token replaces. It keeps the attributes that it does not give, and so may be repeated. Raises ``VerbRefused``
    for values that cannot be sent.
    """
    replacing = len(Row._fields) - 1 in set(map(len, rows))
    step = REPLACEMENTS_A_CALL if replacing else ROWS_A_CALL
    try:
        return [_pack([(0, *row) for row in rows[start : start + step]]) for start in range(0, len(rows), step)]
    except (TypeError, ValueError, OverflowError) as error:  # a number beyond 64 bits, invalid text
        raise VerbRefused("store.subscribers_put", 0, f"its rows cannot be sent: {error}") from error


class Store:
    """The Tarantool that holds subscribers, campaigns and the page ledger."""

    def __init__(self, link: Link, where: str = "store", replica: str | None = None) -> None:
        """``replica``: the link's name for a read replica; pages are then read there."""
        self._link = link
        self._where = where
        self._replica = replica
        self.drafts = DraftStore(link, where)
        self.forecasts = ForecastStore(link, where)
        self.herd = HerdStore(link, where)
        self.outward = OutwardStore(link, where)
        self.stories = StoryStore(link, where)
        self.armed = ArmedStore(link, where)
        self.canaries = CanaryStore(link, where)

    async def subscribers_put(self, rows: Sequence[Sequence[Any]]) -> Stored:
        """Upsert by (channel, token), in this order. Rows as ``pack_rows`` takes them."""
        return await self.subscribers_put_packed(pack_rows(rows))

    async def subscribers_put_packed(self, packed: Sequence[bytes], sent: Callable[[], None] | None = None) -> Stored:
        """The same with rows that were packed before. ``sent``: is called once the last of them are under way; what is
        put after that, is written after them.
        """
        stored = Stored(0, 0)
        for n, part in enumerate(packed, 1):
            counts = await self._link.call(
                self._where, "store.subscribers_put", part, deadline=30.0, sent=sent if n == len(packed) else None
            )
            stored = Stored(*map(sum, zip(stored, counts, strict=True)))
        return stored

    async def subscribers_elsewhere(self, tokens: Sequence[tuple[str, str]]) -> tuple[int, str] | None:
        """The first of ``tokens``, (channel, token) each, that only another channel has: index and that channel."""
        for start in range(0, len(tokens), ROWS_A_CALL):
            index, *channel = await self._link.call(
                self._where, "store.subscribers_elsewhere", tokens[start : start + ROWS_A_CALL]
            )
            if index is not None:
                return start + int(index), str(channel[0])
        return None

    async def subscribers_successors(self, channel: str, refused: Sequence[tuple[int, str]]) -> dict[int, Recipient]:
        """Who of ``refused``, (id, token) each, has another token by now: id → the recipient with that token.

        Does not wait for a store that is away: then nobody has.
        """
        if not self._link.connected(self._where):
            return {}
        (rows,) = await self._link.call(self._where, "store.subscribers_successors", channel, list(refused))
        return {row[0]: Recipient(*row) for row in rows}

    async def subscribers_remove(self, channel: str, token: str) -> bool:
        """Delete one subscriber; returns whether it was there."""
        return bool((await self._link.call(self._where, "store.subscribers_remove", channel, token))[0])

    async def subscribers_count(self) -> dict[str, int]:
        """Subscribers by channel."""
        return dict((await self._link.call(self._where, "store.subscribers_count"))[0])

    async def subscribers_page(self, after: int, limit: int) -> list[Row]:
        """Up to ``limit`` subscribers with id > ``after``."""
        (rows,) = await self._link.call(self._where, "store.subscribers_page", after, limit)
        return [Row(*row) for row in rows]

    async def subscribers_some(self, channel: str, limit: int) -> list[Row]:
        """Up to ``limit`` subscribers of one channel, in no meaningful order."""
        (rows,) = await self._link.call(self._where, "store.subscribers_some", channel, limit)
        return [Row(*row) for row in rows]

    async def campaign_create(
        self,
        id: int,
        message: Message,
        channels: list[str] | None,
        policy: dict[str, Any],
        now: int,
        once: Once | None = None,
        *,
        where: dict[str, Any] | None = None,
        listed: Sequence[int] | None = None,
        estimate: dict[str, int] | None = None,
    ) -> Keyed | None:
        """Write a draft. The same id again changes nothing.

        ``where``: the audience's conditions, as ``campaigns.where`` writes them; None: whole channels. ``listed``: the
        ids of the only subscribers that it may go to. ``estimate``: channel → about how many are in the audience.

        Returns the campaign that already has the key of ``once``: nothing was written. None: the draft is written.
        """
        audience: dict[str, Any] = {} if channels is None else {"channels": channels}
        if where is not None:
            audience |= {"where": where, "estimate": estimate or {}}
        text = msgspec.json.encode(message).decode()
        _, *first = await self._link.call(
            self._where,
            "store.campaign_create",
            id,
            text,
            audience,
            policy,
            now,
            None if once is None else list(once),
            None if listed is None else sorted(set(listed)),
        )
        return Keyed(*first[0]) if first and first[0] is not None else None

    async def campaign_keyed(self, owner: str, key: str, now: int) -> Keyed | None:
        """The campaign that an idempotency key created; None for a key that is new, or older than 30 days."""
        (first,) = await self._link.call(self._where, "store.campaign_keyed", owner, key, now)
        return None if first is None else Keyed(*first)

    async def keys_expire(self, now: int) -> int:
        """Delete some of the idempotency keys that are older than 30 days; returns how many."""
        return int((await self._link.call(self._where, "store.keys_expire", now))[0])

    async def campaign_fire(
        self, id: int, segments: int, now: int, windows: Windows | None = None, guard: TextGuard | None = None
    ) -> list[Baton] | None:
        """Fire a draft. Returns the batons to put, none if it was fired before. None: no such campaign.

        A draft whose policy has a ``start`` is scheduled: ``campaign_start`` fires it. Raises ``Repeats`` if ``guard``
        knows its text: the draft is gone, and its idempotency key is free.
        """
        batons, *first = await self._link.call(
            self._where,
            "store.campaign_fire",
            id,
            segments,
            now,
            given_windows(windows),
            None if guard is None else guard.wire(),
        )
        if first and first[0] is not None:
            raise Repeats(*first[0])
        return None if batons is None else [Baton(*baton) for baton in batons]

    async def campaigns_due(self) -> Due:
        """The scheduled campaigns that are to be started now, by the store's clock."""
        due, wait, missed, *guards = await self._link.call(self._where, "store.campaigns_due")
        found = Due(list(due), None if wait is None else wait / 1000, [Missed(*each) for each in missed])
        if len(guards) < 3:  # a store of an earlier version
            return found
        armed, canaries, stopped, *_ = guards  # a newer store, in the midst of an upgrade, may say more
        return found._replace(armed=armed, canaries=canaries, stopped=[StoppedCanary(*each) for each in stopped])

    async def campaign_start(
        self, id: int, segments: int, channels: list[str] | None, policy: dict[str, Any], windows: Windows | None = None
    ) -> tuple[str, list[Baton]] | None:
        """Start a scheduled campaign that is due, to these ``channels`` (None: all) and with this ``policy``.

        Returns its state, and the batons to put: only the caller that started it gets any. If it has expired, or no
        node can walk it, its state is ``missed``. None: no such campaign.
        """
        audience: dict[str, Any] = {} if channels is None else {"channels": channels}
        state, *rest = await self._link.call(
            self._where, "store.campaign_start", id, segments, audience, policy, given_windows(windows)
        )
        return None if state is None else (str(state), [Baton(*baton) for baton in rest[0]])

    async def campaign_miss(self, id: int, why: str) -> str | None:
        """Mark a scheduled campaign as missed that is due and does not pass the checks. Returns its state; None: no
        such campaign.
        """
        (state,) = await self._link.call(self._where, "store.campaign_miss", id, why)
        return None if state is None else str(state)

    async def campaign_timed(self, id: int) -> Campaign | None:
        """One campaign with its window classes and its waits, if it has any; None: no such campaign."""
        return await self._with_windows(id, waits=False)

    async def campaign_waits(self, id: int) -> Campaign | None:
        """One campaign with its waits, for a report: without the classes, which may be hundreds of kilobytes."""
        return await self._with_windows(id, waits=True)

    async def _with_windows(self, id: int, *, waits: bool) -> Campaign | None:
        campaign = await self.campaign_get(id)
        if campaign is None or not campaign.windowed:
            return campaign
        answer = await self._link.call(self._where, "store.campaign_windows", id, waits)
        if not answer or answer[0] is None:
            return campaign  # they have left the store with its ledger
        text, held, active, put = answer
        put = put and campaign.walked  # before the walk's end, more pages may be claimed
        # read again: whoever is among those who wait by now must also be among those who are left
        campaign = await self.campaign_get(id) or campaign
        windows = None if waits else _WINDOWS.decode(text)
        return replace(campaign, windows=windows, held=dict(held), active_ms=active, put=put)

    async def campaign_listed(self, id: int) -> list[int] | None:
        """The sorted ids of the only subscribers that a campaign may go to; None: its audience is no list."""
        (ids,) = await self._link.call(self._where, "store.campaign_listed", id)
        return None if ids is None else list(ids)

    async def campaign_audience(self, channels: Sequence[str] | None) -> Audience:
        """Whom a Fire to ``channels`` (None: to all that have subscribers) would reach now."""
        wanted = None if channels is None else list(channels)
        served, unserved, together = await self._link.call(self._where, "store.campaign_audience", wanted)
        return Audience(list(served), dict(unserved), bool(together))

    async def attributes_drawn(self, draws: int) -> dict[str, dict[str, int]]:
        """Attribute (``locale``, ``country``, ``tz``, ``tags``) → value → how many of ``draws`` subscribers have it."""
        return dict((await self._link.call(self._where, "store.attributes_drawn", draws))[0])

    async def channels_served(self) -> frozenset[str] | None:
        """The channels that the ring's nodes serve, without those of drills; None: no node has joined yet."""
        (channels,) = await self._link.call(self._where, "store.channels_served")
        return None if channels is None else frozenset(name for name in channels if not is_drill_channel(name))

    async def channels_missing(self) -> dict[str, tuple[bool, int]]:
        """Channels for which firing campaigns wait, because no living node can walk them.

        Value: whether no living node serves the channel at all (else no node serves it together with the campaign's
        other channels), and since when (ms UTC).
        """
        (channels,) = await self._link.call(self._where, "store.channels_missing")
        return {name: (alone, since) for name, (alone, since) in channels.items()}

    async def nodes_serving(self, channels: Sequence[str]) -> frozenset[str]:
        """The living nodes that serve all of these channels. Waits out a lost link."""
        return frozenset((await self._link.insist(self._where, "store.nodes_serving", list(channels)))[0])

    async def campaign_get(self, id: int) -> Campaign | None:
        """One campaign with its tallies."""
        (answer,) = await self._link.call(self._where, "store.campaign_get", id)
        return None if answer is None else read_campaign(answer)

    async def campaign_list(self, limit: int = 100, before: int | None = None) -> list[Campaign]:
        """The newest campaigns first; ``before``: only older ones than this."""
        (answers,) = await self._link.call(self._where, "store.campaign_list", limit, before)
        return [read_campaign(answer) for answer in answers]

    async def campaigns_under_way(self) -> list[Campaign]:
        """The campaigns that have begun and not ended: their channels are fixed."""
        found, page = list[Campaign](), await self.campaign_list()
        while page:
            found += [campaign for campaign in page if campaign.state in UNDER_WAY]
            page = await self.campaign_list(before=page[-1].id)
        return found

    async def campaigns_over(self, ids: list[int], now: int, age: int) -> list[int]:
        """Which of these ended more than ``age`` ms ago."""
        return list((await self._link.call(self._where, "store.campaigns_over", ids, now, age))[0])

    async def campaign_pause(self, id: int, now: int) -> str | None:
        """Begin a pause. Returns the campaign's new state, unchanged if it cannot be paused; None: no such campaign."""
        (state,) = await self._link.call(self._where, "store.campaign_pause", id, now)
        return None if state is None else str(state)

    async def campaign_cancel(self, id: int, now: int) -> str | None:
        """Begin to cancel. Returns the same as ``campaign_pause``."""
        (state,) = await self._link.call(self._where, "store.campaign_cancel", id, now)
        return None if state is None else str(state)

    async def campaign_resume(self, id: int, now: int) -> tuple[str, list[Baton]] | None:
        """Resume. Returns the new state, and the batons to put (the shepherd makes lost ones again)."""
        state, *rest = await self._link.call(self._where, "store.campaign_resume", id, now)
        return None if state is None else (str(state), [Baton(*baton) for baton in rest[0]])

    async def campaign_correct(
        self,
        id: int,
        second: int,
        message: Message,
        now: int,
        windows: Windows | None = None,
    ) -> str | None:
        """Give a campaign that is paused or over another message, and begin the draft ``second`` of its second walk.

        Returns ``copied``; or the state because of which nothing was written; None: no such campaign. To be repeated
        until it answers: meanwhile the campaign stays paused.
        """
        text = msgspec.json.encode(message).decode()
        (verdict,) = await self._link.call(
            self._where, "store.campaign_correct", id, second, text, now, given_windows(windows), deadline=60.0
        )
        return None if verdict is None else str(verdict)

    async def open_pages(self, id: int, limit: int = 1000) -> list[Baton]:
        """Batons for a campaign's open pages."""
        (batons,) = await self._link.call(self._where, "store.open_pages", id, limit)
        return [Baton(*baton) for baton in batons]

    async def campaign_waits_for(self, id: int) -> list[WaitedFor]:
        """The nodes that a pause or a cancel of this campaign waits for, and those that are away with some of it."""
        (nodes,) = await self._link.call(self._where, "store.campaign_waits_for", id)
        return [WaitedFor(*node) for node in nodes]

    async def campaign_cursors(self, id: int) -> list[Cursor]:
        """A campaign's segments in their order."""
        (cursors,) = await self._link.call(self._where, "store.campaign_cursors", id)
        return [Cursor(*cursor) for cursor in cursors]

    async def campaign_pages(self, id: int) -> list[LedgerPage]:
        """All pages of a campaign's ledger in the order of segment and number, fetched in slices."""
        pages: list[LedgerPage] = []
        while True:
            last = [pages[-1].segment, pages[-1].seq] if pages else None
            (rows,) = await self._link.call(self._where, "store.campaign_pages", id, last, PAGES_A_CALL)
            pages += [LedgerPage(*row) for row in rows]
            if len(rows) < PAGES_A_CALL:
                return pages

    async def campaign_answers(self, id: int) -> list[PageAnswer]:
        """All that is kept of those to whom a campaign was not simply delivered, fetched in slices."""
        found: list[PageAnswer] = []
        while True:
            last = [found[-1].segment, found[-1].seq, found[-1].number] if found else None
            (rows,) = await self._link.call(self._where, "store.campaign_answers", id, last, PAGES_A_CALL)
            found += [PageAnswer(*row[1:]) for row in rows]
            if len(rows) < PAGES_A_CALL:
                return found

    async def explain_facts(self, id: int, subscriber: int | None, tokens: Sequence[str]) -> list[Any] | None:
        """What is known of a campaign and a ``subscriber``, or whoever has, or had, one of these ``tokens``: a map
        each, as ``storage/lua/roles/store/explain.lua`` makes it. None: no such campaign.
        """
        (found,) = await self._link.call(self._where, "store.explain_facts", id, subscriber, list(tokens))
        return None if found is None else list(found)

    async def signing_key(self, proposed: bytes, now: int) -> SigningKey:
        """The store's key for certificates: the one that was proposed first."""
        text = base64.b64encode(proposed).decode("ascii")
        ((private, created_at),) = await self._link.call(self._where, "store.signing_key", text, now)
        return SigningKey(base64.b64decode(private), int(created_at))

    async def subscribers_in(self, after: int, to: int) -> dict[str, int]:
        """Subscribers by channel with an id in (after, to], counted in slices."""
        counts: dict[str, int] = {}
        while after < to:
            slice_, after = await self._link.call(self._where, "store.subscribers_in", after, to, ROWS_A_COUNT)
            for channel, n in slice_.items():
                counts[channel] = counts.get(channel, 0) + n
        return counts

    async def audience_in(
        self, campaign: int, after: int, to: int, since: int | None = None
    ) -> dict[str, AudienceRows]:
        """The rows with an id in (after, to] of a campaign's channels, by whether they are in its audience now.

        ``since``: ms by the store's clock from which a row counts as changed.
        """
        return await self._audience_in(campaign, None, None, None, after, to, since)

    async def audience_count(
        self,
        channels: list[str] | None,
        where: dict[str, Any],
        listed: Sequence[int] | None = None,
        *,
        by_zones: bool = False,
    ) -> dict[str, AudienceRows]:
        """All rows of ``channels`` (None: of all), or those ``listed``, by whether they keep ``where``: in slices.

        ``by_zones``: the keys are channel, half hour of the best time (48: none) and zone, with a space between them.
        """
        (to,) = await self._link.call(self._where, "store.highest_id")
        if listed is None:
            return await self._audience_in(None, channels, where, None, 0, to, None, by_zones)
        counts: dict[str, AudienceRows] = {}
        ids = sorted(set(listed))
        for start in range(0, len(ids), LOOKUPS_A_CALL):
            slice_ = ids[start : start + LOOKUPS_A_CALL]
            _add(counts, await self._audience_in(None, channels, where, slice_, 0, to, None, by_zones))
        return counts

    async def _audience_in(
        self,
        campaign: int | None,
        channels: list[str] | None,
        where: dict[str, Any] | None,
        listed: list[int] | None,
        after: int,
        to: int,
        since: int | None,
        by_zones: bool = False,
    ) -> dict[str, AudienceRows]:
        counts: dict[str, AudienceRows] = {}
        rest = to, COUNTED_A_CALL, since, by_zones
        while after < to:
            slice_, after = await self._link.call(
                self._where, "store.audience_in", campaign, channels, where, listed, after, *rest
            )
            _add(counts, {channel: AudienceRows(*sums) for channel, sums in slice_.items()})
        return counts

    async def audience_sample(
        self, channels: list[str] | None, where: dict[str, Any], draws: int, *, by_zones: bool = False
    ) -> dict[str, AudienceRows]:
        """The same for rows that are drawn: each is as likely as any other."""
        counts: dict[str, AudienceRows] = {}
        (sums,) = await self._link.call(self._where, "store.audience_sample", channels, where, draws, by_zones)
        _add(counts, {channel: AudienceRows(*each) for channel, each in sums.items()})
        return counts

    async def all_ids(self) -> list[int]:
        """The ids of a small base."""
        found: list[int] = []
        while rows := await self.subscribers_page(found[-1] if found else 0, LOOKUPS_A_CALL):
            found += [row.id for row in rows]
        return found

    async def budget_sample(
        self,
        channels: list[str] | None,
        where: dict[str, Any],
        listed: Sequence[int] | None,
        draws: int,
        kind: str | None,
        since: int,
        budget: int,
    ) -> dict[str, AudienceRows]:
        """Who of an audience had at least ``budget`` campaigns of a kind (None: of any) since then (ms UTC).

        ``inside``: they are in it, and had; ``outside``: everybody else. Looks at the ids ``listed``, or (None) at
        ``draws`` that are drawn.
        """
        ids = None if listed is None else list(listed)
        (sums,) = await self._link.call(
            self._where, "store.budget_sample", channels, where, ids, draws, kind, since, budget, deadline=30.0
        )
        return {channel: AudienceRows(*each) for channel, each in sums.items()}

    async def subscribers_find(
        self, channels: Sequence[str], ids: Sequence[int], tokens: Sequence[str]
    ) -> tuple[list[int], list[int | str]]:
        """The ids in the base of these ids, and of these tokens on any of ``channels``; and what is not there."""
        found: list[int] = []
        missing: list[int | str] = []
        wanted: list[tuple[list[int], list[str]]] = [
            ([*ids[start : start + LOOKUPS_A_CALL]], []) for start in range(0, len(ids), LOOKUPS_A_CALL)
        ]
        step = max(1, LOOKUPS_A_CALL // max(1, len(channels)))
        wanted += [([], [*tokens[start : start + step]]) for start in range(0, len(tokens), step)]
        for some_ids, some_tokens in wanted:
            there, not_there = await self._link.call(
                self._where, "store.subscribers_find", list(channels), some_ids, some_tokens
            )
            found += there
            missing += not_there
        return sorted(set(found)), missing

    async def removals(self) -> dict[str, int]:
        """Per channel, how many subscribers have ever left the base."""
        return dict((await self._link.call(self._where, "store.removals"))[0])

    async def restored_in(self, after: int, to: int, since: int, until: int) -> dict[str, int]:
        """Count by channel the ids in (after, to] that were missing between two moments (ms) and are back."""
        counts: dict[str, int] = {}
        while after < to:
            slice_, after = await self._link.call(
                self._where, "store.restored_in", after, to, since, until, ROWS_A_COUNT
            )
            for channel, n in slice_.items():
                counts[channel] = counts.get(channel, 0) + n
        return counts

    async def dead_judge(self, limits: dict[str, float], now: int) -> tuple[bool, list[DeadVerdict]]:
        """Take one small step of judging refused tokens. ``limits``: channel → share above which a person is asked.

        Returns whether there is more to do at once, and the new verdicts.
        """
        more, verdicts = await self._link.call(self._where, "store.dead_judge", limits, now)
        return bool(more), [DeadVerdict(*verdict) for verdict in verdicts]

    async def dead_doubt(
        self, campaign: int, channel: str, reasons: dict[str, int], examples: list[int], limit: float, now: int
    ) -> str:
        """Ask about a campaign of which nearly everything is refused.

        ``reasons``: reason → phones whose pushes this worker holds. Returns ``sound``, ``few``, ``stopped``,
        ``confirmed`` or ``denied``: see ``storage/lua/roles/store/dead.lua``.
        """
        postponed = sum(reasons.values())
        (word,) = await self._link.call(
            self._where, "store.dead_doubt", campaign, channel, postponed, reasons, examples, limit, now
        )
        return str(word)

    async def dead_list(self, limit: int = 100, after: tuple[int, str] | None = None) -> list[DeadRow]:
        """What the dead ledger has, the newest campaigns first, behind the entry of a campaign and a channel."""
        (rows,) = await self._link.call(self._where, "store.dead_list", limit, *(after or (None, None)))
        return [DeadRow(*row) for row in rows]

    async def dead_answer(self, channel: str, campaign: int | None, answer: str, now: int) -> tuple[list[int], int]:
        """Record a person's answer, ``confirmed`` or ``denied``. ``campaign``: None for all of the channel.

        Returns the campaigns that had asked, and how many of their targets were kept.
        """
        campaigns, kept = await self._link.call(self._where, "store.dead_answer", channel, campaign, answer, now)
        return list(campaigns), int(kept)

    async def dead_restore(self, channel: str | None, campaign: int | None, now: int) -> tuple[int, int]:
        """Undo the last day's deletions. Returns how many came back, and how many phones had registered again."""
        back = again = 0
        more = True
        while more:
            came, newer, more = await self._link.call(self._where, "store.dead_restore", channel, campaign, now)
            back, again = back + came, again + newer
        return back, again

    async def campaign_truth(
        self,
        id: int,
        channel: str,
        figures: Mapping[str, Any] | None = None,
        receipts: Mapping[str, Any] | None = None,
    ) -> bool:
        """Keep what is known of the arrival of a campaign's pushes on a channel; None: what is known stays.

        Of ``receipts`` those with the larger ``received`` stay. Returns whether there is such a campaign.
        """
        given = (None if each is None else dict(each) for each in (figures, receipts))
        return bool((await self._link.call(self._where, "store.campaign_truth", id, channel, *given))[0])

    async def retention_due(self, node: str, age: int, now: int) -> list[tuple[int, bool]]:
        """Some of the oldest campaigns that ended more than ``age`` ms ago and still have a ledger, without those of
        which another node writes the archive. The flag: whether the archive is written already.
        """
        (due,) = await self._link.call(self._where, "store.retention_due", node, age, now)
        return [(int(id), bool(archived)) for id, archived in due]

    async def retention_archived(self, id: int, node: str, sha256: str, now: int) -> bool:
        """This node's archive of a campaign is on disk. Returns whether it is the first."""
        return bool((await self._link.call(self._where, "store.retention_archived", id, node, sha256, now))[0])

    async def retention_drop(self, id: int) -> bool:
        """Delete some rows of an archived ledger; returns whether there may be more."""
        return bool((await self._link.call(self._where, "store.retention_drop", id))[0])

    async def memory(self) -> Memory:
        """How full the store's memory is."""
        return Memory(**(await self._link.call(self._where, "store.memory", deadline=2.0))[0])

    async def node_join(self, name: str, uuid: str, epoch: int, now: int, channels: Sequence[str]) -> int | None:
        """The epoch that this node's queue must have to go on; None: not yet, a fenced epoch's lease may still hold.

        ``channels``: the names that this node serves. VerbRefused if the name belongs to another queue.
        """
        (granted,) = await self._link.call(self._where, "store.node_join", name, uuid, epoch, now, list(channels))
        return None if granted is None else int(granted)

    async def node_renew(
        self,
        name: str,
        epoch: int,
        now: int,
        still: Sequence[tuple[int, int]] = (),
        states: Iterable[ChannelState] = (),
        text: str = "",
    ) -> Lease | None:
        """A heartbeat: ask for the node's next lease. None: its epoch is not current.

        ``still``: (campaign, version) of each paused campaign for which the node sends nothing and owes nothing.
        ``states``: why its channels stand still, one a channel; a channel that it does not name is sending.
        ``text``: what runs on it, for ``node_states``; empty: as before.
        """
        told = {
            state.channel: [state.reason, state.sentence, state.since, state.until, state.remedy]
            for state in map(ChannelState.bounded, islice(states, MOST))
        }
        seconds, *rest = await self._link.call(
            self._where, "store.node_renew", name, epoch, now, [list(entry) for entry in still], told, text
        )
        if seconds is None:
            return None
        return Lease(
            float(seconds),
            [PausedCampaign(*pause) for pause in rest[0]],
            [DeadStanding(*entry) for entry in rest[1]],
            dict(rest[3]) if len(rest) > 3 else {},
            watched=rest[2:3] == [True],
        )

    async def channel_states(self) -> list[ChannelState]:
        """Why channels stand still, as the living nodes of the ring report it: one for each node and channel."""
        (rows,) = await self._link.call(self._where, "store.channel_states", deadline=2.0)
        return [
            ChannelState(
                node=node,
                channel=channel,
                reason=reason,
                sentence=sentence,
                since=int(since),
                until=None if until is None else int(until),
                remedy=remedy,
            )
            for node, channel, reason, sentence, since, until, remedy in rows
        ]

    async def node_list(self) -> list[NodeRow]:
        """Every node that ever joined."""
        return [NodeRow(*row) for row in (await self._link.call(self._where, "store.node_list"))[0]]

    async def node_states(self, *, quietly: bool = False) -> list[WrittenState]:
        """What the nodes wrote last of themselves. Asking makes them count their tubes for ten seconds, unless
        ``quietly``.
        """
        (rows,) = await self._link.call(self._where, "store.node_states", quietly, deadline=2.0)
        return [WrittenState(*row) for row in rows]

    async def node_forget(self, name: str) -> str | None:
        """Clause 9, first step. Returns ``fenced`` or ``forgotten``; None for an unknown name. May be repeated."""
        (status,) = await self._link.call(self._where, "store.node_forget", name)
        return None if status is None else str(status)

    async def nodes_release(self) -> list[str]:
        """Clause 9, second step, for every fenced node with a lease that has run out; returns their names."""
        return list((await self._link.call(self._where, "store.nodes_release"))[0])

    async def page_claim(self, node: str, epoch: int, baton: Baton, now: int) -> Claim:
        """Clause 3 of the walk. Repeating it gives the same answer to the same owner."""
        answer = await self._link.insist(self._where, "store.page_claim", node, epoch, *baton, now)
        if len(answer) < 5:
            return Claim(answer[0])
        verdict, from_id, to_id, following, ended = answer[:5]
        return Claim(
            verdict,
            from_id,
            to_id,
            None if following is None else Baton(*following),
            unpack_ids(ended),
            unsure=len(answer) > 6 and bool(answer[6]),
            only=unpack_ids(answer[7]) if len(answer) > 7 and answer[7] is not None else None,
            position=tuple(answer[5]) if len(answer) > 5 and answer[5] is not None else None,
        )

    async def page_read(
        self,
        from_id: int,
        to_id: int,
        most: int,
        position: tuple[int, int] | None = None,
        campaign: int | None = None,
        fields: Sequence[str] = (),
        ended: Collection[int] = (),
        versions: Mapping[str, AppVersions] = MappingProxyType({}),
        only: Collection[int] | None = None,
        *,
        keep: bool = False,
    ) -> PageRows:
        """The subscribers of (from_id, to_id], by channel, at most ``most`` in a part.

        ``campaign``: also by its window classes, and only the subscribers in its audience, less those that have
        ``ended``. ``fields``: the campaign's personal fields; only if there are any do recipients carry values.
        ``versions``: channel → the versions of its app that count as new; its recipients carry whether theirs does.
        ``only``: see ``Claim.only``.
        ``keep``: the recipients stay in the instance, which is this node's queue, too.

        From the replica, if there is one and it has reached the claim's ``position``; else from the store itself.
        """
        wanted: tuple[Any, ...] = (from_id, to_id, None, most, campaign, list(fields) if fields else None)
        if campaign is not None:
            wanted += (pack_ids([*ended]),)
        if versions:
            wanted += (None,) * (7 - len(wanted)) + (dict(versions),)
        if only is not None:
            wanted += (None,) * (8 - len(wanted)) + (pack_ids([*only]),)
        if self._replica is not None and position is not None and self._link.connected(self._replica):
            try:
                page, *skipped = await self._link.call(
                    self._replica, "store.page_read_at", list(position), *wanted, deadline=REPLICA_DEADLINE
                )
            except (LinkLost, VerbRefused):
                page = None
            if page is not None:
                return PageRows([PagePart(*part) for part in page], dict(*skipped))
        if keep:
            wanted += (None,) * (9 - len(wanted)) + (True,)
        page, *more = await self._link.insist(self._where, "store.page_read", *wanted)
        return PageRows([PagePart(*part) for part in page], dict(*more[:1]), *more[1:])

    async def page_rehearsal(self, rows: int, most: int) -> list[PagePart]:
        """The oldest ``rows`` subscribers as `page_read` returns them to a walk. Writes nothing.

        Tarantool compiles its code when it has run a few times. In a fresh one the first page takes ten times as long
        to read and to put as the third.
        """
        where = self._where
        if self._replica is not None and self._link.connected(self._replica):
            where = self._replica
        (first,) = await self._link.call(where, "store.subscribers_page", 0, 1)
        after = Row(*first[0]).id - 1 if first else 0
        page, *_ = await self._link.call(where, "store.page_read", after, after + rows, None, most, None, None)
        return [PagePart(*part) for part in page]

    async def report(self, node: str, epoch: int, lines: list[Any], now: int) -> int | None:
        """Copy outbox lines; returns the last number in the ledger, or None when fenced."""
        (number,) = await self._link.insist(self._where, "store.report", node, epoch, lines, now)
        return None if number is None else int(number)

    async def strays(self, node: str, epoch: int, now: int, timeout_ms: int) -> tuple[list[Baton], list[Baton]]:
        """Batons that seem lost: any node may put the first list, the second are this owner's own pages."""
        any_, own, *_ = await self._link.call(self._where, "store.strays", node, epoch, now, timeout_ms)
        return [Baton(*b) for b in any_], [Baton(*b) for b in own]


def _add(counts: dict[str, AudienceRows], more: dict[str, AudienceRows]) -> None:
    for channel, rows in more.items():
        known = counts.get(channel, AudienceRows())
        counts[channel] = AudienceRows(*map(sum, zip(known, rows, strict=True)))
