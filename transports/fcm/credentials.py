"""Google's access token, fetched with a service account's key and renewed before it expires.

Source: developers.google.com/identity/protocols/oauth2/service-account (RFC 7523).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from transports import credential_entries, foreign
from transports.backoff import Backoff
from transports.errors import ConnectionLost, CredentialsError
from transports.fcm.fields import SERVICE_ACCOUNT
from transports.http1 import post_form
from transports.proxy import Proxy

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
EARLY = 300.0
"""Seconds before its expiry at which a token is replaced."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TIMEOUT = 15.0
_LIFETIME = 3_600
_UNIVERSE = "googleapis.com"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The parts of a service account's JSON file that a grant needs."""

    project_id: str
    email: str
    key_id: str
    token_uri: str
    key: rsa.RSAPrivateKey = field(repr=False)


class _Grant(msgspec.Struct):
    access_token: str
    expires_in: float = 3_599.0


class _Refusal(msgspec.Struct):
    error: str = ""
    error_description: str = ""


class AccessToken:
    """Keeps one valid token ready. Only one task fetches it (:meth:`run`); all others only read it."""

    def __init__(
        self,
        account: ServiceAccount,
        ca: Path | None = None,
        *,
        proxy: Proxy | None = None,
        clock: Callable[[], float] = time.time,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """``ca``: as in ``client_context``. ``clock``: seconds UTC, for the assertion."""
        self.fault: str | None = None
        """Why Google refuses to give a token, in one sentence; None: it does not refuse, or cannot be reached."""
        self.outage: str | None = None
        """Why the token endpoint cannot be reached; None: it can."""
        self.missing_since: float | None = None
        """Since when there is no token that Google accepts, on ``trio.current_time()``; None: there is one."""
        self._account = account
        self._ca = ca
        self._proxy = proxy
        self._clock = clock
        self._backoff = backoff
        self._value = b""
        self._valid = False
        self._closed = False
        self._expired = trio.Event()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"AccessToken({self._account.email!r})"

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

    def close(self) -> None:
        """End every :meth:`wait`, now and later."""
        self._closed = True
        self._notify()

    def renew(self, refused: bytes) -> None:
        """Fetch another token after Google refused ``refused``, unless it has been replaced since."""
        if refused == self._value:
            self._valid = False
            if self.missing_since is None:
                self.missing_since = trio.current_time()
            self._expired.set()

    async def _fetch(self) -> float | None:
        form = {"grant_type": _GRANT, "assertion": self._assertion()}
        try:
            status, body = await post_form(self._account.token_uri, form, self._ca, _TIMEOUT, self._proxy)
        except ConnectionLost as lost:
            self.outage = str(lost)
            return None
        if status == 200:
            try:
                grant = msgspec.json.decode(body, type=_Grant)
            except foreign.UNREADABLE:
                self.outage = f"{self._account.token_uri} answered 200 without a token"
                return None
            if not grant.access_token.isascii() or not grant.access_token.isprintable():
                self.outage = f"{self._account.token_uri} gave a token that no header can carry"
                return None
            self._value = b"Bearer " + grant.access_token.encode("ascii")
            self._valid = True
            self.fault = self.outage = self.missing_since = None
            self._notify()
            return grant.expires_in
        if status in (400, 401, 403):
            self.fault = self._sentence(status, body)
            self._notify()
        else:
            self.outage = f"{self._account.token_uri} answered {status}"
        return None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _assertion(self) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._account.email,
            "scope": SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + _LIFETIME,
        }
        return jwt.encode(claims, self._account.key, algorithm="RS256", headers={"kid": self._account.key_id})

    def _sentence(self, status: int, body: bytes) -> str:
        try:
            refusal = msgspec.json.decode(body, type=_Refusal)
        except foreign.UNREADABLE:
            refusal = _Refusal()
        word = refusal.error or f"HTTP {status}"
        detail = f": {refusal.error_description[:200]}" if refusal.error_description else ""
        return f"Google refuses the service account ({word}{detail}): check its key, and this machine's clock"


def load(credentials: Mapping[str, str]) -> ServiceAccount:
    """Read the file named by ``service_account``. Raises ``CredentialsError`` naming the field and the remedy."""
    (name,) = credential_entries.take(credentials, [SERVICE_ACCOUNT], "FCM")
    where = f"credentials.{SERVICE_ACCOUNT.name}"
    text = credential_entries.read_file(SERVICE_ACCOUNT, name)
    try:
        raw = msgspec.json.decode(text, type=dict[str, object])
    except foreign.UNREADABLE:
        raise CredentialsError(f'{where}: "{name}" is not a JSON object; download it again') from None

    def text_field(key: str) -> str:
        value = raw.get(key)
        if not isinstance(value, str) or not value:
            raise CredentialsError(f'{where}: "{name}" has no {key}; download it again')
        return value

    if raw.get("type") != "service_account":
        raise CredentialsError(f'{where}: "{name}" has type {raw.get("type")!r}; a service_account is needed')
    universe = raw.get("universe_domain", _UNIVERSE)
    if universe != _UNIVERSE:
        remedy = f"FCM exists only in {_UNIVERSE}: take a service account of a project there"
        raise CredentialsError(f'{where}: "{name}" has universe_domain {str(universe)[:60]!r}; {remedy}')
    token_uri = text_field("token_uri")
    if not token_uri.startswith("https://"):
        raise CredentialsError(f'{where}: token_uri "{token_uri}" is not https')
    try:
        # out of an environment variable or a template it often comes with its line ends escaped twice
        key = load_pem_private_key(text_field("private_key").replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        raise CredentialsError(f'{where}: private_key of "{name}" is not a PEM key; download it again') from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CredentialsError(f'{where}: private_key of "{name}" is not an RSA key; download it again')
    return ServiceAccount(
        text_field("project_id"), text_field("client_email"), text_field("private_key_id"), token_uri, key
    )
