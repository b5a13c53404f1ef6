"""The herd governor: one node of the ring looks at the load of the newsroom's site, and sets the campaigns' share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog
import trio

from actors.periodic import Periodic
from campaigns.herd import START, Governor
from storage.errors import StorageError
from storage.herd_store import HerdState
from storage.store import Store

log = structlog.get_logger(__name__)

IDLE = 1.0
"""Seconds between two looks for campaigns to govern."""
FRESH = 5.0
"""Seconds for which a posted load counts."""
DUTY = "herd"

ReadLoad = Callable[[], Awaitable[tuple[float | None, str]]]
"""Asks the site: its load, or None, and what it said, as a sentence."""


class Steering(msgspec.Struct, frozen=True):
    """What the governing node says of the load, for people."""

    node: str
    share: float
    """Of their rate that governed campaigns have."""
    load: float | None = None
    """Smoothed; None: nobody knows it."""
    target: float = 0.0
    silent: bool = False
    """Whether nobody has told the load for ten seconds, so that it is slow out of care."""
    text: str = ""
    """What the site said last."""


class HerdGovernor(Periodic):
    """One per node; the one with the duty governs. ``read``: asks the health URL; None: the newsroom posts its load."""

    def __init__(
        self, *, node: str, store: Store, target: float, lag: float, every: float, read: ReadLoad | None
    ) -> None:
        super().__init__()
        self._node = node
        self._store = store
        self._target = target
        self._lag = lag
        self._every = every
        self._read = read
        self._governor: Governor | None = None
        self._stepped = 0.0
        self.state = HerdState([])
        """What this node knows, as of its last look."""

    async def look(self) -> float:
        """Look once, and govern if there is something to govern and it is this node's duty."""
        try:
            self.state = await self._store.herd.state()
            if not self.state.governed:
                self._governor = None
                return IDLE
            if not await self._store.herd.take_duty(DUTY, self._node):
                self._governor = None
                return IDLE
            load, text = await self._load()
            governor, now = self._governor, trio.current_time()
            if governor is None:
                governor = self._governor = Governor(self._target, self._lag, self._begin())
                self._stepped = now - self._every
            share = governor.step(load, max(0.01, now - self._stepped))
            self._stepped = now
            said = Steering(self._node, share, governor.load, self._target, governor.silent, text)
            await self._store.herd.steer(share, msgspec.json.encode(said).decode())
        except StorageError as error:
            log.debug("the load cannot be told", error=str(error))
        return self._every

    def _begin(self) -> float:
        """The share to begin with: where another node has left off a moment ago, or a small one."""
        known = self.state.share
        return known if known is not None and self.state.age < 2 * FRESH else START

    async def _load(self) -> tuple[float | None, str]:
        """The higher of what the site says and what the newsroom has posted; None: neither does."""
        load, text = (None, "nobody has posted a load") if self._read is None else await self._read()
        if self.state.posted is not None and self.state.posted_age < FRESH:
            posted = f"posted {self.state.posted_age:.0f} s ago: {self.state.posted:.2f}"
            text = posted if self._read is None else f"{text}; {posted}"
            load = self.state.posted if load is None else max(load, self.state.posted)
        return load, text
