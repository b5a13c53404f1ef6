"""Decides what became of one person in a campaign, from the facts of the base and the ledger. Pure.

An ordinary delivery leaves nothing of its own: it follows from the page in which the person's id lies. The page was put
on tubes with everybody of the audience who was there, all of them are settled, and the answers are kept of those who
were not delivered to. If some of these are missing, the page's own sums say so, and the answer is not certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from broadside.api.explain_records import Explanation, Fate, GivenAnswer
from broadside.newsroom.explain.explain_facts import AnswerFact, Departure, Facts, PageFacts
from campaigns.campaign import Campaign
from campaigns.identity import campaign_text
from campaigns.outcome import Outcome
from campaigns.tally import ENQUEUED
from campaigns.windows import SLOT, QuietRule
from storage.records import REFUSALS, Whereabouts

EXCEPTIONS = ("dead", "rejected", "expired", "dropped")
"""Terminal outcomes of which the ledger keeps who had them."""
MOST_ATTEMPTS = 8
"""It stands for more. The same in the store's answers.lua."""
LEFT = ("dead", "removed", "merged")
NOBODYS_SLOT = 1440 // SLOT

CONDITIONS = {
    "locales": "its language",
    "zones": "its time zone",
    "countries": "its country",
    "app_version": "the version of its app",
    "screens": "its screen",
    "tags_any": "it has none of the tags asked for",
    "tags_all": "it lacks one of the tags that are all asked for",
    "tags_none": "it has a tag that is excluded",
    "share": "it was not drawn into the share",
    "list": "it is not in the list of subscribers",
    "channel": "the campaign does not go to its channel",
    "corrects": "it had not got the text that this campaign corrects",
}
"""Condition → why somebody does not keep it, in words."""


class Presence(NamedTuple):
    """Whether somebody was in the base while the page was read."""

    there: bool | None
    """None: not known."""
    note: str = ""
    at: int | None = None


class Sort(NamedTuple):
    """A fate with what is said about it."""

    fate: Fate
    sentence: str
    certain: bool = True
    notes: Sequence[str] = ()
    failing: Sequence[str] = ()


def explain(
    campaign: Campaign,
    facts: Facts,
    batch: Whereabouts | str | None = None,
    message_id: str | None = None,
    now: int = 0,
) -> Explanation:
    """Return what became of a person.

    ``batch``: where the push lies now; a text: why that is not known; None: nowhere. ``message_id``: the push's id at
    the provider; ``now``: ms UTC.
    """
    page = facts.page
    found = _sort(campaign, facts, batch, now)
    answers = [
        GivenAnswer(outcome=each.outcome, reason=each.reason, attempt=each.attempt, node=each.node, at=each.at)
        for each in _in_order(page)
    ]
    unknown = any(each.outcome == Outcome.UNKNOWN.value for each in answers)
    may_have_it = unknown and found.fate != "delivered"
    notes = [*found.notes, *_token_notes(facts)]
    if may_have_it:
        notes.append("the phone may have it all the same: the push was sent, or may have been, and no answer is known")
    meant = found.fate not in ("outside", "after", "left", "not_started", "nobody")
    number, zone, due = _class_of(campaign, facts) if meant else (None, None, None)
    placed = batch if isinstance(batch, Whereabouts) else None
    row = facts.row
    left = [each for each in facts.departures if each.why in LEFT]
    return Explanation(
        id=campaign_text(campaign.id),
        subscriber=facts.subscriber or None,
        channel=_channel(facts),
        fate=found.fate,
        sentence=found.sentence,
        certain=found.certain,
        notes=notes,
        failing=list(found.failing),
        may_have_it=may_have_it,
        token=None if row is None else f"{row.token}…",
        message_id=message_id if meant and found.fate != "waiting" else None,
        window_class=number,
        zone=zone,
        due=due,
        segment=None if page is None else page.segment,
        page=None if page is None else page.seq,
        node=None if page is None else page.node,
        epoch=None if page is None else page.epoch,
        batch=None if placed is None else placed.n,
        attempts=_attempts(found.fate, page, placed),
        until=placed.until if placed is not None and placed.until > now else None,
        answers=answers,
        left_at=left[-1].at if left and row is None else None,
        replaced_at=facts.left_at if not facts.current and row is not None else None,
    )


