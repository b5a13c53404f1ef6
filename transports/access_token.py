"""An OAuth access token: one task fetches it and renews it before it expires; all others only read it (RFC 6749).

The node's process fetches it for all of its workers (``SharedCredential``). A worker that gets none, or one that the
provider refuses, fetches its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from campaigns.batch import Batch
from transports.backoff import Backoff
from transports.contract import Outage, SharedText
from transports.elapsed import elapsed
from transports.errors import ConnectionLost
from transports.token_grants import GrantRefused, TokenSource

EARLY = 300.0
"""Seconds before its expiry at which a token is replaced."""
PATIENCE = 5.0
"""Seconds for which a worker waits for the node's token before it fetches one itself."""
_SCHEME = b"Bearer "


class AccessToken:
    """Keeps one valid token ready. Only one task fetches it (:meth:`run`)."""

    def __init__(
        self,
        source: TokenSource,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """``elapsed``: as ``transports.elapsed``."""
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
        self._elapsed = elapsed
        self._granted_at = 0.0
        self._seconds = 0.0
        self._due = 0.0
        self._borrows = False
        self._looked_at = trio.Event()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"AccessToken({self._source.name!r})"

    @property
    def value(self) -> bytes:
        """Value of ``authorization``; call :meth:`wait` first."""
        return self._value

    @property
    def name(self) -> str:
        """The same for all channels of one credential (``SharedCredential.name``)."""
        return f"access token {self._source.name} {self._source.stamp}".rstrip()

    def current(self) -> SharedText | None:
        """Return the token for the other processes; None: there is none yet."""
        if not self._valid:
            return None
        return SharedText(self._value.removeprefix(_SCHEME).decode(), 0, self._granted_at, self._seconds)

    def set_token(self, token: SharedText) -> None:
        """Use a token that was fetched elsewhere. A borrower replaces it later than its lender should have."""
        left = token.made_at + token.seconds - self._elapsed()
        value = _SCHEME + token.text.encode("ascii")
        if left > 0 and (value != self._value or self._valid):
            self._take(value, token.made_at, token.seconds, _renewed_after(left, 2 if self._borrows else 1))

    def borrow(self) -> None:
        """Wait a little for a token that was fetched elsewhere before one is fetched here (``Fetched.borrow``)."""
        self._borrows = True

    async def run(self, fetched: Callable[[], None] = lambda: None) -> None:
        """Fetch and renew the token; retry for ever. ``fetched`` is called for each new one."""
        backoff = self._backoff()
        if not self._valid:
            self.missing_since = trio.current_time()
            self._due = trio.current_time() + (PATIENCE if self._borrows else 0.0)
        while True:
            await self._until_due()
            if await self._fetch():
                backoff.reset()
                fetched()
            else:
                await trio.sleep(backoff.next())

    async def _until_due(self) -> None:
        """Wait until the token has to be replaced."""
        while (wait := self._due - trio.current_time()) > 0:
            self._looked_at = trio.Event()
            with trio.move_on_after(wait):
                await self._looked_at.wait()

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
            self._due = 0.0
            self._looked_at.set()

    async def _fetch(self) -> bool:
        try:
            token, seconds = await self._source.ask()
        except ConnectionLost as lost:
            self.outage = str(lost)
            return False
        except GrantRefused as refused:
            self.fault = str(refused)
            self._notify()
            return False
        self._take(_SCHEME + token.encode("ascii"), self._elapsed(), seconds, _renewed_after(seconds))
        return True

    def _take(self, value: bytes, granted_at: float, seconds: float, renew_after: float) -> None:
        """Use a token from now on, and replace it after so many seconds."""
        self._value, self._granted_at, self._seconds = value, granted_at, seconds
        self._valid = True
        self._due = trio.current_time() + renew_after
        self.fault = self.outage = self.missing_since = None
        self._looked_at.set()
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _renewed_after(left: float, patience: int = 1) -> float:
    """Seconds until a token is replaced that is valid for ``left`` more: few minutes are used to their half."""
    return max(1.0, left - EARLY / patience, left * (1 - 0.5 / patience))
