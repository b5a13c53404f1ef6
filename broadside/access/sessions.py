"""Sessions of the page: a cookie in place of a key, and links that log a browser in once."""

from __future__ import annotations

import hmac
import re
import secrets
from collections import deque
from dataclasses import dataclass

import trio

from broadside.access.keyring import Holder, Keyring, digest
from broadside.access.known_rows import KnownRows
from broadside.api.access_records import LoginLink, LoginRequest
from broadside.errors import Problem, RecordError
from campaigns.clock import Clock, wall_clock
from storage.access import AccessStore

SESSION = 12 * 3_600_000
"""Ms that a session lasts."""
CODE = 10 * 60_000
"""Ms that a link's code holds."""
FAILURES = 10
"""Failed log-ins …"""
WINDOW = 60.0
"""… in this many seconds, after which a further one is told to wait. A right key or code always gets in, or a stranger
could lock everybody out; nobody guesses 256 random bits, at whatever rate."""
Ticket = tuple[str, int]
"""The id of a session's key, and when the session ends, ms UTC."""
_CODE = re.compile(r"[A-Za-z0-9_-]{43}")


class TooManyLogins(Exception):
    """A log-in failed, as too many did lately. ``seconds``: until the next should be tried."""

    def __init__(self, seconds: float) -> None:
        super().__init__("too many log-ins failed")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class OpenSession:
    """An open session."""

    holder: Holder
    expires_at: int
    csrf: str


class Sessions:
    """Opens, finds and ends sessions; they are kept in the store, so that any node of the ring knows them."""

    def __init__(self, store: AccessStore, keyring: Keyring, clock: Clock = wall_clock) -> None:
        self._store = store
        self._keyring = keyring
        self._clock = clock
        self._failed: deque[float] = deque(maxlen=FAILURES)
        self._rows = KnownRows[Ticket]()

    async def open(self, request: LoginRequest) -> tuple[str, OpenSession] | None:
        """Open a session; None: the key or the code does not hold. Raises ``TooManyLogins``, ``RecordError``."""
        if (request.key is None) == (request.code is None):
            raise RecordError(Problem("key", "give a key or a code, and not both", "send one of them"))
        holder = await self._entering(request)
        if holder is None:
            now = trio.current_time()
            if len(self._failed) == FAILURES and now - self._failed[0] < WINDOW:
                raise TooManyLogins(WINDOW - (now - self._failed[0]))
            self._failed.append(now)
            return None
        secret, expires = secrets.token_urlsafe(32), self._clock() + SESSION
        await self._store.add_ticket(digest(secret), "session", holder.id, expires, self._clock())
        return secret, OpenSession(holder, expires, csrf(secret))

    async def _entering(self, request: LoginRequest) -> Holder | None:
        if request.code is None:
            return await self._keyring.holder(request.key or "")
        if not _CODE.fullmatch(request.code):
            return None
        found = await self._store.ticket(digest(request.code), "code", self._clock(), once=True)
        return None if found is None else await self._keyring.of_id(found[0])

    async def find(self, secret: str) -> OpenSession | None:
        """Return the session of a cookie; None: there is none, or its key does not hold any more."""
        hash = digest(secret)
        found = await self._rows.get(hash, lambda: self._store.ticket(hash, "session", self._clock()))
        if found is None or found[1] <= self._clock():
            return None
        holder = await self._keyring.of_id(found[0])
        return None if holder is None else OpenSession(holder, found[1], csrf(secret))

    async def end(self, secret: str) -> None:
        """End a session."""
        hash = digest(secret)
        await self._store.end_ticket(hash)
        self._rows.forget(lambda name, _: name == hash)

    def ended(self, key: str) -> None:
        """Remember no session of a key's id any more: they have ended with the key."""
        self._rows.forget(lambda _, ticket: ticket[0] == key)

    async def link(self, holder: Holder, url: str) -> LoginLink:
        """Make a link to the page at ``url`` that opens one session for a holder.

        A browser sends nobody what stands behind the ``#``: so the code is in no log.
        """
        code, expires = secrets.token_urlsafe(32), self._clock() + CODE
        await self._store.add_ticket(digest(code), "code", holder.id, expires, self._clock())
        return LoginLink(url=f"{url}/login#{code}", expires_at=expires)


def csrf(secret: str) -> str:
    """The text that a page of this session sends with every change: other sites cannot know it."""
    return hmac.new(secret.encode(), b"csrf", "sha256").hexdigest()
