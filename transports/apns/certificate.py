"""The client certificate that identifies us to Apple if no signing key is used.

Source: developer.apple.com, "Establishing a certificate-based connection to APNs".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from transports import credential_entries
from transports.apns.fields import CERTIFICATE, SIGNING_KEY
from transports.apns.push_types import PUSH_TYPES, TOKEN_ONLY
from transports.contract import ENVIRONMENT, CredentialField
from transports.errors import CredentialsError

FIELDS = tuple(field.name for field in CERTIFICATE)
_OTHERS = tuple(field.name for field in SIGNING_KEY)
_TOPICS = tuple(map(x509.ObjectIdentifier, ("1.2.840.113635.100.6.3.6", "1.2.840.113635.100.6.3.4")))
_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_TEXTS = (0x0C, 0x13, 0x16)  # UTF8String, PrintableString, IA5String
_SEQUENCE = 0x30


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that has been checked: it fits its key, and is valid now."""

    file: Path
    key_file: Path
    """The same as ``file`` if that holds both."""
    expires: datetime
    topics: Mapping[str, tuple[str, ...]]
    """Topic → kinds of push allowed there, in Apple's words (``app``, ``voip``); empty: the certificate lists none."""

    def objection(self, push_type: str, topic: str) -> str | None:
        """Why pushes of this type may not go to ``topic`` with this certificate; None: they may."""
        if push_type in TOKEN_ONLY:
            return f"Apple takes {push_type} pushes only with a signing key"
        if not self.topics:
            return None
        words = self.topics.get(topic)
        if words is None:
            return f"the certificate is not for the topic {topic}; it is for {', '.join(sorted(self.topics))}"
        word = PUSH_TYPES[push_type].word
        if word and words and word not in words:
            return f"the certificate allows {', '.join(words)} for the topic {topic}, not {word}"
        return None


def load(credentials: Mapping[str, str], clock: Callable[[], float] = time.time) -> Certificate:
    """Read ``certificate`` (PEM, with its key or with ``certificate_key`` beside it). ``clock``: seconds UTC.

    Raises ``CredentialsError`` naming the field, its value and what to do.
    """
    for other in _OTHERS:
        if other in credentials:
            raise CredentialsError(
                f"credentials.{other}: excludes certificate; give key, key_id and team_id, or only a certificate"
            )
    name, own_key = credential_entries.take(credentials, CERTIFICATE, "APNs", ENVIRONMENT)
    chain = _chain(name, credential_entries.read_file(CERTIFICATE[0], name))
    leaf = chain[0]
    _check_dates(name, leaf, datetime.fromtimestamp(clock(), UTC))
    field, key_name = CERTIFICATE[1 if own_key else 0], own_key or name
    key = _key(field, key_name)
    if _public(key.public_key()) != _public(leaf.public_key()):
        raise CredentialsError(
            f'credentials.{field.name}: the key in "{key_name}" does not belong to the certificate in "{name}"; '
            "export both together from the keychain"
        )
    return Certificate(Path(name), Path(key_name), leaf.not_valid_after_utc, _topics(leaf))


def _chain(name: str, content: bytes) -> list[x509.Certificate]:
    pem = f"{Path(name).with_suffix('.pem')}"
    if content.startswith(b"\x30"):
        try:
            x509.load_der_x509_certificate(content)
        except ValueError:
            what, command = "a PKCS#12 file", "openssl pkcs12 -legacy -nodes"
        else:
            what, command = "a DER certificate without its key", "openssl x509 -inform der"
        raise CredentialsError(
            f'credentials.certificate: "{name}" is {what}; convert it to PEM: {command} -in {name} -out {pem}'
        )
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        # The parser's own message may quote the file, so it is left out.
        remedy = f"convert a .p12 to PEM: openssl pkcs12 -legacy -nodes -in X.p12 -out {pem}"
        raise CredentialsError(f'credentials.certificate: "{name}" holds no PEM certificate; {remedy}') from None


def _check_dates(name: str, leaf: x509.Certificate, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        when = f"expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; make a new one at developer.apple.com"
    elif now < leaf.not_valid_before_utc:
        when = f"is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; check this machine's clock"
    else:
        return
    raise CredentialsError(f'credentials.certificate: "{name}" {when}')


def _key(field: CredentialField, name: str) -> PrivateKeyTypes:
    where = f"credentials.{field.name}"
    found = _KEY.search(credential_entries.read_file(field, name))
    if found is None:
        remedy = "add it to the file, or name its own file as certificate_key"
        if field.name == "certificate_key":
            remedy = "name the PEM file that holds it"
        raise CredentialsError(f'{where}: "{name}" holds no private key; {remedy}')
    try:
        return load_pem_private_key(found[0], password=None)
    except (TypeError, ValueError) as error:
        if isinstance(error, TypeError) or b"ENCRYPTED" in found[0]:
            what, remedy = "encrypted", f"remove its password: openssl pkey -in {name} -out KEY.pem"
        else:
            what, remedy = "damaged", "export it from the keychain again"
        raise CredentialsError(f'{where}: the key in "{name}" is {what}; {remedy}') from None


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _topics(leaf: x509.Certificate) -> dict[str, tuple[str, ...]]:
    """Apple's extensions list topics, each with the kinds of push allowed there. An unreadable one forbids nothing."""
    topics: dict[str, tuple[str, ...]] = {}
    try:
        for extension in leaf.extensions:
            if extension.oid in _TOPICS and isinstance(extension.value, x509.UnrecognizedExtension):
                for topic, words in _pairs(extension.value.value):
                    topics[topic] = topics.get(topic, ()) + words
    except ValueError:
        return {}
    return topics


def _pairs(der: bytes) -> Iterator[tuple[str, tuple[str, ...]]]:
    outer = list(_elements(der))
    if len(outer) != 1 or outer[0][0] != _SEQUENCE:
        raise ValueError("not one sequence")
    elements = list(_elements(outer[0][1]))
    if [tag in _TEXTS for tag, _ in elements] != [True, False] * (len(elements) // 2):
        raise ValueError("topics and lists do not alternate")
    for (_, topic), (_, words) in zip(elements[::2], elements[1::2], strict=True):
        yield topic.decode(), tuple(text.decode() for tag, text in _elements(words) if tag in _TEXTS)


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the (tag, content) of each element in ``der``. Raises ``ValueError`` if it is cut short."""
    at = 0
    while at < len(der):
        if at + 2 > len(der):
            raise ValueError("cut short")
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            octets = size & 0x7F
            size, at = int.from_bytes(der[at : at + octets]), at + octets
        if at + size > len(der):
            raise ValueError("cut short")
        yield tag, der[at : at + size]
        at += size
