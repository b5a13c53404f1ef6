"""The subscriptions that the twin knows: it has their private keys, and opens what is encrypted for them.

An endpoint of the twin ends in 64 hexadecimal digits. They are the browser's private key, and the SHA-256 of their text
begins with the authentication secret. So the twin keeps nothing, and anybody can make a subscription of it.

Sources: RFC 8291, RFC 8188.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVE: Final = ec.SECP256R1()
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_DIGITS: Final = re.compile(r"[0-9a-f]{64}\Z")
_HEAD: Final = 16 + 4 + 1 + 65


class Unopened(Exception):
    """A body is not what RFC 8291 asks for; the text says why."""


def digits_of(path: str) -> str | None:
    """The digits at the end of an endpoint's path; None: the twin did not give it out."""
    found = _DIGITS.search(path)
    return None if found is None else found[0]


def private_key(digits: str) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A subscription's private key and authentication secret."""
    number = int(digits, 16) % (_ORDER - 1) + 1
    return ec.derive_private_key(number, _CURVE), sha256(digits.encode()).digest()[:16]


def check_form(body: bytes) -> ec.EllipticCurvePublicKey:
    """Check what shows without the receiver's key, and return the sender's key. Raises :class:`Unopened`."""
    if len(body) < _HEAD + 17:
        raise Unopened(f"{len(body)} octets are too few for a header, a delimiter and a tag")
    size, length = int.from_bytes(body[16:20]), body[20]
    if length != 65:
        raise Unopened(f"the key id has {length} octets; an uncompressed P-256 key has 65")
    if len(body) - _HEAD > size:
        raise Unopened(f"more than one record of {size} octets")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, body[21:_HEAD])
    except ValueError:
        raise Unopened("the key id is no point of P-256") from None


def opened(digits: str, body: bytes) -> bytes:
    """Decrypt a push as the browser would. Raises :class:`Unopened`."""
    theirs, salt = check_form(body), body[:16]
    key, secret = private_key(digits)
    ours = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    info = b"WebPush: info\0" + ours + body[21:_HEAD]
    material = _hkdf(secret, 32, info, key.exchange(ec.ECDH(), theirs))
    cipher = AESGCM(_hkdf(salt, 16, b"Content-Encoding: aes128gcm\0", material))
    try:
        record = cipher.decrypt(_hkdf(salt, 12, b"Content-Encoding: nonce\0", material), body[_HEAD:], None)
    except InvalidTag:
        raise Unopened("it is not encrypted for this subscription") from None
    plain = record.rstrip(b"\0")
    if not plain.endswith(b"\x02"):
        raise Unopened("the last record does not end in the delimiter 2")
    return plain[:-1]


def _hkdf(salt: bytes, length: int, info: bytes, material: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(material)
