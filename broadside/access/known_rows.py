"""What a node remembers of the store's keys and sessions, so that not every request asks the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import trio

from storage.errors import LinkDown, LinkLost

FRESH = 3.0
"""Seconds after which a row is looked up again. A stream looks every two seconds at whether its key or session holds:
so what ends at another node is refused here, and its streams end, within five."""
HELD = 300.0
"""Seconds for which a row still holds while the store is away."""
REMEMBERED = 2000
"""Rows; and names without a row, apart from them, so that no stranger's guesses displace a row."""

T = TypeVar("T")


@dataclass(slots=True)
class _Known(Generic[T]):
    row: T | None
    at: float


class KnownRows(Generic[T]):
    """Rows by the names under which they were looked up."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known[T]] = OrderedDict()
        self._guessed: OrderedDict[str, _Known[T]] = OrderedDict()
        self._forgotten = 0

    async def get(self, name: str, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return a row, from the store by ``ask`` if it was not looked up lately.

        Raises ``LinkDown`` or ``LinkLost`` if the store is away and the row was not looked up within `HELD` seconds.
        """
        known, now = self._known.get(name) or self._guessed.get(name), trio.current_time()
        if known is not None and now - known.at < FRESH:
            return known.row
        forgotten = self._forgotten
        try:
            row = await ask()
        except (LinkDown, LinkLost):
            if known is not None and now - known.at < HELD:
                return known.row
            raise
        if forgotten != self._forgotten:
            return row  # read before what has ended meanwhile: it may be that row
        kept, other = (self._known, self._guessed) if row is not None else (self._guessed, self._known)
        kept[name] = _Known(row, now)
        kept.move_to_end(name)
        other.pop(name, None)
        while len(kept) > REMEMBERED:
            kept.popitem(last=False)
        return row

    def forget(self, ended: Callable[[str, T], bool]) -> None:
        """Look up again the rows for which ``ended`` (name, row) is true."""
        self._forgotten += 1
        for name in [name for name, known in self._known.items() if known.row is not None and ended(name, known.row)]:
            del self._known[name]
