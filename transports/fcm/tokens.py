"""Recognises and normalises FCM's registration tokens and Firebase installation ids.

Google promises neither form. The one of installation ids is what Google's own SDKs check (firebase-js-sdk,
``VALID_FID_PATTERN``); registration tokens have always had the same alphabet.
"""

from __future__ import annotations

import re

from transports.device_tokens import tidied
from transports.errors import TokenError

KINDS = ("token", "fid")
SHORTEST = 64
"""Characters. Tokens seen so far have 140 to 190: a text of half that length is something else, or was cut off."""
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
            what = "is not a Firebase installation id: 22 letters, digits, _ and -, the first of them c to f"
            raise TokenError(what, 'is it a registration token? then leave "kind" out')
        return plain
    if kind != "token":
        raise TokenError(f"is a {kind}: FCM has tokens and installation ids (fid)", "write token or fid")
    if _FID.fullmatch(plain):
        raise TokenError("looks like a Firebase installation id", 'set "kind" to fid')
    if not _TOKEN.fullmatch(plain):
        raise TokenError("has characters that no FCM token has (letters, digits, _ : -)", "is the channel right?")
    if not SHORTEST <= len(plain) <= LONGEST:
        what = f"has {len(plain)} characters; FCM's tokens have {SHORTEST} to {LONGEST}"
        raise TokenError(what, "was it cut off on the way?")
    if _HEX.fullmatch(plain):
        raise TokenError("is hexadecimal, as FCM's tokens never are", "is the channel right?")
    return plain


def tokens(kind: str, texts: list[str]) -> list[str] | None:
    """Many at once (0.2 µs each); ``texts`` itself, as nothing changes. None: call :func:`token` for each."""
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
