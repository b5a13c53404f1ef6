"""What Google gives access tokens for: a signed assertion, an identity of the machine, another's token.

Each way is a :class:`TokenSource`. ``AccessToken`` asks it for the next token and keeps that ready.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from transports import foreign
from transports.errors import ConnectionLost, TransportError

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
TIMEOUT = 15.0
"""Seconds for each answer."""


class Granted(NamedTuple):
    """An access token, and the seconds for which it is valid."""

    token: str
    seconds: float


class GrantRefused(TransportError):
    """Google gives no token, and will not before somebody has changed something; the text says what."""


class TokenSource(Protocol):
    """One way to an access token."""

    @property
    def name(self) -> str:
        """Whose token it is, for people; no secret."""

    async def ask(self) -> Granted:
        """Fetch a token (``ConnectionLost``: no answer for now; ``GrantRefused``)."""


class TokenAnswer(msgspec.Struct):
    """A token endpoint's answer."""

    access_token: str
    expires_in: float = 3_599.0


class TokenRefusal(msgspec.Struct):
    """What it says instead, in OAuth's form …"""

    error: str = ""
    error_description: str = ""


class _Problem(msgspec.Struct):
    message: str = ""
    status: str = ""


class _GoogleRefusal(msgspec.Struct):
    """… or in Google's."""

    error: _Problem


class Impersonated(msgspec.Struct, rename="camel"):
    """The answer of a service account's ``generateAccessToken``."""

    access_token: str
    expire_time: datetime


def read(url: str, status: int, body: bytes, whose: str, remedy: str, *, missing: bool = False) -> bytes:
    """Return the body of a good answer. Raises ``GrantRefused`` and ``ConnectionLost``.

    ``whose``: what is refused; ``remedy``: what to do about it; ``missing``: whether 404 refuses, too.
    """
    if status == 200:
        return body
    if status in (400, 401, 403) or (missing and status == 404):
        raise GrantRefused(f"Google refuses {whose} ({_words(status, body)}): {remedy}")
    raise ConnectionLost(f"{url} answered {status}")


def granted(url: str, body: bytes) -> Granted:
    """Read a token endpoint's answer (``ConnectionLost`` if there is no token in it)."""
    try:
        answer = msgspec.json.decode(body, type=TokenAnswer)
    except foreign.UNREADABLE:
        raise ConnectionLost(f"{url} answered 200 without a token") from None
    return Granted(checked(url, answer.access_token), answer.expires_in)


def checked(url: str, token: str) -> str:
    """The token, if a header can carry it (``ConnectionLost``)."""
    if not token.isascii() or not token.isprintable():
        raise ConnectionLost(f"{url} gave a token that no header can carry")
    return token


def _words(status: int, body: bytes) -> str:
    try:
        said = msgspec.json.decode(body, type=TokenRefusal)
        word, detail = said.error or f"HTTP {status}", said.error_description
    except foreign.UNREADABLE:
        try:
            problem = msgspec.json.decode(body, type=_GoogleRefusal).error
            word, detail = problem.status or f"HTTP {status}", problem.message
        except foreign.UNREADABLE:
            word, detail = f"HTTP {status}", ""
    return word + (f": {detail[:200]}" if detail else "")
