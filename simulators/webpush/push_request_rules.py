"""The rules for a push's header fields, its VAPID token and its content.

Sources: RFC 8030 §5, RFC 8292 §2–4, W3C Push API §3.3 (declarative push message); the reasons are Apple's.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from simulators.answers import Rejection

LIMIT: Final = 4_096
LIFETIME: Final = 86_400
_TOPIC: Final = re.compile(rb"[A-Za-z0-9_-]{1,32}")
_URGENCIES: Final = frozenset((b"very-low", b"low", b"normal", b"high"))
_VAPID: Final = re.compile(r"vapid t=([A-Za-z0-9_.-]+), ?k=([A-Za-z0-9_-]{87})")
_SUBJECT: Final = re.compile(r"mailto:[^\s<>@]+@[^\s<>@]+|https://\S+")


@dataclass(frozen=True, slots=True)
class Signed:
    """A VAPID token that was found good."""

    subject: str
    until: float
    """Seconds UTC."""


def judge_vapid(value: str | None, authority: str, known: ec.EllipticCurvePublicKey, now: float) -> Signed | Rejection:
    """Check the ``authorization`` of a push to this push service. ``known``: the key that browsers subscribed with."""
    match = _VAPID.fullmatch(value or "")
    if match is None:
        return Rejection(401, "BadJwtToken", "authorization is not vapid t=…, k=…")
    try:
        point = base64.urlsafe_b64decode(match[2] + "=")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        claims = jwt.decode(
            match[1], key, algorithms=["ES256"], options={"verify_aud": False, "verify_exp": False, "require": ["exp"]}
        )
    except (binascii.Error, ValueError, jwt.InvalidTokenError) as error:
        return Rejection(403, "BadJwtToken", f"the token does not verify: {error}")
    if key.public_numbers() != known.public_numbers():
        return Rejection(403, "VapidPkHashMismatch", "browsers subscribed with another key")
    if claims.get("aud") != f"https://{authority}":
        return Rejection(403, "BadJwtToken", f"aud is {claims.get('aud')!r}, the push service is https://{authority}")
    until = claims["exp"]
    if not isinstance(until, int) or not now < until <= now + LIFETIME:
        return Rejection(403, "BadJwtToken", f"exp is {until!r}: over, or more than a day away")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        return Rejection(403, "BadJwtToken", f"sub is {subject!r}, no mailto: or https: address")
    return Signed(subject, until)


def judge_fields(fields: dict[bytes, bytes], authority: str) -> Rejection | None:
    """Check what a push says about its delivery."""
    ttl = fields.get(b"ttl", b"")
    if not ttl.isdigit() or int(ttl) >= 2**31:
        return Rejection(400, "BadTtl", f"ttl is {ttl!r}, not a number of seconds")
    if fields.get(b"content-encoding") != b"aes128gcm":
        return Rejection(400, "BadPayload", f"content-encoding is {fields.get(b'content-encoding')!r}, not aes128gcm")
    if (urgency := fields.get(b"urgency")) is not None and urgency not in _URGENCIES:
        return Rejection(400, "BadUrgency", f"urgency is {urgency!r}")
    if (topic := fields.get(b"topic")) is not None and not _TOPIC.fullmatch(topic):
        return Rejection(400, "BadWebPushTopic", f"topic is {topic!r}: 1 to 32 characters of base64url")
    if authority.endswith(".notify.windows.com"):
        policy = fields.get(b"x-wns-cache-policy")
        if policy != (b"no-cache" if int(ttl) == 0 else b"cache"):
            return Rejection(400, "BadTtl", f"x-wns-cache-policy is {policy!r} with a ttl of {int(ttl)}")
    return None


def judge_content(plain: bytes) -> Rejection | dict[str, Any]:
    """Check a decrypted push; returns its notification."""
    try:
        whole = msgspec.json.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Rejection(400, "BadPayload", f"not JSON: {error}")
    if not isinstance(whole, dict) or whole.get("web_push") != 8030:
        return Rejection(400, "BadPayload", "not a declarative push message: web_push is not 8030")
    notification = whole.get("notification")
    if not isinstance(notification, dict):
        return Rejection(400, "BadPayload", "there is no notification")
    title, navigate = notification.get("title"), notification.get("navigate")
    if not isinstance(title, str) or not title:
        return Rejection(400, "BadPayload", "the notification has no title")
    if not isinstance(navigate, str) or not urlsplit(navigate).scheme:
        return Rejection(400, "BadPayload", f"navigate is {navigate!r}, not a URL")
    return notification
