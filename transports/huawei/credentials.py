"""How Huawei knows us: by an access token for the app's client secret, or by a JWT of a service account.

Sources: developer.huawei.com, "open-platform-oauth" (client credentials) and "push-jwt-token".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from transports import credential_entries
from transports.elapsed import elapsed
from transports.huawei.fields import BY_ACCOUNT, BY_CLIENT, CLIENT_SECRET, HUAWEIS_TOKEN_URI, SERVICE_ACCOUNT
from transports.proxy import Proxy
from transports.token_grants import FormGrant

RENEW_AFTER = 50 * 60
"""Age at which a JWT is replaced, seconds; it is good for an hour."""
_LIFETIME = 3_600
_YOUNG = 60
"""Seconds within which a refused JWT is not replaced by another: it is not its age that is wrong."""


class AccountToken:
    """A service account's JWT (PS256), which is sent as it is."""

    def __init__(
        self,
        key: rsa.RSAPrivateKey,
        key_id: str,
        account: str,
        audience: str = HUAWEIS_TOKEN_URI,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """``account``: the file's ``sub_account``. ``clock``: seconds UTC. ``elapsed``: as ``transports.elapsed``."""
        self._key = key
        self._key_id = key_id
        self._account = account
        self._audience = audience
        self._clock = clock
        self._elapsed = elapsed
        self._value = b""
        self._made_at = 0.0

    def __repr__(self) -> str:
        return f"AccountToken({self._account!r}, key_id={self._key_id!r})"

    @property
    def value(self) -> bytes:
        """Value of ``authorization``, fresh enough to be accepted."""
        if not self._value or self._elapsed() - self._made_at >= RENEW_AFTER:
            now = int(self._clock())
            claims = {"aud": self._audience, "iss": self._account, "iat": now, "exp": now + _LIFETIME}
            text = jwt.encode(claims, self._key, algorithm="PS256", headers={"kid": self._key_id})
            self._value, self._made_at = b"Bearer " + text.encode("ascii"), self._elapsed()
        return self._value

    def renew(self, refused: bytes) -> bool:
        """Replace the JWT after Huawei refused ``refused``. Returns whether there is another one now."""
        if refused == self._value:
            if self._elapsed() - self._made_at < _YOUNG:
                return False
            self._value = b""
        return True


def load_account(credentials: Mapping[str, str]) -> tuple[AccountToken, str]:
    """Read the file named by ``service_account``: the token, and the project id in it (empty: there is none).

    Raises ``CredentialsError`` naming the field and the remedy.
    """
    (name,) = credential_entries.take(credentials, BY_ACCOUNT, "Huawei")
    file = credential_entries.KeyFile(SERVICE_ACCOUNT, name)
    project = file.raw.get("project_id")
    token = AccountToken(file.rsa_key(), file.text("key_id"), file.text("sub_account"))
    return token, project if isinstance(project, str) else ""


def load_client(
    credentials: Mapping[str, str], ca: Path | None = None, proxy: Proxy | None = None
) -> tuple[FormGrant, str]:
    """Read client id and secret: how an access token is asked for, and the form of the API (``v1`` or ``v2``).

    Raises ``CredentialsError`` naming the field and the remedy.
    """
    client_id, file, api, uri = credential_entries.take(credentials, BY_CLIENT, "Huawei")
    secret = credential_entries.read_secret(CLIENT_SECRET, file, "client secret").decode("ascii")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    remedy = "check client_id and client_secret in AppGallery Connect"
    refused = "Huawei refuses the app's credentials"
    stamp = hashlib.sha256(secret.encode()).hexdigest()[:16]
    grant = FormGrant(client_id, uri or HUAWEIS_TOKEN_URI, lambda: form, refused, remedy, ca, proxy, stamp)
    return grant, api or "v1"
