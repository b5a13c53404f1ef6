"""APNs client certificates, made by an authority of the twin's own, with the marks that Apple puts into real ones.

Apple's marks: the bundle id as the subject's UID, one extension for each environment, one that lists the topics.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from simulators.answers import Rejection
from simulators.errors import TwinError

_APPLE: Final = "1.2.840.113635.100.6.3."
_ENVIRONMENTS: Final = {
    "sandbox": x509.ObjectIdentifier(_APPLE + "1"),
    "production": x509.ObjectIdentifier(_APPLE + "2"),
}
_TOPICS: Final = x509.ObjectIdentifier(_APPLE + "6")
_KINDS: Final = {"": "app", ".voip": "voip", ".complication": "complication"}
_SEQUENCE, _UTF8 = 0x30, 0x0C
_CA_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_LIFE: Final = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class PushCertificate:
    """What a client certificate allows."""

    app: str
    """The bundle id: the topic of a request that names none."""
    topics: frozenset[str]
    environments: frozenset[str]


def read_certificate(der: bytes) -> PushCertificate | Rejection:
    """Read the marks of a certificate that TLS has verified; one without them is ``BadCertificate``."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    marks = {
        extension.oid: extension.value.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }
    if len(names) != 1 or _TOPICS not in marks:
        return Rejection(403, "BadCertificate", "the certificate has no bundle id or no list of topics")
    topics = [content.decode() for tag, content in _contents(_unwrapped(marks[_TOPICS])) if tag == _UTF8]
    environments = [name for name, mark in _ENVIRONMENTS.items() if mark in marks]
    return PushCertificate(str(names[0].value), frozenset(topics), frozenset(environments))


def make_authority() -> bytes:
    """Make the authority of client certificates: PEM, key first."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Broadside twins: push certificates")])
    made = _begun(name, name, key, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_CA_USAGE, critical=True)
    return _pem(key, made.sign(key, hashes.SHA256()))


def make_certificate(authority: bytes, app: str, environment: str | None) -> bytes:
    """Make a client certificate for a bundle id: PEM, key first.

    ``environment``: the only one it is good for; None: both.
    """
    signer = serialization.load_pem_private_key(authority, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TwinError("client-ca.pem: not a P-256 key: remove the file; the next start makes another")
    issuer = x509.load_pem_x509_certificate(authority).subject
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, app),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Apple Push Services: {app}"),
        ]
    )
    topics = b"".join(
        _der(_UTF8, (app + suffix).encode()) + _der(_SEQUENCE, _der(_UTF8, kind.encode()))
        for suffix, kind in _KINDS.items()
    )
    made = _begun(subject, issuer, key, signer)
    made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    made = made.add_extension(x509.UnrecognizedExtension(_TOPICS, _der(_SEQUENCE, topics)), critical=False)
    for name, mark in _ENVIRONMENTS.items():
        if environment in (None, name):
            made = made.add_extension(x509.UnrecognizedExtension(mark, b"\x05\x00"), critical=False)
    return _pem(key, made.sign(signer, hashes.SHA256()))


def authority_of(path: Path) -> str:
    """Return only the certificate from an authority's file, for TLS."""
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem + certificate.public_bytes(serialization.Encoding.PEM)


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(length))) + length + content


def _contents(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, content) of each value."""
    at = 0
    while at < len(der):
        tag, size = der[at], der[at + 1]
        at += 2
        if size & 0x80:
            octets = size & 0x7F
            size = int.from_bytes(der[at : at + octets])
            at += octets
        yield tag, der[at : at + size]
        at += size


def _unwrapped(der: bytes) -> bytes:
    return next(_contents(der))[1]