def _sort(campaign: Campaign, facts: Facts, batch: Whereabouts | str | None, now: int) -> Sort:
    if campaign.fired_at is None:
        state = {"missed": "was missed: it did not start in time", "cancelled": "was cancelled before it started"}
        return Sort("not_started", f"The campaign {state.get(campaign.state, 'has not started yet')}.")
    if facts.row is None and not facts.departures and not 0 < facts.subscriber <= facts.highest_id:
        return Sort("nobody", "No subscriber has this id, and nobody had this token as far as is known.")
    if facts.last_id is None or facts.subscriber > facts.last_id:
        return Sort("after", "This phone was registered after the campaign was fired.")
    page = facts.page
    known = next((each for each in reversed(_in_order(page)) if each.outcome in EXCEPTIONS), None)
    if known is not None and page is not None:
        return Sort(_fate(known.outcome), _WORDS[known.outcome].format(reason=known.reason))
    if page is not None and page.ended:
        return _delivered(page)
    return _by_range(campaign, facts, batch, now)


def _by_range(campaign: Campaign, facts: Facts, batch: Whereabouts | str | None, now: int) -> Sort:
    """Nothing names the person: what became of all who were read with its page?"""
    page = facts.page
    if facts.listed is False:
        return Sort("outside", f"Not in the audience: {CONDITIONS['list']}.", failing=["list"])
    channel = _channel(facts)
    if channel is not None and campaign.channel_of(channel) not in campaign.channels:
        return Sort("outside", f"Not in the audience: {CONDITIONS['channel']}.", failing=["channel"])
    present = _present(facts)
    if present.there is False:
        return Sort("left", f"This phone {present.note}.")
    if facts.row is None and not any(each.why in LEFT for each in facts.departures):
        return Sort("left", "It is in the base no more, and when it left is not known any more.", False)
    if campaign.corrects is not None and page is not None and page.meant is False:
        return _outside(["corrects"])
    notes = [present.note] if present.there is None else []
    if campaign.corrects is not None and page is not None and page.meant is None:
        notes.append("whether it had got the text that this campaign corrects is not kept any more")
    claimed = page.first_claimed_at if page is not None else None
    if campaign.where and facts.listed is None:  # one without conditions leaves nobody out, whatever has changed
        if facts.failing is None:
            notes.append("whether it was in the audience is not known: it is in the base no more")
        elif page is not None and _changed_since(facts, claimed):
            notes.append("its attributes have changed since: whether it was in the audience then is not known")
        elif facts.failing:
            return _outside(facts.failing)
        if facts.failing and page is not None:
            return _outside(facts.failing)._replace(certain=False, notes=notes)
    fate = _enqueued(campaign, facts, batch, now)
    return fate._replace(certain=fate.certain and not notes, notes=[*fate.notes, *notes])


def _enqueued(campaign: Campaign, facts: Facts, batch: Whereabouts | str | None, now: int) -> Sort:
    """The fate of somebody who is meant, and was there."""
    page = facts.page
    cancelled = campaign.state == "cancelled"
    if page is None:
        if cancelled:
            return Sort("cancelled", "The campaign was cancelled before this part of the base was walked.")
        return Sort("waiting", f"Its part of the base has not been walked yet; the campaign is {campaign.state}.")
    if page.state == "settled":
        channel = _channel(facts)
        sums = [page.tallies.get(campaign.channel_of(channel), {})] if channel is not None else [*page.tallies.values()]
        never_put = not any(each.get(ENQUEUED) for each in page.tallies.values())
        if cancelled and (never_put or any(each.get(Outcome.CANCELLED.value) for each in sums)):
            return Sort("cancelled", "The campaign was cancelled before the push was sent.")
        return _delivered(page)
    if page.state == "claimed":
        return Sort("waiting", f"{page.node} has claimed its page and is about to put it on its tubes.")
    if page.state == "open" and campaign.corrects is not None and page.put_at is None:
        return Sort("waiting", "It had the earlier text, and no node has taken up its page of the correction yet.")
    if page.state == "open":
        return Sort("waiting", f"{page.node} was forgotten: another node walks its page again.")
    return _on_tubes(page, batch, now)


def _on_tubes(page: PageFacts, batch: Whereabouts | str | None, now: int) -> Sort:
    if isinstance(batch, str):
        return Sort("under_way", f"It is on the tubes of {page.node}.", notes=[batch])
    if batch is None:
        return Sort("under_way", f"{page.node} has just settled it: the outcome is on its way to the ledger.")
    tries = batch.attempt % REFUSALS
    if batch.state == "buried":
        return Sort("under_way", f"Its batch is buried on {page.node} until a person looks at it: {batch.why}.")
    if batch.state == "parked":
        return Sort("under_way", f"The campaign is stopped: the push lies on {page.node}.")
    if batch.state == "taken":
        return Sort("under_way", f"{page.node} is sending it now, attempt {tries}.")
    if batch.until > now and tries == 1 and not page.answers:
        return Sort("held", f"It waits on {page.node} for its time.")
    if batch.until > now:
        return Sort("under_way", f"It is tried again by {page.node}, attempt {tries}.")
    return Sort("under_way", f"It is next on the tubes of {page.node}, attempt {tries}.")


