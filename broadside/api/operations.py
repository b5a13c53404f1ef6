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
