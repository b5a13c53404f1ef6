"""Recognises and normalises browsers' push subscriptions.

A browser gives its subscription as JSON, ``{"endpoint": …, "keys": {"p256dh": …, "auth": …}}`` (W3C Push API). Here it
is one text, ``endpoint#p256dh.auth``: a URL that is asked for has no part behind ``#``. The endpoint alone says which
phone it is; the keys belong to it.
"""

from __future__ import annotations

import binascii
import re
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from transports.errors import TokenError

KINDS = ("token",)
LONGEST = 1_024
"""Characters with the keys. Endpoints seen so far have 190 (Google) to 500 (Microsoft)."""
_AS_IT_COMES = 'as in {"endpoint": "https://…", "keys": {"p256dh": "…", "auth": "…"}}'
_WHOLE = re.compile(r"https://([a-z0-9.-]+(?::[0-9]{1,5})?)(/[!-\"$-~]+)#([A-Za-z0-9_-]{87})\.([A-Za-z0-9_-]{22})")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_URL_SAFE = str.maketrans("-_", "+/")
_TO_URL_SAFE = str.maketrans("+/", "-_", "=")
# The curve P-256 (FIPS 186-4 D.1.2.3)
_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Subscription(NamedTuple):
    """A subscription, read."""

    authority: str
    """Host of the push service, with the port if it has its own."""
    path: str
    """Of the endpoint, with the query."""
    receiver: bytes
    """The browser's public key: 65 octets."""
    secret: bytes
    """The authentication secret: 16 octets."""


def read(text: str) -> Subscription | None:
    """Read a subscription in the form of :func:`token`; None: it has another form, or its key is no point of P-256."""
    found = split(text)
    return found if found is not None and _is_point(found.receiver) else None


def split(text: str) -> Subscription | None:
    """The same, without a look at the key: whoever encrypts with it finds out."""
    whole = _WHOLE.fullmatch(text)
    if whole is None:
        return None
    receiver = binascii.a2b_base64(whole[3].translate(_URL_SAFE) + "=")
    secret = binascii.a2b_base64(whole[4].translate(_URL_SAFE) + "==")
    return Subscription(whole[1], whole[2], receiver, secret)


def _is_point(octets: bytes) -> bool:
    """Whether these are an uncompressed point of the curve (SEC 1 §2.3.4). Loading a key for it would cost 20 times."""
    x, y = int.from_bytes(octets[1:33]), int.from_bytes(octets[33:])
    return octets[0] == 4 and len(octets) == 65 and x < _P and y < _P and (y * y - x * x * x + 3 * x - _B) % _P == 0


def token(kind: str, text: str) -> str:
    """The subscription as one text. Takes this form, and the browser's own JSON. Raises :class:`TokenError`."""
    plain = text.strip()
    if plain.startswith("{"):
        endpoint, p256dh, auth = _of_json(plain)
    else:
        endpoint, hashed, keys = plain.partition("#")
        p256dh, dot, auth = keys.partition(".")
        if not endpoint.startswith(("https://", "http://")):
            raise TokenError("is not a browser's subscription", _AS_IT_COMES)
        if not hashed or not dot:
            what = "is an endpoint without keys: nothing can be encrypted for it"
            raise TokenError(what, f"store the whole subscription, {_AS_IT_COMES}")
    whole = f"{_endpoint(endpoint)}#{_key('p256dh', p256dh, 65)}.{_key('auth', auth, 16)}"
    if len(whole) > LONGEST:
        what = f"has {len(whole)} characters; a subscription has at most {LONGEST}"
        raise TokenError(what, "is the endpoint the browser's own?")
    if (found := read(whole)) is None:
        raise TokenError("has a p256dh that is no point of P-256", "was a character lost on the way?")
    return written(found)


def _of_json(text: str) -> tuple[str, str, str]:
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise TokenError("is not valid JSON", f"give JSON.stringify(subscription), {_AS_IT_COMES}") from None
    keys = given.get("keys") if isinstance(given, dict) else None
    return _text(given, "endpoint"), _text(keys, "p256dh", "keys."), _text(keys, "auth", "keys.")


def _text(members: object, name: str, where: str = "") -> str:
    value = members.get(name) if isinstance(members, dict) else None
    if not isinstance(value, str) or not value:
        raise TokenError(f"has no text at {where}{name}", f"give the whole subscription, {_AS_IT_COMES}")
    return value


def _endpoint(text: str) -> str:
    remedy = "store it as the browser gave it"
    try:
        url = urlsplit(text)
        host, port = (url.hostname or "").lower(), url.port
    except ValueError:
        raise TokenError("has an endpoint that is no URL", remedy) from None
    if url.scheme != "https":
        raise TokenError("has an endpoint that is not https", remedy)
    if not _HOST.fullmatch(host) or url.username is not None or url.password is not None:
        raise TokenError("has an endpoint without a push service's host", remedy)
    if url.fragment or not text.isascii() or not text.isprintable() or " " in text or url.path in ("", "/"):
        raise TokenError("has an endpoint that no push service gives out", remedy)
    query = f"?{url.query}" if url.query else ""
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{url.path}{query}"


def _key(name: str, text: str, size: int) -> str:
    plain = text.translate(_TO_URL_SAFE)
    try:
        octets = binascii.a2b_base64(plain.translate(_URL_SAFE) + "=" * (-len(plain) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        raise TokenError(f"has keys.{name} that is not base64url", "store it as the browser gave it") from None
    if len(octets) != size:
        what = f"has keys.{name} of {len(octets)} octets; it has {size}"
        raise TokenError(what, "are p256dh and auth mixed up, or was one cut off?")
    return plain


def tokens(kind: str, texts: list[str]) -> list[str] | None:
    """Many at once; ``texts`` itself, as nothing changes. None: call :func:`token` for each."""
    if kind not in KINDS or max(map(len, texts), default=0) > LONGEST:
        return None
    return texts if all(map(_is_canonical, texts)) else None


def _is_canonical(text: str) -> bool:
    # one phone has one text: no port that is the scheme's own, no bits behind a key's last octet
    found = read(text)
    return found is not None and not found.authority.endswith(":443") and text == written(found)


def written(subscription: Subscription) -> str:
    """The text of a subscription."""
    keys = [
        binascii.b2a_base64(octets, newline=False).decode().translate(_TO_URL_SAFE)
        for octets in (subscription.receiver, subscription.secret)
    ]
    return f"https://{subscription.authority}{subscription.path}#{'.'.join(keys)}"


_SERVICES = (
    *(["https://fcm.googleapis.com/fcm/send/"] * 9),
    *(["https://updates.push.services.mozilla.com/wpush/v2/"] * 3),
    *(["https://web.push.apple.com/"] * 2),
    "https://wns2-par02p.notify.windows.com/w/?token=",
    "https://wns2-by3p.notify.windows.com/w/?token=",
)
"""Of samples, roughly as browsers are spread."""


def sample(digits: str) -> str:
    """A subscription that belongs to nobody but a twin, which decrypts its pushes: ``digits`` are its private key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256, Hash
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    private = ec.derive_private_key(int(digits, 16) % (ORDER - 1) + 1, ec.SECP256R1())
    receiver = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    secret = Hash(SHA256())
    secret.update(digits.encode())
    service = _SERVICES[int(digits[-1], 16)]
    authority, _, path = service.removeprefix("https://").partition("/")
    return written(Subscription(authority, f"/{path}{digits}", receiver, secret.finalize()[:16]))
