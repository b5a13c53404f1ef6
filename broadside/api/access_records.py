"""The API's records about keys, sessions and the audit. Times are milliseconds UTC."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Name
    """Whose it is: a person, a program."""
    role: str
    """``viewer``, ``editor``, ``approver``, ``operator`` or ``app``."""
    channels: Annotated[list[str], Meta(min_length=1, max_length=1000)] | None = None
    """The channels that it may fire at; None: all."""
    kinds: Annotated[list[str], Meta(min_length=1, max_length=100)] | None = None
    """The kinds of news that it may fire; None: all."""
    most: Annotated[int, Meta(ge=1)] | None = None
    """The largest audience that it may fire at; None: any."""
    days: Annotated[int, Meta(ge=1, le=3660)] | None = None
    """Days until it expires; None: never."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret."""

    id: str
    name: str
    role: str
    created_at: int
    channels: list[str] | None = None
    kinds: list[str] | None = None
    most: int | None = None
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None
    """When it was last used, within a minute."""


class KeyCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A new key."""

    key: str
    """The key itself: it is shown this once."""
    record: KeyRecord

    @property
    def id(self) -> str:
        """The key's id."""
        return self.record.id


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Every key, the newest first."""

    keys: list[KeyRecord]


class LoginRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session is asked for with: a key, or a code from a link."""

    key: Annotated[str, Meta(max_length=512)] | None = None
    code: Annotated[str, Meta(max_length=512)] | None = None


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking."""

    id: str
    """The key's id."""
    name: str
    role: str
    scopes: list[str]
    expires_at: int | None = None
    """When the session ends; None: the request has a key of its own."""
    csrf: str | None = None
    """What a page sends as ``X-CSRF-Token`` with every request that changes something."""


class LogoutAnswer(msgspec.Struct, frozen=True):
    """The session has ended."""

    ended: bool
    """Whether there was one."""


class LoginLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that logs a browser in, once, within ten minutes."""

    url: str
    expires_at: int


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what, when."""

    number: int
    at: int
    node: str
    key: str
    """The key's id."""
    name: str
    """The key's name then."""
    action: str
    """Method and path of the route."""
    about: str
    """The names in the path, or the id of what is new."""
    status: int
    """Of the answer."""
    detail: dict[str, Any] = {}
    """What the request said: its parameters, and of its body what an auditor must know, such as a message's title."""


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, the newest first."""

    entries: list[AuditEntry]
    next: str | None = None
    """The cursor of the next page; None: this is the last."""
