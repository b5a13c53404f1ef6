"""Proves that a campaign's walk missed nobody: computed from the ledger's pages, and checked against the base.

The counters that people watch are sums, and two mistakes may cancel out in a sum. This module checks every id range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from broadside.api.operations import Checked, Coverage, Gap, Verification, Walked
from campaigns.campaign import Campaign
from campaigns.identity import campaign_text
from campaigns.tally import ENQUEUED, SKIPPED, ended
from storage.records import AudienceRows, Cursor, LedgerPage
from storage.store import Store

PROBLEMS_TOLD = 50
LATE = 2**20 - 1
"""The segment of a second walk whose pages lie within those of others: people who were reported late."""


async def coverage(store: Store, campaign: Campaign) -> Coverage:
    """Return a campaign's walked ranges and gaps, from its ledger."""
    return coverage_of(campaign, await store.campaign_cursors(campaign.id), await store.campaign_pages(campaign.id))


def coverage_of(campaign: Campaign, cursors: Sequence[Cursor], pages: Sequence[LedgerPage]) -> Coverage:
    """The same from a ledger that was read before."""
    gaps = [*_gaps(campaign, cursors, pages)]
    return Coverage(id=campaign_text(campaign.id), state=campaign.state, walked=_merge(pages), gaps=gaps)


async def verify(store: Store, campaign: Campaign) -> Verification:
    """Check that the pages tile the base and that their sums are right, and count the base in each page's range."""
    cursors, pages = await store.campaign_cursors(campaign.id), await store.campaign_pages(campaign.id)
    problems = [_told(gap) for gap in _gaps(campaign, cursors, pages)]
    channels: dict[str, Checked] = {}
    for page in pages:
        problems += _sums(page)
        if campaign.corrects is not None and not page.tallies:
            continue  # the first walk had not come so far
        if page.state in ("enqueued", "settled") and campaign.where is not None:
            problems += await _compare_audience(store, page, campaign, channels)
        elif page.state in ("enqueued", "settled"):
            base = _named(campaign, await store.subscribers_in(page.from_id, page.to_id))
            if any(there > _enqueued(page, name) for name, there in base.items()):
                away = _named(campaign, await _away(store, campaign, page))
                for name, there in base.items():
                    base[name] = max(min(there, _enqueued(page, name)), there - away.get(name, 0))
            problems += _compare(page, base, campaign, channels)
    removed = _named(campaign, await store.removals())
    fired = campaign.fired_at or 0
    # a subscriber deleted before Fire and restored after it is in `removed_before`, but no longer in today's count
    returned = _named(campaign, await store.restored_in(0, max((p.to_id for p in pages), default=0), fired, fired))
    for name, checked in sorted(channels.items()):
        since = removed.get(name, 0) + returned.get(name, 0) - campaign.removed_before.get(name, 0)
        if checked.left > since:
            problems.append(
                f"{name}: {checked.left:,} recipients of the ledger are not in the base, but only {since:,} have left "
                f"it since Fire: somebody was enqueued twice{' or skipped' if campaign.where is not None else ''}"
            )
    return Verification(
        id=campaign_text(campaign.id),
        state=campaign.state,
        ok=not problems,
        pages=len(pages),
        channels=dict(sorted(channels.items())),
        problems=problems[:PROBLEMS_TOLD],
    )


def _named(campaign: Campaign, counts: dict[str, int]) -> dict[str, int]:
    """Counts of the base, by the channels that the campaign uses."""
    return {campaign.channel_of(name): n for name, n in counts.items()}


async def _away(store: Store, campaign: Campaign, page: LedgerPage) -> dict[str, int]:
    """Count a page's subscribers who were deleted as dead during the campaign and restored: they were not missed."""
    end = campaign.finished_at or campaign.expires_at
    return await store.restored_in(page.from_id, page.to_id, campaign.fired_at or 0, end)


def _enqueued(page: LedgerPage, name: str) -> int:
    return page.tallies.get(name, {}).get(ENQUEUED, 0)


def _merge(pages: Sequence[LedgerPage]) -> list[Walked]:
    """Merge neighbouring pages of one owner into one range, per segment and channel."""
    walked: list[Walked] = []
    last: dict[tuple[int, str], Walked] = {}
    for page in pages:
        if page.state not in ("enqueued", "settled"):
            continue
        for channel, tallies in sorted(page.tallies.items()):
            known = last.get((page.segment, channel))
            # a page without subscribers, or without any on this channel, does not separate its neighbours
            if known is None or (known.node, known.epoch) != (page.node, page.epoch):
                known = Walked(
                    segment=page.segment,
                    channel=channel,
                    from_id=page.from_id,
                    to_id=page.to_id,
                    node=page.node,
                    epoch=page.epoch,
                )
                last[page.segment, channel] = known
                walked.append(known)
            known.to_id = page.to_id
            known.pages += 1
            known.recipients += tallies.get(ENQUEUED, 0)
            known.skipped += tallies.get(SKIPPED, 0)
            known.settled += ended(tallies)
    return sorted(walked, key=lambda each: (each.segment, each.channel, each.from_id))


