"""Ways to an OAuth access token (RFC 6749): each is a :class:`TokenSource`. ``AccessToken`` keeps its token ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from transports import foreign
from transports.errors import ConnectionLost, TransportError
from transports.http1 import post_form
from transports.proxy import Proxy

TIMEOUT = 15.0
"""Seconds for each answer."""


class Granted(NamedTuple):
    """An access token, and the seconds for which it is valid."""

    token: str
    seconds: float


class GrantRefused(TransportError):
    """The provider gives no token, and will not before somebody has changed something; the text says what."""


class TokenSource(Protocol):
    """One way to an access token."""

    @property
    def name(self) -> str:
        """Whose token it is, for people; no secret."""

    @property
    def stamp(self) -> str:
        """Another text for another secret of the same name; no secret."""

    async def ask(self) -> Granted:
        """Fetch a token (``ConnectionLost``: no answer for now; ``GrantRefused``)."""


@dataclass(frozen=True, slots=True)
class FormGrant:
    """A form with our credentials, posted to a token endpoint."""

    name: str
    """Whose token it is, for people; no secret."""
    url: str
    """The token endpoint."""
    form: Callable[[], Mapping[str, str]] = field(repr=False)
    """Makes the form."""
    refused: str
    """The first half of the sentence about a refusal (``Google refuses the service account``)."""
    remedy: str
    """The second half."""
    ca: Path | None = None
    """As in ``client_context``."""
    proxy: Proxy | None = None
    stamp: str = ""
    """See ``TokenSource``."""

    async def ask(self) -> Granted:
        """See ``TokenSource``."""
        status, body = await post_form(self.url, self.form(), self.ca, TIMEOUT, self.proxy)
        return granted(self.url, read(self.url, status, body, self.refused, self.remedy))


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float = 3_599.0


class _Refusal(msgspec.Struct):
    """What an endpoint says instead, in OAuth's form (where Huawei has a number) …"""

    error: str | int = ""
    error_description: str = ""


class _Problem(msgspec.Struct):
    message: str = ""
    status: str = ""


class _ApiRefusal(msgspec.Struct):
    """… or in the form of Google's APIs (AIP-193)."""

    error: _Problem


def read(url: str, status: int, body: bytes, refused: str, remedy: str, *, missing: bool = False) -> bytes:
    """Return the body of a good answer. Raises ``GrantRefused`` and ``ConnectionLost``.

    ``refused``, ``remedy``: the two halves of the sentence about a refusal; ``missing``: whether 404 refuses, too.
    """
    if status == 200:
        return body
    if status in (400, 401, 403) or (missing and status == 404):
        raise GrantRefused(f"{refused} ({_words(status, body)}): {remedy}")
    raise ConnectionLost(f"{url} answered {status}")


def granted(url: str, body: bytes) -> Granted:
    """Read a token endpoint's answer (``ConnectionLost`` if there is no token in it)."""
    try:
        answer = msgspec.json.decode(body, type=_TokenAnswer)
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
        said = msgspec.json.decode(body, type=_Refusal)
        word, detail = said.error, said.error_description
    except foreign.UNREADABLE:
        try:
            problem = msgspec.json.decode(body, type=_ApiRefusal).error
            word, detail = problem.status, problem.message
        except foreign.UNREADABLE:
            word, detail = "", ""
    return f"{word or f'HTTP {status}'}" + (f": {detail[:200]}" if detail else "")
