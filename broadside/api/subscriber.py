"""Subscribers as the HTTP API takes and returns them, and the rules that each must keep.

Node and command line share the rules: the import reports a mistake with its line, and the node refuses it from any
other client. As there may be millions of rows, a chunk that is in its stored form is checked as a whole (1 µs a row).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from broadside.api import strict_json
from broadside.api.attributes import reading, texts
from broadside.api.attributes.changes import Change, Changes
from broadside.api.attributes.times import EARLIEST
from broadside.api.bounds import LARGEST_LINE
from broadside.errors import Problem, RecordError, shown

MAX_SUBSCRIBERS = 5_000
"""Subscribers in one answer."""

MAX_TOKEN = 1_024
"""Characters. The longest are browsers' subscriptions: an address of up to 500, and two keys."""

Token = Annotated[str, Meta(min_length=1, max_length=MAX_TOKEN)]
ShortText = Annotated[str, Meta(max_length=64)]


class Subscriber(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One app installation on one device. A file's columns and an API record's keys have these names."""

    id: int | None = None
    """The store's number: written by an export, ignored by an import (so that an export can be imported)."""
    channel: str
    token: Token
    kind: ShortText = "token"
    """The kind of token, one of its platform's."""
    locale: ShortText = ""
    """BCP 47, as in ``pt-BR``; empty: the campaign's default text."""
    tz: ShortText = ""
    """IANA time zone, as in ``Europe/Berlin``."""
    country: Annotated[str, Meta(max_length=2)] = ""
    """ISO 3166 alpha-2, as in ``DE``."""
    app_version: ShortText = ""
    screen: ShortText = ""
    """Screen class or size, as the app reports it."""
    best_minute: Annotated[int, Meta(ge=0, le=1439)] | None = None
    """Minute of the local day at which this person usually looks at the phone."""
    tags: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=100)] = []
    fields: Annotated[dict[ShortText, Annotated[str, Meta(max_length=1024)]], Meta(max_length=50)] = {}
    """For personal texts: ``{"first_name": "Ada"}``."""
    registered_at: int | None = None
    """Milliseconds UTC of the token's last registration; None: now."""
    replaces: Token | None = None
    """The phone's last token on the same channel: its subscriber gets ``token``, and keeps id and attributes."""


_DECODER = msgspec.json.Decoder(Subscriber)
_DECODE = _DECODER.decode

ADVICE = {
    "channel": "a channel's name, as in ios-news",
    "token": f"1 to {MAX_TOKEN} printable characters without blanks",
    "kind": "a kind of token that the channel's platform has, as in token",
    "locale": "a language tag, as in pt-BR",
    "tz": "an IANA time zone, as in Europe/Berlin",
    "country": "two capital letters, as in DE",
    "app_version": "at most 64 printable characters",
    "screen": "at most 64 printable characters",
    "best_minute": "minutes since midnight, 0 to 1439",
    "tags": f'at most 100 texts of 1 to 64 characters without "|", {texts.TAGS_BYTES:,} bytes in all',
    "fields": "an object of at most 50 texts, names to 64 characters, values to 1024, "
    f"{texts.FIELDS_BYTES:,} bytes in all",
    "registered_at": "milliseconds since 1970, UTC, from 2009 to tomorrow",
    "replaces": f"the phone's last token on the same channel, 1 to {MAX_TOKEN} characters, or nothing",
}
"""Field → the remedy of every message about it."""

FIELDS = ("id", *ADVICE)
EXPORTED = tuple(name for name in FIELDS if name != "replaces")
"""What is stored of a subscriber."""
_NAMES = frozenset(FIELDS)

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DAY = 86_400_000
_WORDS = ("locale", "tz", "country", "app_version", "screen")

# Cache of combinations of channel, locale, zone, country, version and screen that are in their stored form. A base has
# few of them, so a row costs one look-up instead of six. Cleared at `_GOOD_MAX`, so that a strange file cannot make it
# a leak.
_good: set[tuple[str, str, str, str, str, str]] = set()
_GOOD_MAX = 50_000


def read_subscriber(record: Mapping[str, object], latest: int) -> tuple[Subscriber, list[Change]]:
    """Read a record, bringing its attributes to their stored form; returns each change as well.

    Raises ``RecordError`` for what identifies a phone: an attribute that cannot be read is dropped instead. Token and
    kind are checked further by their platform (``token_rules``). ``latest``: milliseconds after which a registration
    lies in the future.
    """
    for name in record.keys() - _NAMES:
        raise RecordError(strict_json.unknown(name[:64], name, FIELDS))
    attributes, changes = reading.read(record, latest)
    for name in ("channel", "token", "kind"):
        if (value := record.get(name)) is not None:
            attributes[name] = value.strip(reading.BLANKS) if isinstance(value, str) else value
    if attributes.get("kind") in ("", "token"):
        del attributes["kind"]  # the default
    if (last := reading.tidied(record.get("replaces"))) not in (None, ""):
        attributes["replaces"] = last
    try:
        row = msgspec.convert(attributes, Subscriber)
    except msgspec.ValidationError as error:
        raise RecordError(explain(attributes, error)) from None
    if not _CHANNEL.fullmatch(row.channel):
        raise RecordError(_problem("channel", row.channel))
    return row, changes


