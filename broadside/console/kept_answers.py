"""The first answers to requests that must not be done twice, for a client that repeats one under its key.

They are kept in this node's memory: the requests are about its own tubes, or are answered by a person once. Fire is not
among them: its keys are in the store, where every node finds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from broadside.api.idempotency import HEADER
from broadside.console.http_answers import ApiFailure
from broadside.errors import shown

KEPT_FOR = 86_400.0
"""Seconds."""
MOST = 1_000
"""Answers; a further one replaces the oldest."""


@dataclass(eq=False)
class _Kept:
    request: bytes
    since: float
    done: trio.Event = field(default_factory=trio.Event)
    answer: Any = None
    """None: the request is under way."""


class KeptAnswers:
    """Answers by owner and idempotency key."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def once(self, owner: str, key: str, request: bytes, do: Callable[[], Awaitable[Any]]) -> Any:
        """Return what ``do`` returns, or what it has returned to the first ``request`` with this ``key``.

        A repeat waits for a first one that is under way. If that fails, the repeat is done instead. Raises
        ``ApiFailure`` if the key belongs to another request, and what ``do`` raises.
        """
        digest, now = hashlib.sha256(request).digest(), trio.current_time()
        while (kept := self._kept.get((owner, key))) is not None and now < kept.since + KEPT_FOR:
            if kept.request != digest:
                what = f"{HEADER} {shown(key, 40)} was used for another request"
                raise ApiFailure(422, what, field=HEADER, value=key[:40], remedy="use a new key for a new request")
            if kept.answer is not None:
                return kept.answer
            await kept.done.wait()
        mine = _Kept(digest, now)
        self._kept.pop((owner, key), None)
        while len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[owner, key] = mine
        try:
            mine.answer = await do()
        finally:
            mine.done.set()
            if mine.answer is None and self._kept.get((owner, key)) is mine:
                del self._kept[owner, key]
        return mine.answer
