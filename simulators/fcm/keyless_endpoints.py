"""Google's ways to an access token without a key file, as a twin plays them.

The metadata server of a machine (plain HTTP), the exchange of another platform's token (RFC 8693), and a service
account that the exchanged identity may be.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from simulators.answers import JSON, STATUS, TwinAnswer
from simulators.fcm.token_endpoint import SCOPES, TokenEndpoint

AUDIENCE: Final = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/twins/providers/twin"
_METADATA: Final = "/computeMetadata/v1/instance/service-accounts/"
_FLAVOR: Final = (b"metadata-flavor", b"Google")
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
_CLOUD: Final = "https://www.googleapis.com/auth/cloud-platform"

Judged = tuple[TwinAnswer, str | None]
"""An answer, and why the request was refused, if it was."""


class KeylessEndpoints:
    """Answers requests for access tokens that show no key. ``tokens`` makes and knows them."""

    def __init__(self, tokens: TokenEndpoint, directory: Path, origin: str) -> None:
        """Write ``external-account.json`` and, if it is missing, ``subject-token`` into ``directory``."""
        self._tokens = tokens
        subject = directory / "subject-token"
        self._federated: set[str] = set()
        self._impersonate = f"/v1/projects/-/serviceAccounts/{tokens.email}:generateAccessToken"
        if not subject.exists():
            subject.touch(mode=0o600)
            subject.write_text(f"twin.{secrets.token_urlsafe(24)}\n")
        self._subject = subject.read_text().strip()
        account = {
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": _JWT,
            "token_url": f"{origin}/v1/token",
            "service_account_impersonation_url": origin + self._impersonate,
            "credential_source": {"file": str(subject)},
        }
        self.external_account = directory / "external-account.json"
        self.external_account.write_bytes(msgspec.json.format(msgspec.json.encode(account)))

    def answer(self, fields: dict[bytes, bytes], body: bytes, now: float, plain: bool) -> Judged | None:
        """Judge one request; None: it is for none of these endpoints. ``plain``: it came without TLS."""
        path, _, query = fields.get(b":path", b"").decode(errors="replace").partition("?")
        if plain or path.startswith(_METADATA):
            return self._metadata(fields, path, query, now, plain)
        if path == "/v1/token":
            return self._exchange(body)
        if path == self._impersonate:
            return self._be_the_account(fields, body, now)
        return None

    def _metadata(self, fields: dict[bytes, bytes], path: str, query: str, now: float, plain: bool) -> Judged:
        if fields.get(b"metadata-flavor") != b"Google" or b"x-forwarded-for" in fields:
            return _refuse(403, "metadata: missing Metadata-Flavor: Google")
        accounts = [f"{_METADATA}{name}/token" for name in ("default", self._tokens.email)]
        if not plain or path not in accounts or fields.get(b":method") != b"GET":
            return _refuse(404, f"metadata: {path[:80]} not found")
        if not SCOPES.issuperset(parse_qs(query).get("scopes", [""])[0].split(",")):
            return _refuse(400, "metadata: invalid scopes")
        return _grant(
            {
                "access_token": self._tokens.issued.issue(now),
                "expires_in": self._tokens.issued.life,
                "token_type": "Bearer",
            }
        )

    def _exchange(self, body: bytes) -> Judged:
        form = {name: values[0] for name, values in parse_qs(body.decode("ascii", "replace")).items()}
        wanted = {
            "grant_type": _EXCHANGE, "audience": AUDIENCE, "scope": _CLOUD, "subject_token_type": _JWT,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }  # fmt: skip
        for name, value in wanted.items():
            if form.get(name) != value:
                return _refuse(400, f"invalid_request: {name} must be {value}")
        if form.get("subject_token") != self._subject:
            return _refuse(400, "invalid_grant: the subject token is not one of the provider's")
        token = f"ya29.federated-{secrets.token_urlsafe(24)}"
        self._federated.add(token)
        return _grant({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _be_the_account(self, fields: dict[bytes, bytes], body: bytes, now: float) -> Judged:
        scheme, _, token = fields.get(b"authorization", b"").decode(errors="replace").partition(" ")
        if scheme != "Bearer" or token not in self._federated:
            return _refuse(403, "Permission 'iam.serviceAccounts.getAccessToken' denied", status="PERMISSION_DENIED")
        try:
            scopes = msgspec.json.decode(body, type=dict[str, Any]).get("scope", [])
        except msgspec.DecodeError:
            scopes = []
        if not isinstance(scopes, list) or not scopes or not SCOPES.issuperset(scopes):
            return _refuse(400, "Invalid scope", status="INVALID_ARGUMENT")
        expires = datetime.fromtimestamp(now + self._tokens.issued.life, UTC).isoformat().replace("+00:00", "Z")
        return _grant({"accessToken": self._tokens.issued.issue(now), "expireTime": expires})


def _grant(said: dict[str, Any]) -> Judged:
    return TwinAnswer(((b":status", b"200"), JSON, _FLAVOR), msgspec.json.encode(said)), None


def _refuse(code: int, why: str, *, status: str = "") -> Judged:
    error, _, detail = why.partition(": ")
    said: dict[str, Any] = {"error": error, "error_description": detail}
    if status:
        said = {"error": {"code": code, "message": why, "status": status}}
    return TwinAnswer((STATUS[code], JSON, _FLAVOR), msgspec.json.encode(said)), f"token: {error}"
