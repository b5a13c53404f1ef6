"""Free texts of a subscriber: version, screen, tags and own fields. Each is bounded in bytes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

SHORT = 64
"""Characters of a short text, a tag, a field's name."""
MAX_TAGS, MAX_FIELDS, MAX_VALUE = 100, 50, 1024
TAGS_BYTES, FIELDS_BYTES = 4 * 1024, 8 * 1024
"""UTF-8 bytes of all of a row's tags, and of its fields' names and values."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, and characters that turn the direction of what follows; not the joiners (U+200C,
U+200D) that Persian and emoji are written with, although Python calls them not printable."""
_JSON = msgspec.json.Decoder(Any)


def harmless(text: str) -> bool:
    """Whether ``text`` can be printed without steering a terminal."""
    return text.isprintable() or not _CONTROL.search(text)


def short(text: str) -> str | None:
    """Return a short text; None: it is too long, or has control characters."""
    return text if len(text) <= SHORT and harmless(text) else None


def tags(value: object) -> tuple[list[str], list[object]]:
    """Return the tags in ``value``, and what is none: an array, an object, the JSON of either, or ``sport|weather``.

    ``{"sport": "1", "team": "Reds"}`` becomes ``sport`` and ``team=Reds``.
    """
    plain = _parsed(value, "[{")
    if isinstance(plain, dict):
        named = [_tag(name, given) for name, given in plain.items() if given not in ("", "0", "false", False, 0, None)]
    elif isinstance(plain, list):
        named = plain
    else:
        named = str(plain).split("|")
    good: list[str] = []
    bad: list[object] = []
    room = TAGS_BYTES
    for tag in named:
        text = tag.strip() if isinstance(tag, str) else tag
        if not text or text in good:
            continue
        fits = isinstance(text, str) and len(text) <= SHORT and "|" not in text and harmless(text)
        if not fits or len(good) >= MAX_TAGS or len(text.encode()) > room:
            bad.append(tag)
        else:
            good.append(text)
            room -= len(text.encode())
    return good, bad


def fields(value: object) -> tuple[dict[str, str], list[object]]:
    """Return the own fields in ``value``, an object or its JSON, and what cannot be one. Numbers become texts."""
    plain = _parsed(value, "{")
    if not isinstance(plain, dict):
        return {}, [value]
    good: dict[str, str] = {}
    bad: list[object] = []
    room = FIELDS_BYTES
    for name, given in plain.items():
        if given is None:
            continue
        text = _text(given)
        size = len(name.encode("utf-8", "replace")) + len((text or "").encode("utf-8", "replace"))
        named = bool(name) and len(name) <= SHORT and harmless(name)
        if text is None or not named or len(text) > MAX_VALUE or len(good) >= MAX_FIELDS or size > room:
            bad.append(f"{name}: {text if text is not None else given}")
        else:
            good[name] = text
            room -= size
    return good, bad


def _tag(name: str, value: object) -> str:
    return name if value in ("1", "true", True, 1) else f"{name}={_text(value) or ''}"


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _parsed(value: object, begins: str) -> object:
    """``value``, or what it says if it is JSON that begins with one of ``begins``."""
    if isinstance(value, str) and value[:1] and value[0] in begins:
        try:
            return _JSON.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return value
    return value
