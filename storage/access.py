"""The store's verbs about the API's keys, the page's sessions, and the audit, typed."""

from __future__ import annotations

from typing import Any, NamedTuple

from storage.link import Link


class KeyRow(NamedTuple):
    """One key of the API. Times: ms UTC."""

    id: str
    hash: str
    """SHA-256 of the key, in hex."""
    name: str
    role: str
    created_at: int
    channels: list[str] | None = None
    """What it is limited to; None: all."""
    kinds: list[str] | None = None
    most: int | None = None
    """The largest audience that it may fire at."""
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None


class AuditRow(NamedTuple):
    """Who did what, when."""

    number: int
    at: int
    """Ms UTC."""
    node: str
    key: str
    """The key's id."""
    name: str
    """The key's name then."""
    action: str
    """Method and path of the route."""
    about: str
    """What stands in the path: a campaign, a channel, a node."""
    status: int
    """The answer's status."""
    detail: dict[str, Any]


class AccessStore:
    """Keys, tickets and the audit in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def add(self, key: KeyRow) -> bool:
        """Add a key; returns whether there was none of this id and hash."""
        return bool((await self._call("key_add", list(key)))[0])

    async def keys(self) -> list[KeyRow]:
        """Return every key, revoked ones too."""
        return [_key(row) for row in (await self._call("key_list"))[0]]

    async def get(self, id: str) -> KeyRow | None:
        """Return the key of an id."""
        return _found(await self._call("key_get", id))

    async def find(self, hash: str) -> KeyRow | None:
        """Return the key of a hash."""
        return _found(await self._call("key_find", hash))

    async def revoke(self, id: str, now: int) -> KeyRow | None:
        """Revoke a key and end its sessions; None: there is no such key."""
        return _found(await self._call("key_revoke", id, now))

    async def used(self, id: str, now: int) -> None:
        """Remember when a key was last used."""
        await self._call("key_used", id, now)

    async def end_tickets(self, key: str) -> None:
        """End all sessions and codes of a key."""
        await self._call("tickets_end", key)

    async def add_ticket(self, hash: str, kind: str, key: str, expires_at: int, now: int) -> None:
        """Keep a ``session`` or a ``code`` for a key."""
        await self._call("ticket_add", [hash, kind, key, expires_at], now)

    async def ticket(self, hash: str, kind: str, now: int, *, once: bool = False) -> tuple[str, int] | None:
        """Return the key's id and the end of a ticket that holds. ``once``: it holds no longer."""
        found = await self._call("ticket_key", hash, kind, now, once)
        return (str(found[0]), int(found[1])) if found and found[0] is not None else None

    async def end_ticket(self, hash: str) -> None:
        """End one session."""
        await self._call("ticket_end", hash)

    async def record(self, entry: AuditRow) -> int:
        """Add an entry to the audit, whose number is given by the store; returns it."""
        return int((await self._call("audit_add", list(entry[1:])))[0])

    async def audit(self, before: int | None, limit: int) -> list[AuditRow]:
        """Return entries numbered below ``before``, the newest first."""
        return [AuditRow(*row) for row in (await self._call("audit_page", before, limit))[0]]

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))


def _found(answer: list[Any]) -> KeyRow | None:
    return _key(answer[0]) if answer and answer[0] is not None else None


def _key(row: Any) -> KeyRow:
    return KeyRow(*row)
