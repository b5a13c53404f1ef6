"""Google's token endpoint as a twin plays it: a signed assertion in, an access token out (RFC 7523)."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

import jwt
import msgspec

from simulators.answers import JSON_UTF_8, TwinAnswer
from simulators.issued_tokens import IssuedTokens
from simulators.twin_credentials import TwinServiceAccount

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES: Final = frozenset(
    {"https://www.googleapis.com/auth/firebase.messaging", "https://www.googleapis.com/auth/cloud-platform"}
)
_LIFE: Final = 3600
_SKEW: Final = 300


class TokenEndpoint:
    """Issues access tokens for one service account and recognises them later.

    Args:
        account: the one whose assertions are accepted.
        life: seconds for which an access token is valid.
    """

    def __init__(self, account: TwinServiceAccount, life: int) -> None:
        self._account = account
        self.issued = IssuedTokens("ya29.twin-", life)

    @property
    def email(self) -> str:
        """The service account's address."""
        return self._account.email

    def answer(self, fields: dict[bytes, bytes], body: bytes, now: float) -> tuple[TwinAnswer, str | None]:
        """Judge one request; also return why it was refused, if it was."""
        if fields.get(b":method") != b"POST":
            return _refuse(b"405", "invalid_request", "The token endpoint takes POST only.")
        if not fields.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
            return _refuse(b"400", "invalid_request", "The body must be application/x-www-form-urlencoded.")
        try:
            form = parse_qs(body.decode("ascii"), strict_parsing=True)
        except ValueError:
            return _refuse(b"400", "invalid_request", "The body is not a form.")
        if form.get("grant_type") != [GRANT]:
            return _refuse(b"400", "unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type')}")
        assertions = form.get("assertion", [])
        if len(assertions) != 1:
            return _refuse(b"400", "invalid_request", "Missing required parameter: assertion")
        error = self._judge(assertions[0], now)
        if error is not None:
            return _refuse(b"400", *error)
        return self.issued.grant(now), None

    def _judge(self, assertion: str, now: float) -> tuple[str, str] | None:
        try:
            header = jwt.get_unverified_header(assertion)
            if header.get("alg") != "RS256":
                return "invalid_grant", "Invalid JWT: alg must be RS256."
            if header.get("kid") not in (None, self._account.key_id):
                return "invalid_grant", "Invalid JWT: kid is not a key of this account."
            claims = jwt.decode(
                assertion,
                self._account.key,
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False, "verify_aud": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            return "invalid_grant", "Invalid JWT Signature."
        except jwt.InvalidTokenError as error:
            return "invalid_grant", f"Invalid JWT: {error}"
        if claims.get("iss") != self._account.email:
            return "invalid_grant", "Invalid grant: account not found"
        if claims.get("aud") != self._account.token_uri:
            return "invalid_grant", f"Invalid JWT: aud must be {self._account.token_uri}."
        issued, expires = claims.get("iat"), claims.get("exp")
        if type(issued) is not int or type(expires) is not int:
            return "invalid_grant", "Invalid JWT: iat and exp must be integers (seconds)."
        if issued > now + _SKEW or expires < now or not issued < expires <= issued + _LIFE:
            return "invalid_grant", (
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
        scopes = str(claims.get("scope", "")).split()
        if not scopes or not SCOPES.issuperset(scopes):
            return "invalid_scope", "Invalid OAuth scope or ID token audience provided."
        return None


def _refuse(status: bytes, error: str, description: str) -> tuple[TwinAnswer, str]:
    said = msgspec.json.encode({"error": error, "error_description": description})
    return TwinAnswer(((b":status", status), JSON_UTF_8), said), f"token: {error}"
