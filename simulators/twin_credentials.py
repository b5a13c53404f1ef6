"""The throw-away credentials of a twin: a certificate authority, a server certificate, and the keys a client needs.

They are made once per directory and kept, so that a client's configuration stays valid over restarts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from simulators import push_certificates
from simulators.errors import TwinError

KEY_ID: Final = "TWIN000001"
TEAM_ID: Final = "TWINTEAM01"
PROJECT: Final = "twin-project"
_SERVICE_ACCOUNT_KEY_ID: Final = "7477696e"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the files are."""

    directory: Path
    ca: Path
    """The authority's certificate: what a client trusts."""
    server: Path
    """The server's key and certificate chain."""
    apns_key: Path
    """PKCS#8 P-256, as Apple issues it."""
    service_account: Path
    """As Google issues it."""
    client_ca: Path
    """The authority of client certificates, with its key; made together with the first certificate."""


def ensure_credentials(directory: Path) -> Credentials:
    """Make what is missing in ``directory`` (0700, files 0600). Several twins may do so at once."""
    directory = directory.absolute()
    made = Credentials(
        directory,
        directory / "ca.pem",
        directory / "server.pem",
        directory / f"AuthKey_{KEY_ID}.p8",
        directory / "service-account.json",
        directory / "client-ca.pem",
    )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(directory):
            # ca.pem is written last: if it exists, so does its server certificate.
            if not made.ca.exists() or not made.server.exists():
                _make_authority(made)
            if not made.apns_key.exists():
                _replace(made.apns_key, _pkcs8(ec.generate_private_key(ec.SECP256R1())))
            if not made.service_account.exists():
                _write_service_account(made, PROJECT, "https://localhost/token", _pkcs8(_rsa_key()))
    except OSError as error:
        raise TwinError(f"twin directory {directory}: {error.strerror}: name one that can be written") from None
    return made


def ensure_apns_key(credentials: Credentials, key_id: str) -> Path:
    """Make ``AuthKey_<key_id>.p8`` if it is missing."""
    path = credentials.directory / f"AuthKey_{key_id}.p8"
    with _locked(credentials.directory):
        if not path.exists():
            _replace(path, _pkcs8(ec.generate_private_key(ec.SECP256R1())))
    return path


def ensure_vapid_key(credentials: Credentials) -> Path:
    """Make ``vapid.pem``, a site's key for Web Push, if it is missing."""
    path = credentials.directory / "vapid.pem"
    with _locked(credentials.directory):
        if not path.exists():
            _replace(path, _pkcs8(ec.generate_private_key(ec.SECP256R1())))
    return path


def ensure_secret(credentials: Credentials, name: str) -> Path:
    """Make a file with a random text, as a provider's console shows one, if it is missing."""
    path = credentials.directory / name
    with _locked(credentials.directory):
        if not path.exists():
            _replace(path, secrets.token_urlsafe(48).encode())
    return path


def ensure_account(credentials: Credentials, name: str, entries: Mapping[str, str]) -> tuple[Path, rsa.RSAPublicKey]:
    """Make a service account's JSON file with these entries and a key, which is kept if the file is there."""
    path = credentials.directory / name
    with _locked(credentials.directory):
        held = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
        pem = held.get("private_key", "").encode() or _pkcs8(_rsa_key())
        _replace(path, msgspec.json.format(msgspec.json.encode({**entries, "private_key": pem.decode()})))
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TwinError(f"{path}: not an RSA key: remove the file; the next start makes another")
    return path, key.public_key()


def ensure_certificate(credentials: Credentials, app: str, environment: str | None) -> Path:
    """Make the client certificate of a bundle id (key and certificate in one file) if it is missing, and its authority.

    ``environment``: the only one it is good for; None: both.
    """
    suffix = "" if environment is None else f"_{environment}"
    path = credentials.directory / f"certificate_{app}{suffix}.pem"
    with _locked(credentials.directory):
        if not credentials.client_ca.exists():
            _replace(credentials.client_ca, push_certificates.make_authority())
            path.unlink(missing_ok=True)
        if not path.exists():
            made = push_certificates.make_certificate(credentials.client_ca.read_bytes(), app, environment)
            _replace(path, made)
    return path


def read_p256_key(path: Path) -> ec.EllipticCurvePublicKey:
    """The public half of a key that signs tokens."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TwinError(f"{path}: not a P-256 key: remove the file; the next start makes another")
    return key.public_key()


@dataclass(frozen=True, slots=True)
class TwinServiceAccount:
    """What the token endpoint knows about its only customer."""

    project: str
    email: str
    key_id: str
    key: rsa.RSAPublicKey
    token_uri: str


def publish_service_account(credentials: Credentials, project: str, token_uri: str) -> TwinServiceAccount:
    """Write this twin's address into ``service-account.json`` (atomically; the key stays) and return its contents."""
    with _locked(credentials.directory):
        try:
            held = msgspec.json.decode(credentials.service_account.read_bytes(), type=dict[str, str])
            pem = held["private_key"].encode()
            key = serialization.load_pem_private_key(pem, None)
        except (msgspec.DecodeError, KeyError, ValueError):
            raise TwinError(
                f"{credentials.service_account}: not a service account: remove the file; the next start makes another"
            ) from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TwinError(f"{credentials.service_account}: not an RSA key: remove the file")
        written = _write_service_account(credentials, project, token_uri, pem)
    return TwinServiceAccount(project, written["client_email"], written["private_key_id"], key.public_key(), token_uri)


def _write_service_account(credentials: Credentials, project: str, token_uri: str, pem: bytes) -> dict[str, str]:
    origin = token_uri.removesuffix("/token")
    written = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": _SERVICE_ACCOUNT_KEY_ID,
        "private_key": pem.decode(),
        "client_email": f"twin@{project}.iam.gserviceaccount.com",
        "client_id": "100000000000000000001",
        "auth_uri": f"{origin}/auth",
        "token_uri": token_uri,
        "universe_domain": "googleapis.com",
    }
    _replace(credentials.service_account, msgspec.json.format(msgspec.json.encode(written)))
    return written


def _make_authority(made: Credentials) -> None:
    authority = trustme.CA(organization_name="Broadside twins", organization_unit_name="throw-away")
    server = authority.issue_cert("localhost", "127.0.0.1")
    made.ca.unlink(missing_ok=True)
    _replace(made.server, server.private_key_and_cert_chain_pem.bytes())
    _replace(made.ca, authority.cert_pem.bytes())


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pkcs8(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes) -> None:
    """Write a private file so that a reader sees either the old one or the whole new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(content)
    draft.replace(path)
