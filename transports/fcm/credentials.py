"""Google's service account, with whose key access tokens are asked for (without a key: ``keyless``).

Source: developers.google.com/identity/protocols/oauth2/service-account (RFC 7523).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from transports import credential_entries
from transports.errors import CredentialsError
from transports.fcm.fields import SERVICE_ACCOUNT
from transports.proxy import Proxy
from transports.token_grants import FormGrant

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
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


def grant(
    account: ServiceAccount,
    ca: Path | None = None,
    proxy: Proxy | None = None,
    clock: Callable[[], float] = time.time,
    scope: str = SCOPE,
) -> FormGrant:
    """Ask for access tokens by a signed assertion of this account.

    ``clock``: seconds UTC, for the assertion; ``scope``: what the tokens are for.
    """

    def form() -> dict[str, str]:
        now = int(clock())
        claims = {
            "iss": account.email,
            "scope": scope,
            "aud": account.token_uri,
            "iat": now,
            "exp": now + _LIFETIME,
        }
        assertion = jwt.encode(claims, account.key, algorithm="RS256", headers={"kid": account.key_id})
        return {"grant_type": _GRANT, "assertion": assertion}

    remedy = "check its key, and this machine's clock"
    refused = "Google refuses the service account"
    return FormGrant(account.email, account.token_uri, form, refused, remedy, ca, proxy, account.key_id)


def load(credentials: Mapping[str, str]) -> ServiceAccount:
    """Read the file named by ``service_account``. Raises ``CredentialsError`` naming the field and the remedy."""
    (name,) = credential_entries.take(credentials, [SERVICE_ACCOUNT], "FCM")
    file = credential_entries.KeyFile(SERVICE_ACCOUNT, name)
    if file.raw.get("type") != "service_account":
        raise file.mistake(f"has type {file.raw.get('type')!r}", "a service_account is needed")
    universe = file.raw.get("universe_domain", _UNIVERSE)
    if universe != _UNIVERSE:
        remedy = f"FCM exists only in {_UNIVERSE}: take a service account of a project there"
        raise file.mistake(f"has universe_domain {str(universe)[:60]!r}", remedy)
    token_uri = file.text("token_uri")
    if not token_uri.startswith("https://"):
        raise CredentialsError(f'credentials.{SERVICE_ACCOUNT.name}: token_uri "{token_uri}" is not https')
    key = file.rsa_key()
    return ServiceAccount(
        file.text("project_id"), file.text("client_email"), file.text("private_key_id"), token_uri, key
    )
