"""What a worker may go on with: the campaigns that are stopped, and how long its node's lease holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from campaigns.batch import Leave


class Permit:
    """One per worker, as the node's heartbeats bring it. What may not be begun any more goes back to its tube.

    A batch belongs to the lease under which it was taken. A node that had none for a while may have missed that the
    campaign was stopped, corrected and let go on meanwhile: so what it had in hand before goes back, too.
    """

    def __init__(self, stopped: Iterable[int] = (), until: float | None = None) -> None:
        """``until``: when the lease ends, on ``time.monotonic()``, which a machine's processes share; None: never."""
        self._stopped = frozenset(stopped)
        self._until = math.inf if until is None else until
        self._lapses = 0

    def renew(self, stopped: Iterable[int], until: float | None) -> bool:
        """Take note of a heartbeat. Returns whether other campaigns are stopped than before."""
        before = self._stopped
        self._lapses += self._over
        self._stopped, self._until = frozenset(stopped), math.inf if until is None else until
        return self._stopped != before

    @property
    def _over(self) -> bool:
        return time.monotonic() > self._until

    def leave(self, campaign: int, leave: Callable[[], Leave]) -> Callable[[], Leave]:
        """The leave of a batch that was taken just now, which also ends with its campaign's stop and with the lease."""
        lapses = self._lapses

        def ask() -> Leave:
            if campaign in self._stopped or lapses != self._lapses or self._over:
                return Leave.STOPPED
            return leave()

        return ask
