"""Audiences and rows, drawn; and a slow, obvious model of who is in an audience: for the predicate's test."""

from __future__ import annotations

import functools
import hashlib
import random
import re
from typing import Any

from campaigns.where import Share, Where

LOCALES = ["", "pt", "pt-BR", "pt-PT", "ptx", "p", "de", "de-AT", "zh-Hans-CN", "zh-Hant-TW", "en-US", "a" * 64]
ZONES = ["", "Europe/Berlin", "America/Argentina/ComodRivadavia", "Asia/Kathmandu", "UTC"]
COUNTRIES = ["", "DE", "AT", "BR", "US"]
VERSIONS = [
    "", "4.2", "4.10", "4.9.3", "4.2.0", "v5", "V5.0.1", "beta", "4.2-rc1", "5 (77)", "1234567890123456.1", "0",
    "4..2", "4.2.", "3.1.4.1.5.9.2.6.5", "123456789012345.1", "4.1234567890123456", "4.2.0.0.0.0.0.0.9",
]  # fmt: skip
BOUNDS = [[4], [4, 2], [4, 2, 0], [5], [4, 9], [4, 10], [0], [3, 1, 4], [123456789012345]]
SCREENS = ["", "small", "1080x2400", "s" * 64]
TAGS = [
    "sport",
    "news",
    "weather",
    "wetter ü",
    "åsport",
    "x",
    "t" * 31,
    "t" * 32,
    "t" * 64,
    "ß" * 32,
    "ü" * 64,
    "team=A",
]
MINUTES = [None, 0, 127, 128, 255, 256, 1439]


def draw_row(random_: random.Random, id: int) -> list[Any]:
    """A whole row, as the store keeps it."""
    pick = random_.choice
    tags = (
        random_.sample(TAGS, random_.randrange(6)) if random_.random() < 0.9 else [f"{n} {TAGS[n]}" for n in range(12)]
    )
    tags += [f"tag {n}" for n in range(pick([0, 0, 0, 9, 40]))]
    random_.shuffle(tags)
    return [
        id, pick(["ios", "android"]), f"token-{id}", "token", 1, pick(LOCALES), pick(ZONES), pick(COUNTRIES),
        pick(VERSIONS), pick(SCREENS), pick(MINUTES), tags, {},
    ]  # fmt: skip


def draw_where(random_: random.Random) -> Where:
    """Up to four conditions."""
    drawn: dict[str, Any] = {}
    for name in random_.sample([*_DRAWS], random_.choice([0, 1, 1, 2, 2, 3, 4])):
        drawn[name] = _DRAWS[name](random_)
    return Where(**drawn)


def _some(values: list[Any], most: int) -> Any:
    return lambda random_: random_.sample(values, random_.randint(1, min(most, len(values))))


_DRAWS: dict[str, Any] = {
    "locales": _some([locale for locale in LOCALES if locale], 4),
    "zones": _some(ZONES[1:], 3),
    "countries": _some(COUNTRIES[1:], 3),
    "app_version": lambda random_: [
        (random_.choice(["<", "<=", ">", ">=", "=", "!="]), random_.choice(BOUNDS))
        for _ in range(random_.randint(1, 2))
    ],
    "screens": _some(SCREENS[1:], 2),
    "tags_any": _some(TAGS, 3),
    "tags_all": _some(TAGS, 2),
    "tags_none": _some(TAGS, 3),
    "share": lambda random_: Share(
        random_.choice([0.05, 0.3, 0.5, 0.99, 1.0]), random_.choice(["a", "story", "ü"]), random_.random() < 0.5
    ),
}


def is_in(row: list[Any], where: Where) -> bool:
    """Whether a row is in an audience: one condition after the other, as a person would read them."""
    id, _, _, _, _, locale, zone, country, version, screen, _, tags, _ = row
    if where.locales and not any(locale == each or locale.startswith(f"{each}-") for each in where.locales):
        return False
    for values, value in ((where.zones, zone), (where.countries, country), (where.screens, screen)):
        if values and value not in values:
            return False
    if not all(_keeps(version, *bound) for bound in where.app_version):
        return False
    if where.tags_any and not set(tags) & set(where.tags_any):
        return False
    if set(where.tags_all) - set(tags) or set(where.tags_none) & set(tags):
        return False
    return where.share is None or (drawn(id, where.share.salt) < where.share.share) != where.share.rest


def _keeps(version: str, operator: str, bound: list[int]) -> bool:
    found = re.match(r"[vV]?([0-9]+(\.[0-9]+)*)", version)
    if found is None:
        return False
    numbers: list[int] = []
    for part in found[1].split(".")[:8]:
        if len(part) > 15:
            break
        numbers.append(int(part))
    if not numbers:
        return False
    mine, theirs = numbers + [0] * (8 - len(numbers)), bound + [0] * (8 - len(bound))
    return {
        "<": mine < theirs, "<=": mine <= theirs, ">": mine > theirs, ">=": mine >= theirs, "=": mine == theirs,
        "!=": mine != theirs,
    }[operator]  # fmt: skip


def drawn(id: int, salt: str) -> float:
    """Where an id falls between 0 and 1."""
    first, second = _key(salt)
    return _mixed(_mixed(id % 2**32 ^ first) ^ id >> 32 ^ second) / 2**32


@functools.cache
def _key(salt: str) -> tuple[int, int]:
    key = hashlib.sha256(salt.encode()).digest()
    return int.from_bytes(key[:4]), int.from_bytes(key[4:8])


def _mixed(a: int) -> int:
    word = 2**32
    a = (a + 0x7ED55D16 + (a << 12)) % word
    a = a ^ 0xC761C23C ^ a >> 19
    a = (a + 0x165667B1 + (a << 5)) % word
    a = (a + 0xD3A2646C) % word ^ (a << 9) % word
    a = (a + 0xFD7046C5 + (a << 3)) % word
    return a ^ 0xB55A4F09 ^ a >> 16
