"""APNs provider tokens, verified as Apple documents them ("Establishing a token-based connection to APNs")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from simulators.answers import Rejection

_LIFE: Final = 3600
_SKEW: Final = 60
_CACHED: Final = 256


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One signing key that Apple has issued."""

    key: EllipticCurvePublicKey
    """The public half of the ``.p8``."""
    key_id: str
    """The ``kid`` it goes by."""
    team_id: str
    """The ``iss`` it belongs to."""
    topics: frozenset[str] = frozenset()
    """Bundle ids it is scoped to; none: all of its team's."""
    environment: str | None = None
    """The only environment it is good for; None: both."""

    def is_related(self, other: ProviderKey) -> bool:
        """Whether both may be used on one connection: the same key, or two keys of one team with one scope."""
        return self.key_id == other.key_id or (
            (self.team_id, self.topics, self.environment) == (other.team_id, other.topics, other.environment)
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """A valid provider token."""

    token: str
    good_until: float
    """Seconds UTC."""
    key: ProviderKey


class TokenVerifier:
    """Checks ``authorization`` headers against the keys that this twin knows.

    Args:
        keys: all of them.
        environment: ``production`` or ``sandbox``: which of Apple's two environments this is.
    """

    def __init__(self, keys: Iterable[ProviderKey], environment: str = "production") -> None:
        self._keys = {key.key_id: key for key in keys}
        self._environment = environment
        self._good: dict[str, Verified] = {}

    def verify(self, authorization: str | None, now: float) -> Verified | Rejection:
        """Judge the header's whole value; a valid signature is checked only once."""
        if authorization is None:
            return Rejection(403, "MissingProviderToken", "no authorization header, and no client certificate")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return Rejection(403, "MissingProviderToken", "authorization is not: bearer <token>")
        verified = self._good.get(token)
        if verified is None:
            judged = self._verify(token, now)
            if isinstance(judged, Rejection):
                return judged
            if len(self._good) >= _CACHED:
                self._good.clear()
            verified = self._good[token] = judged
        if now >= verified.good_until:
            return Rejection(403, "ExpiredProviderToken", f"iat is {now - verified.good_until + _LIFE:.0f} s ago")
        return verified

    def _verify(self, token: str, now: float) -> Verified | Rejection:
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(str(header.get("kid")))
            if header.get("alg") != "ES256" or key is None:
                return _invalid(f"alg {header.get('alg')!r}, kid {header.get('kid')!r}")
            # Ages are judged below, by the twin's own clock and Apple's rule: an hour from iat, whatever exp says.
            claims = jwt.decode(
                token,
                key.key,
                algorithms=["ES256"],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError as error:
            return _invalid(str(error))
        issued = claims.get("iat")
        if claims.get("iss") != key.team_id:
            return _invalid(f"iss {claims.get('iss')!r} is not the team of key {key.key_id}")
        if isinstance(issued, bool) or not isinstance(issued, int) or issued > now + _SKEW:
            return _invalid(f"iat {issued!r} is not a time in the past, in whole seconds")
        if key.environment not in (None, self._environment):
            why = f"key {key.key_id} is for {key.environment} only"
            return Rejection(403, "BadEnvironmentKeyIdInToken", why)
        return Verified(token, issued + _LIFE, key)


def _invalid(why: str) -> Rejection:
    return Rejection(403, "InvalidProviderToken", why)
