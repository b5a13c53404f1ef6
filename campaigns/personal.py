"""Personal fields of a text: ``{first_name|friend}`` is a subscriber's own first name, or *friend* without one.

A field is a name and a default, nothing more. Braces of any other form are text. A value is put into the finished
JSON, escaped; a value that is empty, or longer than :data:`LONGEST`, counts as none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from campaigns.message import Message

LONGEST = 128
"""Bytes of a value in JSON: 128 Latin letters, 42 Chinese ones, 32 emoji. A longer one is no name."""
MOST = 8
"""Fields in one campaign: each travels with every recipient."""

_FIELD = re.compile(r"\{([^\W\d]\w{0,63})\|([^{}|]*)\}")
_BARE = re.compile(r"\{([^\W\d]\w{0,63})\}")
# Control characters are refused in texts, so these stand in none; JSON writes them as \u0001 and \u0002.
_MARK = re.compile(rb"\\u0001(\d+)\\u0002")
_encode = msgspec.json.Encoder().encode


def fields(message: Message) -> tuple[str, ...]:
    """The names of all fields in all texts, sorted: in this order a recipient carries its values."""
    return tuple(sorted({found[1] for _, text in _texts(message) if "{" in text for found in _FIELD.finditer(text)}))


def without_default(message: Message) -> tuple[str, str] | None:
    """Find a field that has no default: (where it stands, its name)."""
    for where, text in _texts(message):
        if found := _BARE.search(text):
            return where, found[1]
    return None


def values(names: Sequence[str], own: Mapping[str, str]) -> tuple[str, ...]:
    """A recipient's values for these fields, from the fields of its subscriber; empty: it has none."""
    return tuple(own.get(name, "") for name in names)


def at_longest(message: Message) -> Message:
    """The message (of one text) with every field as long as it can become."""
    return _replaced(message, lambda name, default: "x" * max(LONGEST, _size(default)))


def with_defaults(message: Message) -> Message:
    """The message (of one text) as it is for somebody without any of its fields."""
    return _replaced(message, lambda name, default: default)


class Blanks(NamedTuple):
    """Finished JSON with a gap for each personal field: what stands between the gaps, and what they take."""

    pieces: tuple[bytes, ...]
    """One more than there are gaps."""
    gaps: tuple[tuple[int, bytes], ...]
    """(position among the recipient's values, the default)."""

    def filled(self, own: Sequence[str]) -> bytes:
        """The JSON for a recipient with these values."""
        parts = [self.pieces[0]]
        for (index, default), piece in zip(self.gaps, self.pieces[1:], strict=True):
            parts += (_written(own[index], default) if index < len(own) else default, piece)
        return b"".join(parts)


class Marked(NamedTuple):
    """A message (of one text) whose fields are marked, to be rendered as any other."""

    message: Message
    gaps: tuple[tuple[int, bytes], ...]
    """By the number of their mark."""

    def cut(self, rendered: bytes) -> Blanks:
        """Cut what was rendered of it at the marks. A mark may stand in it several times, or nowhere."""
        pieces = _MARK.split(rendered)
        return Blanks(tuple(pieces[::2]), tuple(self.gaps[int(mark)] for mark in pieces[1::2]))


def marked(message: Message, names: Sequence[str]) -> Marked | None:
    """Mark the fields of a message (of one text); None: it has none. ``names``: all fields of the campaign."""
    gaps: list[tuple[int, bytes]] = []

    def mark(name: str, default: str) -> str:
        gaps.append((names.index(name), _encode(default)[1:-1]))
        return f"\x01{len(gaps) - 1}\x02"

    found = _replaced(message, mark)
    return Marked(found, tuple(gaps)) if gaps else None


def _written(value: str, default: bytes) -> bytes:
    """A value as it stands inside a JSON text."""
    if not value or value.isspace():
        return default
    written = _encode(value)[1:-1]
    return written if len(written) <= LONGEST else default


def _size(text: str) -> int:
    return len(_encode(text)) - 2


def _replaced(message: Message, by: Callable[[str, str], str]) -> Message:
    if "{" not in message.title and "{" not in message.body:
        return message
    title, body = (_FIELD.sub(lambda found: by(found[1], found[2]), text) for text in (message.title, message.body))
    return replace(message, title=title, body=body)


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Every title and body, and where it stands."""
    places: list[tuple[str, str | None, str | None]] = [("message", message.title, message.body)]
    places += [(f"message.texts.{locale}", text.title, text.body) for locale, text in message.texts.items()]
    for platform, own in message.platforms.items():
        where = f"message.platforms.{platform}"
        places.append((where, own.title, own.body))
        places += [(f"{where}.texts.{locale}", text.title, text.body) for locale, text in own.texts.items()]
    for where, title, body in places:
        yield f"{where}.title", title or ""
        yield f"{where}.body", body or ""
