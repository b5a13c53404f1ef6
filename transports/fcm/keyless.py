"""Access tokens without a key file: from the machine's metadata server, and for another's token (workload identity).

Sources: cloud.google.com/compute/docs/access/authenticate-workloads; RFC 8693; google.aip.dev/auth/4117, which has the
file of type ``external_account``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import msgspec
import trio

from transports import credential_entries, foreign
from transports.errors import ConnectionLost, CredentialsError
from transports.fcm import credentials as keys
from transports.fcm.fields import METADATA_SERVER, SERVICE_ACCOUNT, WORKLOAD_IDENTITY
from transports.http1 import ask
from transports.proxy import Proxy
from transports.token_grants import TIMEOUT, FormGrant, Granted, TokenSource, checked, granted, read

METADATA_HOST = "metadata.google.internal"
"""Every machine of Google Cloud has it; ``GCE_METADATA_HOST`` names another, as for Google's own libraries."""
CLOUD = "https://www.googleapis.com/auth/cloud-platform"
"""What Google's other APIs ask for: its figures of deliveries."""
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - its type
_LONGEST = 16_384
"""Bytes of a subject token."""


class MetadataServer:
    """The identity that Google gives a machine, a pod or a function. Its plain HTTP never leaves the machine."""

    def __init__(self, account: str, scope: str = keys.SCOPE) -> None:
        """``account``: ``default``, or an e-mail address; ``scope``: what the token is for."""
        self._account = account
        host = os.environ.get("GCE_METADATA_HOST") or METADATA_HOST
        path = f"/computeMetadata/v1/instance/service-accounts/{quote(account)}/token"
        self._url = f"http://{host}{path}"
        self._query = f"?scopes={quote(scope, safe='')}"

    @property
    def name(self) -> str:
        """The account's name on this machine."""
        return f"metadata server: {self._account}"

    @property
    def stamp(self) -> str:
        """Empty: there is no secret (``TokenSource``)."""
        return ""

    async def ask(self) -> Granted:
        """See ``TokenSource``."""
        flavor = {"Metadata-Flavor": "Google"}
        status, body = await ask("GET", self._url + self._query, None, TIMEOUT, headers=flavor)
        refused = "Google refuses this machine's identity"
        remedy = "give this machine, or this pod's account, a service account with the role to send"
        return granted(self._url, read(self._url, status, body, refused, remedy, missing=True))


class _Format(msgspec.Struct):
    type: str = "text"
    subject_token_field_name: str = ""


class _CredentialSource(msgspec.Struct):
    file: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    format: _Format = msgspec.field(default_factory=_Format)


class _ExternalAccount(msgspec.Struct):
    type: str
    audience: str = ""
    subject_token_type: str = ""
    token_url: str = ""
    service_account_impersonation_url: str = ""
    credential_source: _CredentialSource = msgspec.field(default_factory=_CredentialSource)


