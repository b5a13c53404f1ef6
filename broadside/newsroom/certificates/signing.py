"""Signs certificates and checks them, by Ed25519. Needs neither node nor network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from broadside.api.certificate_records import DOMAIN, SIGNATURE, CampaignCertificate, NotCanonical, canonical
from broadside.errors import UsageError

KEY_DIGITS = 16


class Untrue(ValueError):
    """A certificate is not what the key has signed. The text says why."""


def new_key() -> bytes:
    """Return a new private key, 32 octets."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def public_half(private: bytes) -> tuple[str, str]:
    """Return the public half of a private key: its name, and its PEM."""
    public = Ed25519PrivateKey.from_private_bytes(private).public_key()
    return key_name(public), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def key_name(public: Ed25519PublicKey) -> str:
    """Return the name of a key, by which people recognise it."""
    return hashlib.sha256(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:KEY_DIGITS]


def sign(certificate: CampaignCertificate, private: bytes) -> CampaignCertificate:
    """Return a certificate with its key's name and its signature."""
    key = Ed25519PrivateKey.from_private_bytes(private)
    named = msgspec.structs.replace(certificate, key=key_name(key.public_key()))
    signature = key.sign(DOMAIN + canonical(msgspec.to_builtins(named)))
    return msgspec.structs.replace(named, signature=base64.b64encode(signature).decode("ascii"))


def read_public(pem: bytes) -> Ed25519PublicKey:
    """Read a public key's PEM (raises ``UsageError``)."""
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise UsageError(f"the key cannot be read: {error} (`broadside key certificates` prints it)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError("the key is no Ed25519 key (`broadside key certificates` prints the right one)")
    return key


def check(text: bytes, public: Ed25519PublicKey) -> CampaignCertificate:
    """Return a certificate that the key has signed, as it stands in ``text``. Raises :class:`Untrue`."""
    try:
        content = json.loads(
            text, object_pairs_hook=_no_name_twice, parse_float=_no_fraction, parse_constant=_no_fraction
        )
    except (ValueError, RecursionError) as error:
        raise Untrue(f"it is no JSON of a certificate: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get(SIGNATURE), str):
        raise Untrue("it is not signed")
    try:
        public.verify(_signature(content[SIGNATURE]), DOMAIN + canonical(content))
    except (NotCanonical, UnicodeEncodeError, RecursionError) as error:
        raise Untrue(str(error)) from None
    except InvalidSignature:
        if content.get("key") != key_name(public):
            raise Untrue(
                f"it names another key, {str(content.get('key'))[:40]}, than the one given, {key_name(public)}"
            ) from None
        raise Untrue("it was changed after it was signed, or signed by another key") from None
    try:
        found = msgspec.convert(content, CampaignCertificate, strict=True)
    except msgspec.ValidationError as error:
        raise Untrue(f"it is signed, and of a form that this version does not know: {error}") from None
    if found.broadside_certificate != 1:
        raise Untrue(f"it is signed, and of form {found.broadside_certificate}: a newer Broadside reads it")
    return found


def _signature(text: str) -> bytes:
    try:
        found = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Untrue("its signature is no base64") from None
    if base64.b64encode(found).decode("ascii") != text:  # the last letter has bits that mean nothing
        raise Untrue("its signature is not written as it was")
    return found


def _no_name_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_fraction(text: str) -> Any:
    raise ValueError(f"{text} is no whole number")