def _gaps(campaign: Campaign, cursors: Sequence[Cursor], pages: Sequence[LedgerPage]) -> Iterator[Gap]:
    """Find gaps in (0, end_id]: in no page, in two, or only claimed. A cancelled campaign need not reach the end."""
    reached = 0
    by_segment: dict[int, list[LedgerPage]] = {cursor.segment: [] for cursor in cursors}
    for page in pages:
        by_segment.setdefault(page.segment, []).append(page)
    for cursor in cursors:
        if cursor.segment == LATE:
            continue
        for page in by_segment[cursor.segment]:
            if page.from_id > reached:
                yield Gap(segment=cursor.segment, from_id=reached, to_id=page.from_id, why="in no page")
            elif page.from_id < reached:
                yield Gap(segment=cursor.segment, from_id=page.from_id, to_id=reached, why="in two pages")
            if page.state == "claimed":
                why = f"claimed by {page.node} (epoch {page.epoch}), not yet on its tubes"
                yield Gap(segment=cursor.segment, from_id=page.from_id, to_id=page.to_id, why=why)
            elif page.state == "open":
                why = f"open: {page.node} (epoch {page.epoch}) was forgotten before it was settled"
                yield Gap(segment=cursor.segment, from_id=page.from_id, to_id=page.to_id, why=why)
            reached = max(reached, page.to_id)
        if cursor.ended and reached < cursor.end_id:
            yield Gap(segment=cursor.segment, from_id=reached, to_id=cursor.end_id, why="in no page, though ended")
        elif not cursor.ended and campaign.state != "cancelled":
            why = "not yet claimed"
            yield Gap(segment=cursor.segment, from_id=cursor.after_id, to_id=cursor.end_id, why=why)
        reached = max(reached, cursor.end_id)


def _told(gap: Gap) -> str:
    return f"segment {gap.segment}: ids {gap.from_id + 1} to {gap.to_id} are {gap.why}"


def _name(page: LedgerPage) -> str:
    return f"segment {page.segment}, page {page.seq} (ids {page.from_id + 1} to {page.to_id})"


def _sums(page: LedgerPage) -> Iterator[str]:
    ends = sum(map(ended, page.tallies.values()))
    if page.state == "settled" and page.settled != page.recipients:
        yield f"{_name(page)}: settled with {page.settled:,} of {page.recipients:,} recipients"
    if page.state in ("enqueued", "settled") and ends != page.settled:
        yield f"{_name(page)}: the channels' ends add up to {ends:,}, the page's to {page.settled:,}"


def _compare(page: LedgerPage, base: dict[str, int], campaign: Campaign, channels: dict[str, Checked]) -> Iterator[str]:
    names = sorted({*base, *page.tallies})
    if campaign.audience is not None:
        names = [name for name in names if name in campaign.audience]
    for name in names:
        enqueued, there = _enqueued(page, name), base.get(name, 0)
        checked = channels.setdefault(name, Checked())
        checked.enqueued += enqueued
        checked.base += there
        # a page that was claimed, and not put on tubes before its campaign was cancelled, missed nobody
        if there > enqueued and not (campaign.state == "cancelled" and page.recipients == 0):
            missed = there - enqueued
            yield f"{_name(page)}: {missed:,} of the {there:,} subscribers on {name} were not enqueued"
        checked.left += max(0, enqueued - there)


async def _compare_audience(
    store: Store, page: LedgerPage, campaign: Campaign, channels: dict[str, Checked]
) -> list[str]:
    """Check that a page enqueued its rows that are in the audience, skipped the others, and missed none.

    Rows that changed since the page was claimed may have been in the audience then, or not: they explain a difference.
    """
    rows = await store.audience_in(campaign.id, page.from_id, page.to_id, page.first_claimed_at)
    if campaign.state == "cancelled" and not any(_then(page, name) for name in page.tallies):
        return []  # claimed, and not put on tubes before its campaign was cancelled
    away: dict[str, int] | None = None
    problems = []
    for name in sorted(({*rows} | {*page.tallies}) & campaign.channels):
        now, enqueued, skipped = rows.get(name, AudienceRows()), _enqueued(page, name), _then(page, name)
        skipped -= enqueued
        differences = {
            "were neither enqueued nor skipped": now.total - enqueued - skipped,
            "are in the audience and were not enqueued": now.inside - enqueued,
            "are not in the audience and were not skipped": now.outside - skipped,
        }
        if campaign.corrects is not None:  # it goes to those who had got the earlier texts: the others are skipped
            differences = dict([*differences.items()][:1])
        back = 0
        if max(differences.values()) > 0:
            if away is None:
                away = await _away(store, campaign, page)
            back = away.get(name, 0)
        for what, difference in differences.items():
            if difference > back:
                problems.append(f"{_name(page)}: {difference - back:,} of the subscribers on {name} {what}")
        checked = channels.setdefault(name, Checked())
        checked.enqueued += enqueued
        checked.skipped += skipped
        checked.base += now.total
        checked.left += max(0, enqueued + skipped - max(min(now.total, enqueued + skipped), now.total - back))
    return problems


def _then(page: LedgerPage, name: str) -> int:
    """A channel's rows of a page, as they were when it was put on tubes."""
    return _enqueued(page, name) + page.tallies.get(name, {}).get(SKIPPED, 0)
