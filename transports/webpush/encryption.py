"""Encrypts a push for one browser: RFC 8291 (Message Encryption for Web Push), on RFC 8188's ``aes128gcm``.

Each push has an ephemeral key of its own, as RFC 8291 §3.1 says. One for a whole batch would save a quarter of the time
or more (docs/adr/0048), and let whoever reads it in our memory read everybody's push.
"""

from __future__ import annotations

import os
from hmac import digest

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LIMIT = 4_096
"""Octets of a body that every push service must take (RFC 8030 §7.2)."""
OVERHEAD = 86 + 1 + 16
"""Octets that encryption adds: the header with our public key, the delimiter, the authentication tag."""
LONGEST = LIMIT - OVERHEAD
"""Octets of a plaintext: 3,993."""
STEP = 128
"""Octets. Plaintexts are filled up to a multiple of it, so that their size says little, and so that the bodies of one
campaign have few sizes."""
_CURVE = ec.SECP256R1()
_ECDH = ec.ECDH()
_RECORD = LIMIT.to_bytes(4) + bytes([65])
"""Record size, and the length of the key that follows (RFC 8188 §2.1)."""
_KEY_INFO = b"Content-Encoding: aes128gcm\0\x01"
_NONCE_INFO = b"Content-Encoding: nonce\0\x01"


def padded(plaintext: bytes) -> bytes:
    """A plaintext with its delimiter, filled up (RFC 8188 §2)."""
    size = min(LONGEST, -(-len(plaintext) // STEP) * STEP)
    return plaintext + b"\x02" + bytes(size - len(plaintext))


def encrypted(record: bytes, receiver: bytes, secret: bytes) -> bytes:
    """Return the body. ``record``: of :func:`padded`; ``receiver`` and ``secret``: the subscription's keys."""
    return seal(record, receiver, secret, ec.generate_private_key(_CURVE), os.urandom(16))


def seal(record: bytes, receiver: bytes, secret: bytes, ephemeral: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The same with a given key and salt: each pair must be used for one push only."""
    ours = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = ephemeral.exchange(_ECDH, ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, receiver))
    material = digest(digest(secret, shared, "sha256"), b"WebPush: info\0" + receiver + ours + b"\x01", "sha256")
    key = digest(salt, material, "sha256")
    cipher = AESGCM(digest(key, _KEY_INFO, "sha256")[:16])
    return salt + _RECORD + ours + cipher.encrypt(digest(key, _NONCE_INFO, "sha256")[:12], record, None)
