"""The API's records for operators: the ring's nodes, and proofs of what was walked."""

from __future__ import annotations

import msgspec


class PeerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One registered node."""

    name: str
    queue: str
    """Its queue instance's uuid."""
    epoch: int
    status: str
    """``current``; ``fenced``: forgotten, and its lease may still hold; ``forgotten``."""
    seen_at: int
    """Ms UTC of its last heartbeat."""
    seconds_ago: float
    leased: bool
    """Whether its queue may hold a lease, so that it may be sending."""
    unsettled_pages: int
    this: bool = False
    """The node that answers."""


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to forgetting a node."""

    name: str
    status: str
    epoch: int
    unsettled_pages: int
    message: str


class Walked(msgspec.Struct, kw_only=True):
    """The ids in (from_id, to_id], walked for one channel by one owner: as many neighbouring pages as had the same."""

    segment: int
    channel: str
    from_id: int
    to_id: int
    node: str
    epoch: int
    pages: int = 0
    recipients: int = 0
    settled: int = 0


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Ids in (from_id, to_id] of which nothing is on any tube, and why."""

    segment: int
    from_id: int
    to_id: int
    why: str


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Which id ranges a campaign has walked, on which channel, by whom; and which not."""

    id: str
    state: str
    walked: list[Walked]
    gaps: list[Gap]


class Checked(msgspec.Struct, kw_only=True):
    """One channel, added up over all pages."""

    enqueued: int = 0
    """Recipients in the ledger."""
    base: int = 0
    """Subscribers that the base has now in the ranges walked."""
    left: int = 0
    """Recipients that the base has no more; they left it since Fire, as dead or removed."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at every id range came to."""

    id: str
    state: str
    ok: bool
    pages: int
    channels: dict[str, Checked]
    problems: list[str]
    """What differs, a sentence each; at most fifty are told."""
