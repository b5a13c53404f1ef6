"""Google's access token, fetched with a service account's key (or without: ``keyless``) and renewed before it expires.

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
from transports.fcm import grants
from transports.fcm.fields import SERVICE_ACCOUNT
from transports.http1 import post_form
from transports.proxy import Proxy

EARLY = 300.0
"""Seconds before its expiry at which a token is replaced."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
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


class KeyGrant:
    """A signed assertion of a service account, for a token (RFC 7523)."""

    def __init__(
        self,
        account: ServiceAccount,
        ca: Path | None = None,
        proxy: Proxy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``ca``: as in ``client_context``. ``clock``: seconds UTC, for the assertion."""
        self._account = account
        self._ca = ca
        self._proxy = proxy
        self._clock = clock

    @property
    def name(self) -> str:
        """The account's e-mail address."""
        return self._account.email

    async def ask(self) -> grants.Granted:
        """See ``TokenSource``."""
        url = self._account.token_uri
        form = {"grant_type": _GRANT, "assertion": self._assertion()}
        status, body = await post_form(url, form, self._ca, grants.TIMEOUT, self._proxy)
        remedy = "check its key, and this machine's clock"
        return grants.granted(url, grants.read(url, status, body, "the service account", remedy))

    def _assertion(self) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._account.email,
            "scope": grants.SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + _LIFETIME,
        }
        return jwt.encode(claims, self._account.key, algorithm="RS256", headers={"kid": self._account.key_id})


class AccessToken:
    """Keeps one valid token ready. Only one task fetches it (:meth:`run`); all others only read it."""

    def __init__(self, source: grants.TokenSource, *, backoff: Callable[[], Backoff] = Backoff) -> None:
        self.fault: str | None = None
        """Why Google refuses to give a token, in one sentence; None: it does not refuse, or cannot be reached."""
        self.outage: str | None = None
        """Why the token endpoint cannot be reached; None: it can."""
        self.missing_since: float | None = None
        """Since when there is no token that Google accepts, on ``trio.current_time()``; None: there is one."""
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
        try:
            token, seconds = await self._source.ask()
        except ConnectionLost as lost:
            self.outage = str(lost)
            return None
        except grants.GrantRefused as refused:
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
