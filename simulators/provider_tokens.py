"""APNs provider tokens, verified as Apple documents them ("Establishing a token-based connection to APNs")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from simulators.answers import Rejection

_LIFE: Final = 3600
_SKEW: Final = 60
_CACHED: Final = 256


@dataclass(frozen=True, slots=True)
class Verified:
    """A good provider token."""

    token: str
    good_until: float
    """Seconds UTC."""


class TokenVerifier:
    """Checks ``authorization`` headers against the one key that this twin knows.

    Args:
        key: the public half of the ``.p8``.
        key_id: the ``kid`` it goes by.
        team_id: the ``iss`` it belongs to.
    """

    def __init__(self, key: EllipticCurvePublicKey, key_id: str, team_id: str) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._good: dict[str, Verified] = {}

    def verify(self, authorization: str | None, now: float) -> Verified | Rejection:
        """Judge the header's whole value; a good signature is checked once."""
        if authorization is None:
            return Rejection(403, "MissingProviderToken")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return Rejection(403, "MissingProviderToken")
        verified = self._good.get(token)
        if verified is None:
            judged = self._verify(token, now)
            if isinstance(judged, Rejection):
                return judged
            if len(self._good) >= _CACHED:
                self._good.clear()
            verified = self._good[token] = judged
        if now >= verified.good_until:
            return Rejection(403, "ExpiredProviderToken")
        return verified

    def _verify(self, token: str, now: float) -> Verified | Rejection:
        invalid = Rejection(403, "InvalidProviderToken")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") != "ES256" or header.get("kid") != self._key_id:
                return invalid
            # Ages are judged below, by the twin's own clock and Apple's rule: an hour from iat, whatever exp says.
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["ES256"],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError:
            return invalid
        issued = claims.get("iat")
        if claims.get("iss") != self._team_id or isinstance(issued, bool) or not isinstance(issued, int):
            return invalid
        if issued > now + _SKEW:
            return invalid
        return Verified(token, issued + _LIFE)
