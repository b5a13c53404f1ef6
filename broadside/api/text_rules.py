"""The rules of a message's texts: languages, lengths, links, personal fields, and the names of what an app has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from broadside.api.attributes.locales import locale
from broadside.api.bounds import LONGEST_TEXT, LONGEST_URL, url_problem
from broadside.errors import Problem, shown
from campaigns import personal
from campaigns.message import Message, Text

LARGEST_TEXTS = 48 * 1024
"""Bytes of all texts as JSON: sixty languages with a long push each."""
LONGEST_NAME = 64
"""Characters of a sound, a category, a story: Apple's ``thread-id`` and Google's ``tag`` have room for more."""
LARGEST_BADGE = 99_999
LONG, VERY_LONG = 90, 120
"""Characters of a body from which phones may cut it: a warning, never more."""

_SLOT = re.compile(r"[A-Za-z0-9_-]{1,32}")  # the shortest field is Web Push's Topic
_WEB = re.compile(r"https?://", re.IGNORECASE)


def texts_problem(message: Message) -> Problem | None:
    """Find the first field of a message's texts that is not as it must be."""
    size = len(msgspec.json.encode([message.texts, message.platforms]))
    if size > LARGEST_TEXTS:
        return Problem("message.texts", f"have {size:,} bytes", f"at most {LARGEST_TEXTS:,} in all languages")
    if found := personal.without_default(message):
        where, name = found
        remedy = f"write {{{name}|…}} with what somebody without it should read, as in {{first_name|friend}}"
        return Problem(where, f"the field {{{name}}} has no default", remedy, f"{{{name}}}")
    if len(fields := personal.fields(message)) > personal.MOST:
        what = f"has {len(fields)} personal fields"
        return Problem("message", what, f"at most {personal.MOST}: each travels with every push", ", ".join(fields))
    for where, text in _texts(message):
        if problem := _text_problem(where, text):
            return problem
    return _names_problem(message)


def warnings(title: str, body: str) -> list[str]:
    """What an editor should know of a text's length; it blocks nothing."""
    found = []
    for name, text in (("title", title), ("body", body)):
        if len(text) > LONG:
            who = "most phones" if len(text) > VERY_LONG else "small phones"
            found.append(f"the {name} has {len(text)} characters: {who} cut it")
    return found


def _texts(message: Message) -> Iterator[tuple[str, Text]]:
    """Every text but the default one, and where it stands; its locale is the last part."""
    yield from ((f"message.texts.{name}", text) for name, text in message.texts.items())
    for platform, own in message.platforms.items():
        yield f"message.platforms.{platform}", own
        yield from ((f"message.platforms.{platform}.texts.{name}", text) for name, text in own.texts.items())


def _text_problem(where: str, text: Text) -> Problem | None:
    head, _, name = where.rpartition(".texts.")
    if head:
        written = locale(name)
        if written is None:
            return Problem(where[:200], f"{shown(name, 40)} is no language tag", "as in pt-BR, pt, zh-Hant", name[:40])
        if written != name:
            return Problem(where, f"{shown(name, 40)} is not how a language is written here", f"write {written}", name)
        if text == Text():
            return Problem(where, "is empty", "give it a title or a body, or leave it out")
    for part in ("title", "body"):
        if len((getattr(text, part) or "").encode()) > LONGEST_TEXT:
            return Problem(f"{where}.{part}", "is too long", f"at most {LONGEST_TEXT:,} bytes; no platform takes more")
    return _address_problem(f"{where}.url", text.url) or image_problem(f"{where}.image", text.image)


def _address_problem(where: str, url: str | None) -> Problem | None:
    if url is None:
        return None
    if len(url.encode()) > LONGEST_URL:
        return Problem(where, f"has {len(url.encode()):,} bytes", f"at most {LONGEST_URL:,}")
    return url_problem(url, where)


def image_problem(where: str, image: str | None) -> Problem | None:
    """The problem of a picture that no phone could fetch."""
    if image is not None and not _WEB.match(image):
        return Problem(where, f"{shown(image, 60)} is not a picture's address", "write https://…", image[:60])
    return _address_problem(where, image)


def _names_problem(message: Message) -> Problem | None:
    if problem := image_problem("message.image", message.image):
        return problem
    for name in ("sound", "category", "thread"):
        value: str | None = getattr(message, name)
        if value is not None and not 0 < len(value.strip()) <= len(value) <= LONGEST_NAME:
            remedy = f"1 to {LONGEST_NAME} characters; leave it out for the usual"
            return Problem(f"message.{name}", f"{shown(value, 40)} is not a name", remedy, value[:40])
    if message.badge is not None and not 0 <= message.badge <= LARGEST_BADGE:
        what = f"{message.badge} is not a number for an icon"
        return Problem("message.badge", what, f"0 to {LARGEST_BADGE}; 0 removes it", str(message.badge)[:40])
    if message.collapse is not None and not _SLOT.fullmatch(message.collapse):
        what = f"{shown(message.collapse, 40)} is not a slot"
        return Problem("message.collapse", what, "1 to 32 of A-Z a-z 0-9 - _", message.collapse[:40])
    return None
