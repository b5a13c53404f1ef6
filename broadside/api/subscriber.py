"""Subscribers as the HTTP API takes and returns them, and the rules that each must keep.

Node and command line share the rules: the import reports a mistake with its line, and the node refuses it from any
other client. As there may be millions of rows, a chunk is checked as a whole (1 µs a row).
"""

from __future__ import annotations

import re
import time
import zoneinfo
from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.api import strict_json
from broadside.errors import Problem, RecordError, shown

MAX_SUBSCRIBERS = 5_000
"""Rows in one ``POST /api/subscribers``, and in one answer to a ``GET``."""

Token = Annotated[str, Meta(min_length=1, max_length=4096)]
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


ROWS = msgspec.json.Decoder(list[Subscriber])
ROW = msgspec.json.Decoder(Subscriber)

ADVICE = {
    "channel": "a channel's name, as in ios-news",
    "token": "1 to 4096 printable characters without blanks",
    "kind": "a kind of token that the channel's platform has, as in token",
    "locale": "a language tag, as in pt-BR",
    "tz": "an IANA time zone, as in Europe/Berlin",
    "country": "two capital letters, as in DE",
    "app_version": "at most 64 printable characters",
    "screen": "at most 64 printable characters",
    "best_minute": "minutes since midnight, 0 to 1439",
    "tags": 'at most 100 texts of 1 to 64 characters without "|"',
    "fields": "an object of at most 50 texts, names to 64 characters, values to 1024",
    "registered_at": "milliseconds since 1970, UTC",
}
"""Field → the remedy of every message about it."""

FIELDS = ("id", *ADVICE)

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,4}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_ZONES: frozenset[str] = frozenset()
_EARLIEST = 1_230_768_000_000  # 2009: no push service is older
_DAY = 86_400_000

# Cache of valid combinations of channel, locale, zone, country, version and screen. A base has few of them, so a row
# costs one look-up instead of six checks. Cleared at `_GOOD_MAX`, so that a strange file cannot make it a leak.
_good: set[tuple[str, str, str, str, str, str]] = set()
_GOOD_MAX = 50_000


def zones() -> frozenset[str]:
    """Return every IANA zone name known on this machine (read once, 10 ms)."""
    global _ZONES
    if not _ZONES:
        _ZONES = frozenset(zoneinfo.available_timezones())
    return _ZONES


def check(row: Subscriber, latest: int) -> Problem | None:
    """Check what types cannot express, except token and kind, which the platform checks (``token_rules``).

    ``latest``: ms UTC after which a registration is in the future.
    """
    if found := _check_shape(row):
        return found
    if row.registered_at is not None and not _EARLIEST <= row.registered_at <= latest:
        hint = "; this looks like seconds" if 0 < row.registered_at < 10_000_000_000 else ""
        return _problem("registered_at", row.registered_at, hint)
    if row.tags:
        tags = "".join(row.tags)
        if "|" in tags or not tags.isprintable():
            return _problem("tags", next(tag for tag in row.tags if "|" in tag or not tag.isprintable()))
    if row.fields and not all(name.isprintable() and name for name in row.fields):
        return _problem("fields", next(name for name in row.fields if not (name and name.isprintable())))
    return None


def all_good(rows: list[Subscriber], latest: int) -> bool:
    """Whether ``check`` finds nothing in any of ``rows``, at a third of its cost: by columns, not by rows."""
    if not rows:
        return True
    shapes = {(row.channel, row.locale, row.tz, row.country, row.app_version, row.screen): row for row in rows}
    if any(_check_shape(shapes[shape]) for shape in shapes.keys() - _good):
        return False
    if len(_good) + len(shapes) > _GOOD_MAX:
        _good.clear()
    _good.update(shapes)
    times = [row.registered_at for row in rows if row.registered_at is not None]
    if times and not (min(times) >= _EARLIEST and max(times) <= latest):
        return False
    names = "".join([tag for row in rows for tag in row.tags])
    if "|" in names or not names.isprintable():
        return False
    return all(name and name.isprintable() for row in rows if row.fields for name in row.fields)


def latest_registration() -> int:
    """Return the ``latest`` of :func:`check`: a day from now, because phones' clocks may be wrong."""
    return time.time_ns() // 1_000_000 + _DAY


def decode_subscribers(body: bytes) -> list[Subscriber]:
    """Decode and check the body of ``POST /api/subscribers`` (raises ``RecordError`` with index, field and remedy)."""
    try:
        rows = ROWS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _undecodable(body, error) from None
    if len(rows) > MAX_SUBSCRIBERS:
        what = f"{len(rows)} records in one request"
        raise RecordError(Problem("body", what, f"send at most {MAX_SUBSCRIBERS} at a time"))
    latest = latest_registration()
    if not all_good(rows, latest):
        for index, row in enumerate(rows):
            if found := check(row, latest):
                raise RecordError(found, index)
    return rows


def explain(record: object, error: Exception) -> Problem:
    """Explain msgspec's error about ``record`` (its decoded form, or None if it is not JSON)."""
    text, _, path = str(error).partition(" - at ")
    if isinstance(error, UnicodeDecodeError):
        return Problem("line", "is not UTF-8", "save the file as UTF-8")
    if not isinstance(error, msgspec.ValidationError) or record is None:
        return Problem("line", text[:1].lower() + text[1:], "one JSON object a line")
    if not isinstance(record, dict):
        return Problem(
            "line", f"{shown(record)} where an object belongs", 'as in {"channel": "ios-news", "token": "…"}'
        )
    if missing := re.search(r"missing required field `(\w+)`", text):
        return Problem(missing[1], "is missing", ADVICE.get(missing[1], ""))
    if unknown := re.search(r"unknown field `(.*)`", text):
        return strict_json.unknown(unknown[1][:64], unknown[1], FIELDS)
    name = re.search(r"\$(?:\[\d+\])?\.(\w+)", path)
    field = name[1] if name else "line"
    return _problem(field, record.get(field), f"; {text[:1].lower()}{text[1:]}" if field not in ADVICE else "")


def _undecodable(body: bytes, error: Exception) -> RecordError:
    at = re.search(r"\$\[(\d+)\]", str(error))
    index = int(at[1]) if at else None
    try:
        plain = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return RecordError(Problem("body", f"is not JSON: {error}", "send a JSON array of subscribers"))
    if not isinstance(plain, list) or index is None:
        return RecordError(Problem("body", "is not an array", "send a JSON array of subscribers"))
    return RecordError(explain(plain[index], error), index)


def _check_shape(row: Subscriber) -> Problem | None:
    if not _CHANNEL.fullmatch(row.channel):
        return _problem("channel", row.channel)
    if row.locale and not _LOCALE.fullmatch(row.locale):
        return _problem("locale", row.locale)
    if row.tz and row.tz not in zones():
        return _problem("tz", row.tz)
    if row.country and not _COUNTRY.fullmatch(row.country):
        return _problem("country", row.country)
    for name in ("app_version", "screen"):
        if not getattr(row, name).isprintable():
            return _problem(name, getattr(row, name))
    return None


def _problem(field: str, value: object, hint: str = "") -> Problem:
    written = shown(value, 40)
    return Problem(field, f"{written} is not valid{hint}", ADVICE.get(field, ""), written)
