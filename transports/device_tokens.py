"""Recognising device tokens, for all platforms: what files add around a token, and which texts are never one."""

from __future__ import annotations

import re

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
