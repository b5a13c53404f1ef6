"""Recognises and normalises APNs device tokens: hexadecimal, in lower case.

Source: developer.apple.com, "Registering your app with APNs" (the token's size is not promised) and "Sending
notification requests to APNs" (``/3/device/<hexadecimal token>``).
"""

from __future__ import annotations

import re

from transports.device_tokens import tidied
from transports.errors import TokenError

KINDS = ("token",)
SHORTEST = 64
"""Digits. Apple promises no size, but no token was ever shorter than 32 bytes: a shorter one was cut off."""
LONGEST = 1_024
"""Digits. Tokens of Live Activities have some hundred bytes; a longer text is not a token."""
_HEX = re.compile(r"[0-9a-f]+")


def token(kind: str, text: str) -> str:
    """The token as it goes into a request's path. Raises :class:`TokenError`."""
    if kind not in KINDS:
        raise TokenError(f"is a {kind}: Apple has only device tokens", 'leave "kind" out, or is the channel right?')
    plain = tidied(text).lower()
    if plain.startswith("{length"):
        what = "is how iOS 13 and later describe a token: its middle is missing"
        raise TokenError(what, "let the app write the token's bytes in hexadecimal")
    # <8b0e7153 bf7c3706 ...> is how older systems describe a token: nothing is missing
    plain = "".join(plain.removeprefix("<").removesuffix(">").split())
    if not _HEX.fullmatch(plain):
        raise TokenError("is not hexadecimal, as Apple's tokens are", "is the channel right?")
    if not SHORTEST <= len(plain) <= LONGEST or len(plain) % 2:
        what = f"has {len(plain)} digits; Apple's tokens have an even number from {SHORTEST} to {LONGEST}"
        raise TokenError(what, "was it cut off on the way?")
    return plain


def tokens(kind: str, texts: list[str]) -> list[str] | None:
    """Many at once (0.15 µs each); ``texts`` itself if nothing changes. None: call :func:`token` for each."""
    sizes = set(map(len, texts))
    if kind not in KINDS or not all(SHORTEST <= size <= LONGEST and not size % 2 for size in sizes):
        return None
    digits = "".join(texts)
    try:
        if len(bytes.fromhex(digits)) * 2 != len(digits):  # fromhex skips blanks
            return None
    except ValueError:
        return None
    lower = digits.lower()
    return texts if lower == digits else [text.lower() for text in texts]