class _Impersonated(msgspec.Struct, rename="camel"):
    """The answer of a service account's ``generateAccessToken``."""

    access_token: str
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """A token of the platform that the node runs on (a Kubernetes service account's), exchanged for one of Google's."""

    account: _ExternalAccount
    ca: Path | None
    proxy: Proxy | None
    clock: Callable[[], float]
    scope: str = keys.SCOPE
    """What the token is for."""

    @property
    def name(self) -> str:
        """Who it is to Google."""
        return self.account.service_account_impersonation_url.rpartition("/")[2] or self.account.audience

    @property
    def stamp(self) -> str:
        """Empty: the secret is read anew for each token (``TokenSource``)."""
        return ""

    async def ask(self) -> Granted:
        """See ``TokenSource``."""
        account, url = self.account, self.account.token_url
        form = {
            "grant_type": _EXCHANGE,
            "audience": account.audience,
            "scope": CLOUD if account.service_account_impersonation_url else self.scope,
            "requested_token_type": _ACCESS_TOKEN,
            "subject_token_type": account.subject_token_type,
            "subject_token": await self._subject_token(),
        }
        refused = "Google refuses the workload's identity"
        remedy = "check the pool's provider, its audience and the attributes that it asks for"
        found = await FormGrant(self.name, url, lambda: form, refused, remedy, self.ca, self.proxy).ask()
        return await self._impersonated(found.token) if account.service_account_impersonation_url else found

    async def _impersonated(self, token: str) -> Granted:
        url = self.account.service_account_impersonation_url
        headers = {"authorization": f"Bearer {token}"}
        wanted = {"scope": [self.scope], "lifetime": "3600s"}
        status, body = await ask("POST", url, self.ca, TIMEOUT, self.proxy, headers, json=wanted)
        refused = "Google refuses to let the workload be its service account"
        remedy = "let the workload's identity be that service account (roles/iam.workloadIdentityUser)"
        good = read(url, status, body, refused, remedy, missing=True)
        try:
            said = msgspec.json.decode(good, type=_Impersonated)
        except foreign.UNREADABLE:
            raise ConnectionLost(f"{url} answered 200 without a token") from None
        return Granted(checked(url, said.access_token), said.expire_time.timestamp() - self.clock())

    async def _subject_token(self) -> str:
        """Read it anew each time: the platform renews it."""
        source = self.account.credential_source
        if source.url:
            status, body = await ask("GET", source.url, None, TIMEOUT, headers=source.headers)
            if status != 200:
                raise ConnectionLost(f"{source.url} answered {status}")
        else:
            try:
                body = await trio.Path(source.file).read_bytes()
            except OSError as error:
                raise ConnectionLost(f"{source.file}: {error.strerror} (the file with the platform's token)") from None
        try:
            text = body[:_LONGEST].decode().strip()
            if source.format.type == "json":
                text = str(msgspec.json.decode(text, type=dict[str, object])[source.format.subject_token_field_name])
        except (*foreign.UNREADABLE, KeyError):
            raise ConnectionLost(f"{source.file or source.url}: holds no token of the form that it should") from None
        return text


def source(
    given: Mapping[str, str],
    ca: Path | None = None,
    proxy: Proxy | None = None,
    clock: Callable[[], float] = time.time,
    scope: str = keys.SCOPE,
) -> tuple[TokenSource, str]:
    """The way that a channel's ``credentials`` name, and the project of their file (empty: it names none).

    ``scope``: what the tokens are for.

    Raises ``CredentialsError`` naming the field and the remedy.
    """
    if METADATA_SERVER.name in given:
        (account,) = credential_entries.take(given, [METADATA_SERVER], "FCM")
        return MetadataServer(account, scope), ""
    if WORKLOAD_IDENTITY.name in given:
        return WorkloadIdentity(_external_account(given), ca, proxy, clock, scope), ""
    found = keys.load(given)
    return keys.grant(found, ca, proxy, clock, scope), found.project_id


def _external_account(given: Mapping[str, str]) -> _ExternalAccount:
    (name,) = credential_entries.take(given, [WORKLOAD_IDENTITY], "FCM")
    where = f'credentials.{WORKLOAD_IDENTITY.name}: "{name}"'
    try:
        found = msgspec.json.decode(credential_entries.read_file(WORKLOAD_IDENTITY, name), type=_ExternalAccount)
    except foreign.UNREADABLE as error:
        raise CredentialsError(f"{where} cannot be read ({error}); make it again with gcloud") from None
    if found.type != "external_account":
        remedy = f"a key of a service account is given as {SERVICE_ACCOUNT.name}"
        raise CredentialsError(f"{where} has type {found.type[:60]!r}, not external_account; {remedy}")
    for field in ("audience", "subject_token_type", "token_url"):
        if not getattr(found, field):
            raise CredentialsError(f"{where} has no {field}; make it again with gcloud")
    for field in ("token_url", "service_account_impersonation_url"):
        url = getattr(found, field)
        if url and not url.startswith("https://"):
            raise CredentialsError(f"{where}: {field} {url[:100]!r} is not https")
    held = found.credential_source
    if not held.file and not held.url:
        remedy = "use one that reads a file or a URL, as for Kubernetes, Azure or OIDC"
        raise CredentialsError(f"{where}: its credential_source has neither file nor url; {remedy}")
    if held.format.type not in ("text", "json"):
        raise CredentialsError(f"{where}: credential_source.format {held.format.type[:60]!r} is neither text nor json")
    return found
