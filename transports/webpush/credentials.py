"""VAPID (RFC 8292): the site's key signs, for each push service, who is sending.

A push service takes pushes for a subscription only under the key with which the browser subscribed.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from transports import credential_entries
from transports.errors import CredentialsError
from transports.webpush.fields import KEY, SUBJECT

LIFETIME = 12 * 3_600
"""Seconds. RFC 8292 §2 allows a day; half of it leaves room for wrong clocks."""
RENEW_AFTER = 6 * 3_600
"""Seconds after which a token is replaced; Apple wants it no more often than every hour."""
YOUNGEST = 3_600
"""Seconds: a refused token that is younger is not replaced, because a new one would say the same."""
_KEPT = 256
"""Origins whose tokens are kept, the oldest dropped first."""


class Vapid:
    """The key, and a token for each push service, made when it is first needed."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, subject: str, clock: Callable[[], float] = time.time) -> None:
        """``clock``: seconds UTC."""
        self._key = key
        self._subject = subject
        self._clock = clock
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = base64.urlsafe_b64encode(point).rstrip(b"=").decode()
        """What the subscribing page gives its browser as ``applicationServerKey``."""
        self._made: dict[str, tuple[bytes, float]] = {}

    def __repr__(self) -> str:
        return f"Vapid({self.public!r})"

    def header(self, authority: str) -> bytes:
        """The value of ``authorization`` for a push service, fresh enough to be accepted."""
        now = self._clock()
        value, made_at = self._made.get(authority, (b"", 0.0))
        if not 0 <= now - made_at < RENEW_AFTER:  # too old, or the clock was set back
            value = self._mint(authority, now)
        return value

    def renew(self, authority: str, refused: bytes) -> bool:
        """Replace a token that was refused, if it is old enough that another one may help. Returns whether it did."""
        now = self._clock()
        value, made_at = self._made.get(authority, (b"", 0.0))
        if value == refused and 0 <= now - made_at < YOUNGEST:
            return False
        if value == refused:
            self._mint(authority, now)
        return True

    def _mint(self, authority: str, now: float) -> bytes:
        claims = {"aud": f"https://{authority}", "exp": int(now) + LIFETIME, "sub": self._subject}
        text = jwt.encode(claims, self._key, algorithm="ES256")
        value = f"vapid t={text}, k={self.public}".encode("ascii")
        self._made.pop(authority, None)
        while len(self._made) >= _KEPT:
            del self._made[next(iter(self._made))]
        self._made[authority] = value, now
        return value


def load(credentials: Mapping[str, str]) -> Vapid:
    """Read ``vapid_key`` (a PEM file) and ``subject``. Raises ``CredentialsError``: field, value, and what to do."""
    name, subject = credential_entries.take(credentials, (KEY, SUBJECT), "Web Push")
    try:
        key = load_pem_private_key(credential_entries.read_file(KEY, name), password=None)
    except (ValueError, TypeError):
        # The parser's own message may quote the file, so it is left out.
        remedy = "make one by: openssl ecparam -genkey -name prime256v1 -noout -out vapid.pem"
        raise CredentialsError(f'credentials.{KEY.name}: "{name}" is not a PEM private key; {remedy}') from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CredentialsError(f'credentials.{KEY.name}: "{name}" is not a P-256 key, the only kind that VAPID has')
    return Vapid(key, subject)
