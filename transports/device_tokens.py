"""Recognising device tokens, for all platforms: what files add around a token, and which texts are never one."""

from __future__ import annotations

import re
import string

from transports.errors import TokenError

_ROUND = " \t\r\n\v\f\"'\xa0\ufeff\u200b\u2060"
"""Blanks, quotes, and invisible characters."""
_ESCAPED = ("\\n", "\\r", "\\t")
"""Line ends that were escaped once too often."""
_NOTHING = frozenset({"", "null", "none", "nil", "undefined", "nan", "\\n", "n/a", "na", "-", "false", "true", "0"})
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def tidied(text: str) -> str:
    """``text`` without the characters that files add around a token.

    Raises :class:`TokenError` for a text that is no platform's token but is often found where one should be.
    """
    plain = text.strip(_ROUND)
    while plain.endswith(_ESCAPED):
        plain = plain[:-2].rstrip(_ROUND)
    if plain.strip("()<>[]{}").lower() in _NOTHING:
        raise TokenError("is a word for nothing, not a token", "leave such rows out")
    if _UUID.fullmatch(plain):
        raise TokenError("is a UUID: an id of the app's own, not a token", "export the push token instead")
    if plain.startswith(("ExponentPushToken[", "ExpoPushToken[")):
        raise TokenError("is a token of Expo's own service", "export what getDevicePushTokenAsync returns")
    if plain.startswith(("http://", "https://")):
        raise TokenError("is an address, not a token", "is it a browser's subscription, in the wrong channel?")
    return plain


class OpaqueTokens:
    """Recognises the tokens of a provider that promises no form: any text of its characters, and of a likely length."""

    SHORTEST = 16
    """Characters: shorter texts are ids of something else, or were cut off."""
    LONGEST = 1_024
    SURE = 64
    """From this length on, a text of these characters is none of those that :func:`tidied` refuses."""

    def __init__(self, service: str, marks: str) -> None:
        """``service``: for errors; ``marks``: the characters that its tokens have beside letters and digits."""
        self._service = service
        self._marks = marks
        self._form = re.compile(f"[A-Za-z0-9{re.escape(marks)}]+")
        self._alphabet = (string.ascii_letters + string.digits + marks).encode("ascii")

    def token(self, kind: str, text: str) -> str:
        """The token as it goes into a message (``Platform.token``). Raises :class:`TokenError`."""
        plain = tidied(text)
        if kind != "token":
            raise TokenError(f"is a {kind}: {self._service} has only tokens", 'leave "kind" out')
        if not self._form.fullmatch(plain):
            marks = " ".join(self._marks)
            what = f"has characters that no token of {self._service} has (letters, digits, {marks})"
            raise TokenError(what, "is the channel right?")
        if not self.SHORTEST <= len(plain) <= self.LONGEST:
            limits = f"{self.SHORTEST} to {self.LONGEST}"
            raise TokenError(f"has {len(plain)} characters; {self._service}'s tokens have {limits}", "was it cut off?")
        return plain

    def tokens(self, kind: str, texts: list[str]) -> list[str] | None:
        """The same for many at once (``Platform.tokens``): ``texts`` itself, as nothing changes."""
        joined = "".join(texts)
        if kind != "token" or not joined.isascii() or joined.encode().translate(None, self._alphabet):
            return None
        return texts if all(self.SURE <= len(text) <= self.LONGEST for text in texts) else None