def _delivered(page: PageFacts) -> Sort:
    missing = [word for word in EXCEPTIONS if _sum(page, word) != page.kept.get(word, 0)]
    if not missing:
        return Sort("delivered", "The provider accepted it.")
    notes = [
        f"{_sum(page, word):,} of its page ended as {word}, and of {page.kept.get(word, 0):,} it is known who they are"
        for word in missing
    ]
    return Sort("delivered", "The provider accepted it, unless it was one of the page's exceptions.", False, notes)


def _outside(failing: Sequence[str]) -> Sort:
    why = "; ".join(CONDITIONS.get(name, name) for name in failing)
    return Sort("outside", f"Not in the audience: {why}.", failing=failing)


def _sum(page: PageFacts, word: str) -> int:
    return sum(sums.get(word, 0) for sums in page.tallies.values())


_WORDS = {
    "dead": "The provider says that the token is no longer valid: {reason}.",
    "rejected": "The push was refused: {reason}.",
    "expired": "The news expired before it could be delivered: {reason}.",
    "dropped": "It was left out: {reason}.",
}


def _fate(outcome: str) -> Fate:
    fates: dict[str, Fate] = {"dead": "dead", "rejected": "rejected", "expired": "expired", "dropped": "dropped"}
    return fates[outcome]


def _in_order(page: PageFacts | None) -> list[AnswerFact]:
    """Answers, the last one at the end: by time, and what is terminal behind what is not."""
    if page is None:
        return []
    return sorted(page.answers, key=lambda each: (each.outcome in EXCEPTIONS, each.at, each.attempt))


def _attempts(fate: Fate, page: PageFacts | None, batch: Whereabouts | None) -> int | None:
    if batch is not None:
        return batch.attempt % REFUSALS
    tried = max((each.attempt for each in page.answers), default=0) if page is not None else 0
    if fate == "delivered":
        return min(tried + 1, MOST_ATTEMPTS)
    return tried or None


def _channel(facts: Facts) -> str | None:
    if facts.row is not None:
        return facts.row.channel
    return facts.departures[-1].channel if facts.departures else None


def _changed_since(facts: Facts, claimed: int | None) -> bool:
    row = facts.row
    return row is not None and (claimed is None or row.changed_at is None or row.changed_at >= claimed)


def _present(facts: Facts) -> Presence:
    """Whether the person was in the base when its page was read: after its claim, and before it was on tubes."""
    page = facts.page
    away = [_Away(each.at, _back(facts, each), each) for each in facts.departures if each.why in LEFT]
    if page is None:
        if facts.row is not None:
            return Presence(True)
        return Presence(False, _why(away[-1].departure) if away else "had left the base")
    since, until = page.first_claimed_at, page.put_at
    for each in away:
        if since is None:
            return Presence(None, f"it {_why(each.departure)}; whether before its page was read is not known")
        if each.back is not None and each.back < since:
            continue
        if each.at < since:
            if each.back is not None and (until is None or each.back <= until):
                return Presence(None, "it came back into the base while its page was read")
            return Presence(False, _why(each.departure) + " before its page was read", each.at)
        if until is None or each.at <= until:
            return Presence(None, f"it {_why(each.departure)} while its page was read")
    return Presence(True)


class _Away(NamedTuple):
    at: int
    back: int | None
    departure: Departure


def _back(facts: Facts, left: Departure) -> int | None:
    """When somebody came back who had left; None: not yet, as far as is known."""
    known = [back for _, back in facts.restored if back >= left.at]
    return min(known, default=None)


def _why(left: Departure) -> str:
    if left.why == "dead":
        return f"left the base as dead, by campaign {campaign_text(left.other)},"
    if left.why == "merged":
        return f"became one with subscriber {left.other}"
    return "was removed from the base"


def _token_notes(facts: Facts) -> list[str]:
    if facts.current:
        return []
    if facts.row is not None:
        return ["this token was replaced: the phone has another one now"]
    return ["this token is nobody's any more"]


def _class_of(campaign: Campaign, facts: Facts) -> tuple[int | None, str | None, int | None]:
    """The person's window class, its zone, and when it may first get it; by its zone as it is now."""
    windows, row = campaign.windows, facts.row
    if windows is None or row is None:
        return None, None, None
    slot = NOBODYS_SLOT if row.best_minute is None else row.best_minute // SLOT
    zone, number = windows.place(row.channel, row.tz, slot)
    if number == 0:
        return 0, None, campaign.begun_at
    begin = windows.begin(row.channel, number, campaign.begun_at)
    window = windows.window(row.channel, number)
    if window is not None and window.rule is QuietRule.HOLD:
        return number, zone, window.next_open(begin)
    return number, zone, begin
