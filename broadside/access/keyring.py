"""The keyring: who a key of the API belongs to, and what it may do.

Keys are random texts, shown once; the store has their SHA-256 only. Each node has a key of its own besides, in a file
of its data folder, for the commands on its machine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from broadside.access.known_rows import KnownRows
from broadside.access.limits import NO_LIMITS, KeyLimits
from broadside.access.roles import ROLES
from broadside.api.access_records import KeyCreated, KeyRecord, KeyRequest
from broadside.api.idempotency import NODE_KEY
from broadside.api.v1.route import Scope
from broadside.errors import Conflict, Problem, RecordError, shown
from campaigns.clock import Clock, wall_clock
from storage.access import AccessStore, KeyRow

USED_EVERY = 60_000
"""Ms between two notes of when a key was last used."""
LOCAL = "local"
"""What a node's own key is called on the command line; its id is ``local:NODE``."""
_KEY = re.compile(r"bsk_[a-z2-7]{8}_[A-Za-z0-9_-]{43}")


def digest(secret: str) -> str:
    """SHA-256 in hex: a random text of 256 bits needs no slower hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a request comes from."""

    id: str
    """The key's id."""
    name: str
    role: str
    limits: KeyLimits = NO_LIMITS

    @property
    def owner(self) -> str:
        """Whom its idempotency keys belong to."""
        return NODE_KEY if self.id.startswith(f"{LOCAL}:") else self.id

    def may(self, scope: Scope) -> bool:
        """Whether the role has a scope."""
        return scope in ROLES.get(self.role, frozenset())


class Keyring:
    """One node's view of all keys.

    ``local``: returns the node's own key; ``renew``: makes it anew.
    """

    def __init__(
        self,
        store: AccessStore,
        node: str,
        local: Callable[[], str],
        renew: Callable[[], object],
        clock: Clock = wall_clock,
    ) -> None:
        self._store = store
        self._local = local
        self._renew = renew
        self._clock = clock
        self.here = Holder(f"{LOCAL}:{node}", f"{node} itself", "operator")
        """Whom the node's own key belongs to."""
        self._rows = KnownRows[KeyRow]()

    async def holder(self, key: str) -> Holder | None:
        """Return whom a key belongs to; None: nobody. Raises ``LinkDown`` for an unknown key if the store is away."""
        if hmac.compare_digest(key.encode(), self._local().encode()):
            return self.here
        if not _KEY.fullmatch(key):
            return None
        hash = digest(key)
        return self._valid(await self._row(hash, lambda: self._store.find(hash)))

    async def of_id(self, id: str) -> Holder | None:
        """Return the holder of a key's id, if the key still holds."""
        if id.startswith(f"{LOCAL}:"):
            return Holder(id, f"{id.removeprefix(f'{LOCAL}:')} itself", "operator")
        return self._valid(await self._row(id, lambda: self._store.get(id)))

    async def add(self, request: KeyRequest) -> KeyCreated:
        """Make a key. Raises ``RecordError``."""
        if request.role not in ROLES:
            known = ", ".join(ROLES)
            raise RecordError(
                Problem("role", f"{shown(request.role)} is no role", f"known: {known}", request.role[:40])
            )
        now = self._clock()
        id = base64.b32encode(secrets.token_bytes(5)).decode().lower()
        key = f"bsk_{id}_{secrets.token_urlsafe(32)}"
        expires = None if request.days is None else now + request.days * 86_400_000
        row = KeyRow(
            id, digest(key), request.name, request.role, now, request.channels, request.kinds, request.most, expires
        )
        if not await self._store.add(row):
            raise Conflict("the key's id is taken", "try again")
        return KeyCreated(key=key, record=record(row))

    async def keys(self) -> list[KeyRecord]:
        """Return every key, the newest first, revoked ones too; never a secret."""
        return [record(row) for row in sorted(await self._store.keys(), key=lambda row: -row.created_at)]

    async def revoke(self, id: str) -> KeyRecord:
        """Revoke a key, and end its sessions; ``local``: this node's own, which is made anew."""
        now = self._clock()
        if id in (LOCAL, self.here.id):
            self._renew()
            await self._store.end_tickets(self.here.id)
            return KeyRecord(id=self.here.id, name=self.here.name, role="operator", created_at=now)
        row = await self._store.revoke(id, now)
        if row is None:
            raise Conflict(f"no key {shown(id)}", "`broadside key list` shows the ids", missing=True)
        self._rows.forget(lambda _, known: known.id == id)
        return record(row)

    async def _row(self, name: str, ask: Callable[[], Awaitable[KeyRow | None]]) -> KeyRow | None:
        async def noted() -> KeyRow | None:
            row = await ask()
            if row is not None and (row.used_at or 0) + USED_EVERY < self._clock():
                await self._store.used(row.id, self._clock())
            return row

        return await self._rows.get(name, noted)

    def _valid(self, row: KeyRow | None) -> Holder | None:
        if row is None or row.revoked_at is not None:
            return None
        if row.expires_at is not None and row.expires_at <= self._clock():
            return None
        return Holder(row.id, row.name, row.role, KeyLimits(_set(row.channels), _set(row.kinds), row.most))


def record(row: KeyRow) -> KeyRecord:
    """A key as people see it."""
    plain = row._asdict()
    del plain["hash"]
    return msgspec.convert(plain, KeyRecord)


def _set(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
