"""The batcher: puts each part of a page on this node's tubes as a batch, all in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

import structlog
import trio

from actors.messages import FULL_PAUSE, Page
from actors.poison import count_crash, is_outage
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.lane import Lane
from campaigns.outcome import Outcome
from campaigns.recipient import pack_recipients, unpack_recipients
from campaigns.tally import ENQUEUED, SKIPPED, UNSURE
from campaigns.windows import QuietRule
from storage.errors import LinkLost
from storage.records import PagePart, Placed
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

_EXPIRED = Outcome.EXPIRED.value


class Split(NamedTuple):
    """A page, ready for the tubes."""

    placed: list[Placed]
    """Each becomes a batch."""
    recipients: int
    tallies: dict[str, dict[str, int]]
    """channel → word → count: recipients that are enqueued, and recipients that need no batch (expired); and rows that
    are skipped, because they are not in the audience."""
    ended: list[int]
    """The ids of those that need no batch."""
    held: dict[str, int]
    """The moment (ms UTC) and a time zone with people who wait for it → how many."""
    lane: Lane = Lane.MIDDLE
    unsure: bool = False
    """See ``Claim.unsure``."""
    paced: bool = False
    """Whether the batches wait for the campaign's rate."""


def split(page: Page, channels: Collection[str], now: int, sizes: Mapping[str, int] = MappingProxyType({})) -> Split:
    """Select the parts of a page that the campaign goes to, less the recipients that were settled before.

    ``channels``: the channels that this node serves. A walker claims pages of others only once the news has expired.
    ``now``: ms UTC. ``sizes``: channel → recipients of a batch, where they are fewer than a part of a page may have.
    """
    audience = page.campaign.channels
    placed: list[Placed] = []
    tallies: dict[str, dict[str, int]] = {}
    recipients = 0
    ended: list[int] = []
    held: dict[str, int] = {}
    for channel, rows in page.skipped.items():
        tallies[channel] = {ENQUEUED: 0, SKIPPED: rows}
    for number, part in enumerate(page.parts, 1):
        channel = page.campaign.channel_of(part.channel)
        if channel not in audience:
            continue
        if channel != part.channel:
            part = part._replace(channel=channel)
        if page.claim.ended:
            part = _left(part, page.claim.ended)
        if not part.size:
            continue
        recipients += part.size
        tally = tallies.setdefault(channel, {ENQUEUED: 0})
        tally[ENQUEUED] += part.size
        if channel in channels:
            place = _place(page.campaign, part, now)
            if page.claim.unsure:
                tally[UNSURE] = tally.get(UNSURE, 0) + part.size
            if page.kept is not None:
                placed.append(place._replace(kept=number))
            else:
                most = min(sizes.get(channel, part.size), page.campaign.batch or part.size)
                placed += [place._replace(part=piece) for piece in _cut(part, most)]
            if place.delay > 0:
                for zone, count in part.zones.items():
                    key = f"{place.begin_from} {zone}"
                    held[key] = held.get(key, 0) + count
        else:
            tally[_EXPIRED] = tally.get(_EXPIRED, 0) + part.size
            ended += (row.id for row in unpack_recipients(part.recipients))
    paced = page.campaign.herd is not None
    return Split(placed, recipients, tallies, ended, held, page.campaign.lane, page.claim.unsure, paced)


def _place(campaign: Campaign, part: PagePart, now: int) -> Placed:
    """When a part may be taken, and until when it is wanted."""
    if campaign.windows is None or part.window == 0:
        return Placed(part, 0.0, campaign.wanted_until())
    begin = campaign.windows.begin(part.channel, part.window, campaign.begun_at)
    until = campaign.wanted_until(begin)
    window = campaign.windows.window(part.channel, part.window)
    opens: int | None = max(begin, now)
    if window is not None and window.rule is QuietRule.HOLD:
        opens = window.next_open(max(begin, now))
    if opens is None:
        return Placed(part, 0.0, until)  # it ends at the take, as expired
    return Placed(part, (opens - now) / 1000, until, opens, (window and window.closes(opens)) or 0)


def _left(part: PagePart, ended: frozenset[int]) -> PagePart:
    """The part without the recipients that an earlier owner of the page has settled."""
    rows = [row for row in unpack_recipients(part.recipients) if row.id not in ended]
    return part._replace(size=len(rows), recipients=pack_recipients(rows), zones=_shares(part.zones, len(rows)))


def _shares(zones: Mapping[str, int], size: int) -> dict[str, int]:
    """Zones' shares of fewer recipients, for people: a row does not name its zone."""
    shares: dict[str, int] = {}
    before = 0
    for zone, upto in zip(zones, accumulate(zones.values()), strict=True):
        end = upto * size // max(1, sum(zones.values()))
        shares[zone], before = end - before, end
    return shares


def _cut(part: PagePart, most: int) -> list[PagePart]:
    """The part as parts of at most ``most`` recipients."""
    if part.size <= most:
        return [part]
    rows = unpack_recipients(part.recipients)
    pieces = [rows[start : start + most] for start in range(0, len(rows), most)]
    return [part._replace(size=len(piece), recipients=pack_recipients(piece)) for piece in pieces]


class Batcher:
    """Puts pages on the tubes of ``channels``; the same call acks their batons. ``sizes``: see :func:`split`.

    ``intake``: the sending end of ``pages``. Each walker has a clone; the batcher closes its own to stop.
    """

    def __init__(
        self,
        *,
        tubes: Tubes,
        pages: trio.MemoryReceiveChannel[Page],
        intake: trio.MemorySendChannel[Page],
        channels: Collection[str],
        clock: Clock,
        sizes: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._tubes = tubes
        self._pages = pages
        self._intake = intake
        self._channels = channels
        self._clock = clock
        self._sizes = sizes

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until the walkers have closed their end."""
        ready()
        async with self._pages:
            async for page in self._pages:
                try:
                    await self._put(page)
                except Exception as error:  # a page that cannot be put does not stop the batcher for others
                    if is_outage(error):
                        raise
                    log.exception("a page cannot be put on the tubes", baton=page.taken.baton)
                    await count_crash(partial(self._tubes.baton_crashed, page.taken), error, baton=page.taken.baton)

    def stop(self) -> None:
        """Stop once the walkers have ended and every page in hand is on the tubes."""
        self._intake.close()

    async def _put(self, page: Page) -> None:
        page_split = split(page, self._channels, self._clock(), self._sizes)
        told = False
        while True:
            verdict = await self._tubes.page_put(page.taken, *page_split, kept=page.kept)
            if verdict != "full":
                break
            if not told:
                log.warning("the walk waits: the queue's memory is used up", baton=page.taken.baton)
                told = True
            await trio.sleep(FULL_PAUSE)
        if verdict in ("fenced", "gone"):
            # no lease for now, or a new epoch: the baton comes again, and then the store decides who owns the page
            why = "this queue has no lease for it" if verdict == "fenced" else "it is not kept any more"
            log.warning("page not put, its baton comes again", baton=page.taken.baton, why=why)
            try:
                await self._tubes.baton_release(page.taken)
            except LinkLost:
                log.warning("baton not given back: the queue does it when our session ends", baton=page.taken.baton)
