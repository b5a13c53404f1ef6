"""Reads ``[kinds.NAME]``: the newsroom's own kinds of news, and changes of the built-in ones."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from broadside.config.strict_toml import Reader
from broadside.config.tarantool import NAME, NAME_RULE
from broadside.errors import shown
from campaigns.duration import EXAMPLES, parse_duration
from campaigns.kind import BUILT_IN, USUAL, Kind
from campaigns.lane import Lane
from campaigns.message import Urgency
from campaigns.quiet_hours import OFF, read_hours
from campaigns.windows import QuietRule

LONGEST_TTL = 30 * 86400
"""Seconds: as long as a request may ask for."""
_WORDS: dict[str, tuple[str, ...]] = {
    "lane": ("upper", "middle", "lower"),
    "quiet": tuple(rule.value for rule in QuietRule),
    "urgency": get_args(Urgency),
}


class _Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table as it is written. A key that is left out is the built-in kind's, or that of :data:`USUAL`."""

    lane: str | None = None
    quiet: str | None = None
    quiet_hours: str | None = None
    urgency: str | None = None
    ttl: str | None = None
    rate: Annotated[float, Meta(ge=0)] | None = None
    ramp: str | None = None
    budget: Annotated[int, Meta(ge=1, le=50)] | None = None


def read_kinds(reader: Reader, tables: object) -> dict[str, Kind]:
    """Return all kinds, the built-in ones among them."""
    if not isinstance(tables, dict):
        reader.problem("kinds", f"{shown(tables)} where tables belong", "write each kind as [kinds.NAME]")
        return dict(BUILT_IN)
    kinds = dict(BUILT_IN)
    for name, table in tables.items():
        key = f"kinds.{name}"
        if not NAME.fullmatch(name):
            reader.problem(key, f"{shown(name)} cannot be a kind's name", NAME_RULE, name)
        written = reader.table(_Table, table, key, _REMEDIES)
        if written is not None:
            kinds[name] = _kind(reader, written, kinds.get(name, BUILT_IN[USUAL]), key)
    return kinds


def _kind(reader: Reader, table: _Table, base: Kind, key: str) -> Kind:
    changes: dict[str, Any] = {}
    for field, words in _WORDS.items():
        word = getattr(table, field)
        if word is not None and word not in words:
            reader.problem(f"{key}.{field}", f"{shown(word)} is unknown", _REMEDIES[f"kinds.*.{field}"], word)
        elif word is not None:
            changes[field] = _value(field, word)
    if table.quiet_hours is not None and check_hours(reader, table.quiet_hours, f"{key}.quiet_hours"):
        changes["quiet_hours"] = table.quiet_hours
    if table.budget is not None:
        changes["budget"] = table.budget
    if table.ttl is not None:
        ttl = parse_duration(table.ttl)
        if ttl is None or ttl > LONGEST_TTL:
            what = "is not a duration" if ttl is None else "is too long"
            reader.problem(f"{key}.ttl", f"{shown(table.ttl)} {what}", _REMEDIES["kinds.*.ttl"], table.ttl)
        else:
            changes["ttl"] = ttl
    if table.rate is not None:
        changes["rate"] = table.rate
    if table.ramp is not None:
        changes["ramp"] = float(read_seconds(reader, table.ramp, f"{key}.ramp"))
    return msgspec.structs.replace(base, **changes)


LONGEST_RAMP = 3600


def read_seconds(reader: Reader, text: str, key: str) -> int:
    """Read a duration of at most an hour; 0 if it is none, which is noted."""
    seconds = 0 if text == "0s" else parse_duration(text)
    if seconds is None or seconds > LONGEST_RAMP:
        what = "is not a duration" if seconds is None else "is too long"
        reader.problem(key, f"{shown(text)} {what}", f'write it as in "30s" ({EXAMPLES}), at most "1h"', text)
        return 0
    return seconds


def check_hours(reader: Reader, text: str, key: str) -> bool:
    """Check quiet hours; returns whether they can be read."""
    try:
        read_hours(text)
    except ValueError as error:
        remedy = f'write the hours of the night, or "{OFF}" if there are none'
        reader.problem(key, f"{shown(text)} {error}", remedy, text)
        return False
    return True


def _value(field: str, word: str) -> Any:
    if field == "lane":
        return Lane.named(word)
    return QuietRule(word) if field == "quiet" else word


_REMEDIES = {
    "kinds.*.lane": "upper overtakes middle, middle overtakes lower",
    "kinds.*.quiet": "hold, silent, drop or break_through",
    "kinds.*.quiet_hours": 'write the hours of the night in quotes, as in "22:00-08:00"; "off": none',
    "kinds.*.urgency": "high, normal or low",
    "kinds.*.rate": "people a second, over the whole ring; 0: no limit",
    "kinds.*.budget": "campaigns a day, 1 to 50; leave it out if nobody counts",
    "kinds.*.ttl": f'write it as in "4h" ({EXAMPLES}), at most "30d"',
}
