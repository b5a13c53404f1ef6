"""The API's records for operators: the ring's nodes, and checks of a campaign's walk."""

from __future__ import annotations

import msgspec


class PeerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One registered node."""

    name: str
    queue: str
    """Its queue instance's uuid."""
    epoch: int
    status: str
    """``current``; ``fenced``: forgotten, but its lease may still be valid; ``forgotten``."""
    seen_at: int
    """Time of its last heartbeat, ms UTC."""
    seconds_ago: float
    leased: bool
    """Whether its queue may have a lease, so that it may be sending."""
    unsettled_pages: int
    this: bool = False
    """Whether this is the node that answers."""


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to forgetting a node."""

    name: str
    status: str
    epoch: int
    unsettled_pages: int
    message: str


class Walked(msgspec.Struct, kw_only=True):
    """The ids in (from_id, to_id], walked for one channel by one owner, in neighbouring pages."""

    segment: int
    channel: str
    from_id: int
    to_id: int
    node: str
    epoch: int
    pages: int = 0
    recipients: int = 0
    skipped: int = 0
    """Subscribers who are not in the campaign's audience."""
    settled: int = 0


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Ids in (from_id, to_id] that the pages do not cover exactly once, or that are not on any tube yet, and why."""

    segment: int
    from_id: int
    to_id: int
    why: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """The id ranges that a campaign has walked, by channel and node; and the gaps."""

    id: str
    state: str
    walked: list[Walked]
    gaps: list[Gap]


class Checked(msgspec.Struct, kw_only=True):
    """One channel's counts, summed over all pages."""

    enqueued: int = 0
    """Recipients in the ledger."""
    skipped: int = 0
    """Subscribers in the ledger who were not in the audience."""
    base: int = 0
    """Subscribers now in the base, in the walked ranges."""
    left: int = 0
    """Recipients, or skipped ones, no longer in the base: dead or removed since Fire."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The result of checking every id range."""

    id: str
    state: str
    ok: bool
    pages: int
    channels: dict[str, Checked]
    problems: list[str]
    """The differences, a sentence each; at most fifty."""


class Peers(msgspec.Struct, frozen=True):
    """The registered nodes."""

    items: list[PeerReport]


class BuriedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch that was buried for a person. It shows no token."""

    id: int
    """The tube's number of the task."""
    campaign: str | None
    """Null here and below: another version has written the batch."""
    segment: int | None
    page: int | None
    attempt: int | None
    crashes: int
    """Crashes counted against it."""
    maybe_sent: int
    """Recipients that may have been sent to before it was buried. If it is kicked, they are sent to again."""
    why: str


class BuriedPage(msgspec.Struct, frozen=True):
    """Buried batches of a channel, the oldest first."""

    items: list[BuriedBatch]
    next: str | None
    """The ``cursor`` of the batches after these; null: these were the last."""


class Kicked(msgspec.Struct, frozen=True):
    """How many buried batches are back on their tube."""

    kicked: int


class EndedBatches(msgspec.Struct, frozen=True):
    """How many buried batches were ended."""

    batches: int
    recipients: int
    """Their recipients: rejected now."""