def refused(changes: list[Change]) -> Problem | None:
    """Return the problem of the first attribute that was dropped, for who wants no row without it."""
    return next((_problem(change.field, change.given) for change in changes if change.dropped), None)


def is_channel(name: str) -> bool:
    """Whether a channel can have this name."""
    return _CHANNEL.fullmatch(name) is not None


def all_stored_form(rows: list[Subscriber], latest: int) -> bool:
    """Whether ``read_subscriber`` would change nothing in any of ``rows``, at a third of its cost: by columns."""
    if not rows:
        return True
    if any(row.replaces is not None for row in rows):
        return False  # to be checked one by one
    shapes = {(row.channel, row.locale, row.tz, row.country, row.app_version, row.screen) for row in rows}
    for shape in shapes - _good:
        named = zip(_WORDS, shape[1:], strict=True)
        if not (_CHANNEL.fullmatch(shape[0]) and all(reading.is_stored_form(*word) for word in named)):
            return False
    if len(_good) + len(shapes) > _GOOD_MAX:
        _good.clear()
    _good.update(shapes)
    times = [row.registered_at for row in rows if row.registered_at is not None]
    if times and not (min(times) >= EARLIEST and max(times) <= latest):
        return False
    if not all(texts.tags(list(tags)) == (list(tags), []) for tags in {tuple(row.tags) for row in rows if row.tags}):
        return False
    return all(texts.fields(row.fields) == (row.fields, []) for row in rows if row.fields)


def latest_registration() -> int:
    """Return the ``latest`` of :func:`check`: a day from now, because phones' clocks may be wrong."""
    return time.time_ns() // 1_000_000 + _DAY


def decode_lines(lines: Sequence[bytes], changes: Changes, *, strict: bool = False) -> list[Subscriber | Problem]:
    """Decode subscribers as JSON, one each, bring them to the stored form, and count ``changes``.

    ``strict``: refuse what would have to be dropped. Returns for each the subscriber, or the problem with it.
    """
    latest = latest_registration()
    try:
        rows = [_DECODE(line) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        rows = []
    if rows and all_stored_form(rows, latest):
        return [*rows]
    return [_decode_line(line, latest, changes, strict) for line in lines]


def decode_stored_form(lines: bytes) -> list[Subscriber] | None:
    """Decode whole lines at once that all are subscribers in their stored form; else return None.

    ``lines``: each with its end. None also for a blank line, and for one larger than ``LARGEST_LINE``. A line break in
    JSON is never inside of a text. So between two braces it is the end of a record, and no record lies on two lines;
    and with as many records as lines, no two lie on one.
    """
    count = lines.count(b"\n")
    if lines.count(b"}\n{") != count - 1 or not lines.endswith(b"}\n") or _has_long_line(lines):
        return None
    try:
        rows = _DECODER.decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return rows if len(rows) == count and all_stored_form(rows, latest_registration()) else None


def _has_long_line(lines: bytes) -> bool:
    at = 0
    while len(lines) - at > LARGEST_LINE:
        end = lines.rfind(b"\n", at, at + LARGEST_LINE + 1)
        if end < 0:
            return True
        at = end + 1
    return False


def _decode_line(line: bytes, latest: int, changes: Changes, strict: bool) -> Subscriber | Problem:
    try:
        record = strict_json.read(line, "a subscriber")
        if not isinstance(record, dict):
            return no_object(record)
        row, changed = read_subscriber(record, latest)
    except RecordError as error:
        return error.problem
    if strict and (problem := refused(changed)):
        return problem
    changes.add(changed)
    return row


def explain(record: Mapping[str, Any], error: msgspec.ValidationError) -> Problem:
    """Explain msgspec's ``error`` about ``record``."""
    text, _, path = str(error).partition(" - at ")
    if missing := re.search(r"missing required field `(\w+)`", text):
        return Problem(missing[1], "is missing", ADVICE.get(missing[1], ""))
    name = re.search(r"\$\.(\w+)", path)
    field = name[1] if name else "line"
    return _problem(field, record.get(field), f"; {text[:1].lower()}{text[1:]}" if field not in ADVICE else "")


def no_object(value: object) -> Problem:
    """The problem of a record that is not a JSON object."""
    return Problem("line", f"{shown(value)} where an object belongs", 'as in {"channel": "ios-news", "token": "…"}')


def _problem(field: str, value: object, hint: str = "") -> Problem:
    written = shown(value, 40)
    return Problem(field, f"{written} is not valid{hint}", ADVICE.get(field, ""), written)
