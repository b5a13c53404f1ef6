"""How FCM's registration tokens and Firebase installation ids are recognised and normalised.

Google promises neither form. That of installation ids is what Google's own SDKs check (firebase-js-sdk,
``VALID_FID_PATTERN``); a registration token has had the same alphabet since there are any.
"""

from __future__ import annotations

import re

from transports.device_tokens import tidied
from transports.errors import TokenError

KINDS = ("token", "fid")
SHORTEST = 64
"""Characters. Those seen have 140 to 190: half of that is another thing, or was cut off."""
LONGEST = 1_024
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:-"
_TOKEN = re.compile(r"[A-Za-z0-9_:-]+")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_FID = re.compile(r"[cdef][A-Za-z0-9_-]{21}")


def token(kind: str, text: str) -> str:
    """The target as it goes into a message. Raises :class:`TokenError`."""
    plain = tidied(text).replace("%3A", ":").replace("%3a", ":")
    if kind == "fid":
        if not _FID.fullmatch(plain):
            what = "is no Firebase installation id: 22 letters, digits, _ and -, the first of them c to f"
            raise TokenError(what, 'is it a registration token? then leave "kind" away')
        return plain
    if kind != "token":
        raise TokenError(f"is a {kind}: FCM has tokens and installation ids (fid)", "write token or fid")
    if _FID.fullmatch(plain):
        raise TokenError("looks like a Firebase installation id", 'say so: "kind" is then fid')
    if not _TOKEN.fullmatch(plain):
        raise TokenError("has characters that FCM's tokens have not (letters, digits, _ : -)", "is the channel right?")
    if not SHORTEST <= len(plain) <= LONGEST:
        what = f"has {len(plain)} characters; FCM's tokens have {SHORTEST} to {LONGEST}"
        raise TokenError(what, "was it cut off on its way?")
    if _HEX.fullmatch(plain):
        raise TokenError("is hexadecimal, as no token of FCM's is", "is the channel right?")
    return plain


def tokens(kind: str, texts: list[str]) -> list[str] | None:
    """Many at once (0.2 µs each); ``texts`` itself, as nothing is changed. None: ask for each of them."""
    joined = "".join(texts)
    if kind not in KINDS or not joined.isascii() or joined.encode().translate(None, _ALPHABET):
        return None
    sizes = set(map(len, texts))
    if kind == "fid":
        good = sizes == {22} and ":" not in joined and {text[0] for text in texts} <= set("cdef")
        return texts if good else None
    # with a colon in it, it is neither hexadecimal nor an installation id
    good = min(sizes) >= SHORTEST and max(sizes) <= LONGEST and not [text for text in texts if ":" not in text]
    return texts if good else None
