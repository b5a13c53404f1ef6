"""The campaigns that somebody has stopped, as the node's last heartbeat brought them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from campaigns.batch import Leave


class StoppedCampaigns:
    """One per worker: what is in hand of a stopped campaign and not begun goes back to the tube."""

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._ids = frozenset(ids)

    def hear(self, ids: Iterable[int]) -> None:
        """Replace them all."""
        self._ids = frozenset(ids)

    def leave(self, campaign: int, leave: Callable[[], Leave]) -> Callable[[], Leave]:
        """A batch's leave, which also ends with its campaign's stop."""
        return lambda: Leave.STOPPED if campaign in self._ids else leave()
