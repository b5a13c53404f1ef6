"""The small task that travels from node to node while a segment is walked."""

from __future__ import annotations

from typing import NamedTuple


class Baton(NamedTuple):
    """The order to walk page ``seq`` of a segment: the page begins after the id ``after_id``."""

    campaign: int
    segment: int
    seq: int
    after_id: int
