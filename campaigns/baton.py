"""The small task that travels from node to node while a segment is walked."""

from __future__ import annotations

from typing import NamedTuple


class Baton(NamedTuple):
    """Walk page ``seq`` of this segment, which begins after an id."""

    campaign: int
    segment: int
    seq: int
    after_id: int
