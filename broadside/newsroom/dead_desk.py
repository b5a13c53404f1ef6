"""The dead ledger for people: lists questions about refused tokens, takes the answers, undoes a day's deletions."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from broadside.api.dead_records import QUESTIONS, DeadAnswered, DeadEntry, DeadPage, DeadRestored
from broadside.api.v1.cursors import page, read_cursor
from broadside.errors import Conflict
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text, parse_campaign
from storage.records import DeadRow, DeadStanding
from storage.store import Store

log = structlog.get_logger(__name__)

_LIST = "`broadside dead list` shows what can be answered and restored"

_WITHDRAWN = f"once deliveries prove the key a question is withdrawn; {_LIST}"


class DeadDesk:
    """One node's access to the dead ledger. Every answer is logged, because it changes the base."""

    def __init__(self, store: Store, clock: Clock = wall_clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, limit: int, cursor: str = "") -> DeadPage:
        """Return open questions, tokens that are kept, and deletions that can be restored; raises ``RecordError``."""
        after = read_cursor(cursor, lambda campaign, channel: (parse_campaign(campaign), channel))
        rows = await self._store.dead_list(limit + 1, after)
        entries = [_entry(row) for row in rows]
        return DeadPage(*page(entries, limit, lambda n: (entries[n].campaign, entries[n].channel)))

    async def confirm(self, channel: str, campaign: int | None) -> DeadAnswered:
        """The phones are dead: delete kept tokens, settle waiting pushes. ``Conflict``: there is no such question."""
        return await self._answer(channel, campaign, "confirmed")

    async def keep(self, channel: str, campaign: int | None) -> DeadAnswered:
        """The phones live, the key was wrong: forget kept tokens. ``Conflict``: there is no such question."""
        return await self._answer(channel, campaign, "denied")

    async def restore(self, channel: str | None, campaign: int | None) -> DeadRestored:
        """Undo a day's deletions. ``Conflict``: there were none."""
        back, again = await self._store.dead_restore(channel, campaign, self._clock())
        names = [channel] if channel is not None else []
        what = " of ".join([*names, *([] if campaign is None else [f"campaign {campaign_text(campaign)}"])])
        if not back and not again:
            raise Conflict(f"nothing was deleted as dead in the last day for {what}", _LIST, missing=True)
        log.info("deleted tokens are restored", what=what, restored=back, registered_again=again)
        return DeadRestored(restored=back, registered_again=again)

    async def _answer(self, channel: str, campaign: int | None, word: str) -> DeadAnswered:
        campaigns, kept = await self._store.dead_answer(channel, campaign, word, self._clock())
        if not campaigns:
            which = "" if campaign is None else f" and campaign {campaign_text(campaign)}"
            raise Conflict(f"no question is open about {channel}{which}", _WITHDRAWN, missing=True)
        names = [campaign_text(id) for id in campaigns]
        log.info(
            "a question about refused tokens is answered", answer=word, channel=channel, campaigns=names, kept=kept
        )
        return DeadAnswered(channel=channel, campaigns=names, kept=kept)


def questions(standings: Iterable[DeadStanding]) -> dict[str, str]:
    """The open questions, for alarms and reports: channel → a sentence."""
    return {
        each.channel: _question(
            each.state,
            each.channel,
            campaign_text(each.campaign),
            each.refused,
            each.delivered,
            each.limit,
            each.reason,
        )
        for each in standings
        if each.state in QUESTIONS
    }


def _question(state: str, channel: str, campaign: str, refused: int, delivered: int, limit: float, reason: str) -> str:
    said = f' ("{reason}")' if reason else ""
    answers = f"`broadside dead confirm {channel}`: they are dead; `broadside dead keep {channel}`: the key is wrong"
    if state == "stopped":
        return (
            f"{channel} has stopped: in campaign {campaign} the provider has refused {refused:,} phones{said} and"
            f" accepted {delivered:,}. This looks like a wrong key, app or environment. Nothing is deleted ({answers})"
        )
    share = refused / max(1, refused + delivered)
    return (
        f"{channel}: in campaign {campaign} the provider refused {refused:,} of {refused + delivered:,} phones{said},"
        f" {share:.0%}; the limit is {limit:.0%}. Nothing is deleted until a person answers ({answers})"
    )


def _entry(row: DeadRow) -> DeadEntry:
    campaign = campaign_text(row.campaign)
    refused = max(row.likely + row.doubtful, row.postponed)
    text = ""
    if row.state in QUESTIONS:
        top = max(row.reasons, key=lambda reason: row.reasons[reason], default="")
        text = _question(row.state, row.channel, campaign, refused, row.delivered, row.limit, top)
    return DeadEntry(
        channel=row.channel,
        campaign=campaign,
        state=row.state,
        since=row.since,
        delivered=row.delivered,
        likely=row.likely,
        doubtful=row.doubtful,
        postponed=row.postponed,
        kept=row.kept,
        removed=row.removed,
        share=round(refused / max(1, refused + row.delivered), 4),
        limit=row.limit,
        reasons=row.reasons,
        examples=row.examples,
        text=text,
    )
