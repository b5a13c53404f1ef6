"""The provider token that identifies us to Apple if no certificate is used.

Source: developer.apple.com, "Establishing a token-based connection to APNs".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from transports import credential_entries
from transports.apns.fields import SIGNING_KEY
from transports.contract import ENVIRONMENT, SharedText
from transports.elapsed import elapsed
from transports.errors import CredentialsError

RENEW_AFTER = 40 * 60
"""Age at which a token is replaced, seconds. Apple refuses tokens older than 60 minutes, and changes within 20."""
SHARED_RENEW_AFTER = 50 * 60
"""The same for a token from another process, which has ten minutes to send the next one."""
_MIN_AGE = 20 * 60
_CLOCK_SKEW = 60


class ProviderToken:
    """ES256 JWT (RFC 7519) of one signing key. Renewing it disturbs no connection: requests carry the new text.

    The text holds the wall clock's time, because Apple asks for it; its age is measured by :func:`elapsed`. So a good
    token stays in use when somebody sets the clock wrong, and is not replaced by one that Apple would refuse.
    """

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        key_id: str,
        team_id: str,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed,
    ) -> None:
        """``clock``: seconds UTC. ``elapsed``: see the function of this name."""
        self.key_id = key_id
        self.team_id = team_id
        self._key = key
        self._clock = clock
        self._elapsed = elapsed
        self._value = b""
        self._issued_at = 0
        self._made_at = 0.0
        self._renew_after = RENEW_AFTER
        self._previous: tuple[bytes, int, float] | None = None

    def __repr__(self) -> str:
        return f"ProviderToken(key_id={self.key_id!r}, team_id={self.team_id!r})"

    def header(self) -> bytes:
        """Value of ``authorization``, fresh enough to be accepted."""
        if not self._value or self._elapsed() - self._made_at >= self._renew_after:
            self._mint()
        return self._value

    @property
    def name(self) -> str:
        """The same for all channels of one key (``SharedCredential.name``)."""
        public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"apns {self.team_id} {self.key_id} {hashlib.sha256(public).hexdigest()[:16]}"

    def current(self) -> SharedText:
        """Return the token for the other processes, a new one if the last is too old."""
        return SharedText(self.header().removeprefix(b"bearer ").decode(), self._issued_at, self._made_at)

    def set_token(self, token: SharedText) -> None:
        """Use a token minted elsewhere (as ``current`` returns it), so that all processes show Apple the same one."""
        value = b"bearer " + token.text.encode("ascii")
        if value != self._value:
            self._replace(value, token.issued_at, token.made_at, SHARED_RENEW_AFTER)

    def renew(self, refused: bytes) -> None:
        """Replace the token if Apple called the header value ``refused`` expired, unless it was replaced since."""
        if refused == self._value:
            self._mint()
            self._previous = None  # never go back to a refused token

    def renew_if_misdated(self, refused: bytes) -> bool:
        """Replace a token that Apple called invalid if the clock was wrong when it was made, and has been set since.

        Returns whether there is a different token now.
        """
        ahead = self._issued_at - self._made_at - (self._clock() - self._elapsed())
        if abs(ahead) > _CLOCK_SKEW:
            self.renew(refused)
        return refused != self._value

    def keep_previous(self) -> None:
        """Go back to the previous token while it is valid: Apple found the change too soon."""
        if self._previous is not None and self._elapsed() - self._previous[2] < SHARED_RENEW_AFTER:
            self._value, self._issued_at, self._made_at = self._previous
            self._renew_after = SHARED_RENEW_AFTER
            self._previous = None

    def _mint(self) -> None:
        issued_at = int(self._clock())
        claims = {"iss": self.team_id, "iat": issued_at}
        text = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.key_id})
        self._replace(b"bearer " + text.encode("ascii"), issued_at, self._elapsed(), RENEW_AFTER)

    def _replace(self, value: bytes, issued_at: int, made_at: float, renew_after: int) -> None:
        young = self._value and self._elapsed() - self._made_at < _MIN_AGE
        self._previous = (self._value, self._issued_at, self._made_at) if young else None
        self._value = value
        self._issued_at = issued_at
        self._made_at = made_at
        self._renew_after = renew_after


def load(credentials: Mapping[str, str]) -> ProviderToken:
    """Read ``key`` (file of the .p8), ``key_id`` and ``team_id``.

    Raises ``CredentialsError`` naming the field, its value and what to do.
    """
    key, key_id, team_id = credential_entries.take(credentials, SIGNING_KEY, "APNs", ENVIRONMENT)
    return ProviderToken(_load_key(key), key_id, team_id)


def _load_key(name: str) -> ec.EllipticCurvePrivateKey:
    pem = credential_entries.read_file(SIGNING_KEY[0], name)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        # The parser's own message may quote the file, so it is left out.
        raise CredentialsError(f'credentials.key: "{name}" is not a PEM private key; use the .p8 as it came') from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CredentialsError(f'credentials.key: "{name}" is not a P-256 key; use the .p8 file from Apple')
    return key
