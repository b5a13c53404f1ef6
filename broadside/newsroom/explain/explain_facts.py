"""The facts from which a person's fate is decided, as the store has them, or an archive."""

from __future__ import annotations

import msgspec


class AnswerFact(msgspec.Struct, array_like=True, frozen=True):
    """One answer that the person had."""

    outcome: str
    reason: str
    attempt: int
    node: str
    at: int


class Departure(msgspec.Struct, array_like=True, frozen=True):
    """The person left the base, or got another token."""

    at: int
    why: str
    """``dead``, ``removed``, ``merged``: left; ``replaced``: has another token."""
    other: int
    """``dead``: the campaign; ``merged``: the subscriber that stays."""
    channel: str


class RowFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The person's row, as it is now."""

    channel: str
    kind: str
    token: str
    """Its first characters."""
    registered_at: int
    tz: str
    best_minute: int | None = None
    changed_at: int | None = None
    """When an attribute changed that an audience may ask for, ms by the store's clock."""


class PageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The page in which the person's id lies."""

    segment: int
    seq: int
    from_id: int
    to_id: int
    node: str
    epoch: int
    state: str
    tallies: dict[str, dict[str, int]]
    first_claimed_at: int | None = None
    put_at: int | None = None
    """When it was on tubes at the latest, by the same clock."""
    ended: bool = False
    """Whether the ledger names the person as settled. Once a page is settled as a whole, it names nobody."""
    answers: list[AnswerFact] = []
    kept: dict[str, int] = {}
    """Terminal outcome → recipients of the page of whom it is kept."""
    meant: bool | None = None
    """Of a second walk: whether it goes to the person, who had got the earlier text; None: not kept any more."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All about one person and one campaign."""

    subscriber: int
    row: RowFacts | None = None
    departures: list[Departure] = []
    restored: list[tuple[int, int]] = []
    """When the person was deleted as dead, and came back under the same id."""
    failing: list[str] | None = None
    """The conditions that the row does not keep now; None: the audience has none, or there is no row."""
    listed: bool | None = None
    """Whether the audience's list has the person; None: it is no list."""
    last_id: int | None = None
    """The highest id that the campaign walks; None: it walks nobody."""
    highest_id: int = 0
    """Of the base now."""
    walked: bool = False
    """Whether the walk has passed the id."""
    page: PageFacts | None = None
    current: bool = True
    """Whether the token that was asked for is the person's now."""
    left_at: int | None = None
    """When it stopped to be."""
