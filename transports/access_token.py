"""An OAuth access token: one task fetches it and renews it before it expires; all others only read it (RFC 6749)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from campaigns.batch import Batch
from transports.backoff import Backoff
from transports.contract import Outage
from transports.errors import ConnectionLost
from transports.token_grants import GrantRefused, TokenSource

EARLY = 300.0
"""Seconds before its expiry at which a token is replaced."""


class AccessToken:
    """Keeps one valid token ready. Only one task fetches it (:meth:`run`)."""

    def __init__(self, source: TokenSource, *, backoff: Callable[[], Backoff] = Backoff) -> None:
        self.fault: str | None = None
        """Why the provider refuses to give a token, in one sentence; None: it does not refuse, or is not reached."""
        self.outage: str | None = None
        """Why the token endpoint cannot be reached; None: it can."""
        self.missing_since: float | None = None
        """Since when there is no token that the provider accepts, on ``trio.current_time()``; None: there is one."""
        self._source = source
        self._backoff = backoff
        self._value = b""
        self._valid = False
        self._closed = False
        self._expired = trio.Event()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"AccessToken({self._source.name!r})"

    @property
    def value(self) -> bytes:
        """Value of ``authorization``; call :meth:`wait` first."""
        return self._value

    async def run(self) -> None:
        """Fetch and renew the token; retry for ever."""
        backoff = self._backoff()
        self.missing_since = trio.current_time()
        while True:
            lifetime = await self._fetch()
            if lifetime is None:
                await trio.sleep(backoff.next())
                continue
            backoff.reset()
            self._expired = trio.Event()
            # a token that is valid for a few minutes is renewed after half of them, not every second
            with trio.move_on_after(max(1.0, lifetime - EARLY, lifetime / 2)):
                await self._expired.wait()

    async def wait(self) -> str | None:
        """Wait until there is a token, or return the sentence that says why there will be none."""
        while not (self._valid or self._closed):
            if self.fault is not None:
                return self.fault
            await self._changed.wait()
        return None

    def missing(self, provider: str) -> Outage | None:
        """Why the provider's requests cannot be sent; None: there is a token."""
        if self.missing_since is None:
            return None
        return Outage(
            self.fault or f"{provider} gives no access token: {self.outage or 'no answer yet'}", self.missing_since
        )

    async def wait_for(self, batch: Batch, now: int, provider: str) -> str | None:
        """Wait for a token as long as a batch may wait. Returns why there is none, in one sentence; None: there is one.

        A batch that expires before goes on to the pool, which lets it expire. ``now``: ms UTC.
        """
        expiry = trio.current_time() + max(0, batch.expires_at - now) / 1_000 + 0.01
        with trio.move_on_at(min(expiry, batch.begin_until)):
            return await self.wait()
        if batch.begin_until < expiry:
            return f"{provider} gives no access token: {self.outage or 'no answer'}"
        return None

    async def beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Keep the token while ``work`` runs."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.run)
                await work()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    def close(self) -> None:
        """End every :meth:`wait`, now and later."""
        self._closed = True
        self._notify()

    def renew(self, refused: bytes) -> None:
        """Fetch another token after the provider refused ``refused``, unless it has been replaced since."""
        if refused == self._value:
            self._valid = False
            if self.missing_since is None:
                self.missing_since = trio.current_time()
            self._expired.set()

    async def _fetch(self) -> float | None:
        try:
            token, seconds = await self._source.ask()
        except ConnectionLost as lost:
            self.outage = str(lost)
            return None
        except GrantRefused as refused:
            self.fault = str(refused)
            self._notify()
            return None
        self._value = b"Bearer " + token.encode("ascii")
        self._valid = True
        self.fault = self.outage = self.missing_since = None
        self._notify()
        return seconds

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
