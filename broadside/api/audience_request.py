"""Whom a campaign is for, as a request says it; checks each condition, and brings it to the form that is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.api.attributes import texts
from broadside.api.attributes.countries import country
from broadside.api.attributes.locales import locale
from broadside.api.attributes.zones import zone
from broadside.errors import Problem, RecordError, shown
from campaigns.where import Share, Where, version_bounds

MOST_VALUES = 1_000
"""Values of one condition."""
MOST_ALL_TAGS = 30
"""Tags that a phone must all have: each is one bit of a number."""
MOST_LISTED = 10_000
"""Subscribers in a list."""


class TagConditions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions on a phone's tags."""

    any: list[str] | None = None
    """It has at least one of these."""
    all: list[str] | None = None
    """It has all of these."""
    none: list[str] | None = None
    """It has none of these."""


class AudienceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Conditions that a phone must all keep. One that lacks an attribute keeps no condition on it, except ``none``."""

    channels: list[str] | None = None
    """Instead of the request's own ``channels``."""
    locales: list[str] | None = None
    """Language ranges: ``pt`` takes ``pt-BR`` too."""
    countries: list[str] | None = None
    zones: list[str] | None = None
    app_version: str | None = None
    """Bounds, as in ``>=4.2,<5``, compared by numbers."""
    screen: list[str] | None = None
    tags: TagConditions | None = None
    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    """A part of everybody, drawn by a hash: 0.05 is one in twenty."""
    share_salt: str | None = None
    """Text that decides who is drawn. Default: the campaign's id. With another campaign's id: the same people."""
    rest: bool = False
    """Everybody but that share."""
    subscribers: list[int | str] | None = None
    """Ids, or tokens: nobody else."""


class CountRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An audience to count."""

    audience: AudienceRequest = AudienceRequest()
    exact: bool = False
    """Look at every subscriber: seconds, for millions."""


class ChannelCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many subscribers of a channel are in an audience."""

    subscribers: int
    error: int | None = None
    """With 95 % it is no more than this many off; None: it is exact."""


class AudienceCount(msgspec.Struct, frozen=True):
    """How many subscribers are in an audience."""

    subscribers: int
    error: int | None
    """As in ``ChannelCount``."""
    of: int
    """All subscribers of these channels."""
    channels: dict[str, ChannelCount]


class KnownAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """What some subscribers who were drawn have, the most frequent first: an audience may name others, too."""

    locales: list[str]
    countries: list[str]
    zones: list[str]
    tags: list[str]


def where_of(request: AudienceRequest, salt: str) -> Where:
    """Return the conditions in their stored form; raises ``RecordError`` for one that cannot hold for anybody.

    ``salt``: the salt of a share that names none.
    """
    tags = request.tags or TagConditions()
    return Where(
        locales=_values("locales", request.locales, locale, "a language tag, as in pt or pt-BR"),
        countries=_values("countries", request.countries, country, "two letters, as in DE"),
        zones=_values("zones", request.zones, zone, "an IANA time zone, as in Europe/Berlin"),
        app_version=_versions(request.app_version),
        screens=_values("screen", request.screen, _short, f"1 to {texts.SHORT} printable characters"),
        tags_any=_tags("any", tags.any),
        tags_all=_tags("all", tags.all, MOST_ALL_TAGS),
        tags_none=_tags("none", tags.none),
        share=_share(request, salt),
    )


def listed_in(request: AudienceRequest) -> tuple[list[int], list[str]] | None:
    """Return the ids and the tokens that a request lists; None: it lists nobody."""
    listed = request.subscribers
    if listed is None:
        return None
    if not listed:
        raise _refused("subscribers", "names nobody", "leave it out, or list ids or tokens")
    if len(listed) > MOST_LISTED:
        raise _refused("subscribers", f"has {len(listed):,} entries", f"at most {MOST_LISTED:,}; give others a tag")
    for number, each in enumerate(listed):
        if each == "" or (isinstance(each, int) and each < 1):
            raise _refused(f"subscribers[{number}]", f"{shown(each)} is no id and no token", "ids begin at 1", each)
    return [each for each in listed if isinstance(each, int)], [each for each in listed if isinstance(each, str)]


def _short(text: str) -> str | None:
    return texts.short(text.strip()) or None


def _tag(text: str) -> str | None:
    good, bad = texts.tags([text])
    return good[0] if good and not bad else None


def _values(
    name: str, given: list[str] | None, read: Callable[[str], str | None], remedy: str, most: int = MOST_VALUES
) -> list[str]:
    if given is None:
        return []
    if not given:
        raise _refused(name, "names none", "leave it out for all")
    if len(given) > most:
        raise _refused(name, f"has {len(given):,} values", f"at most {most:,}")
    found: dict[str, None] = {}
    for number, text in enumerate(given):
        value = read(text) if len(text) <= 256 else None
        if value is None:
            raise _refused(f"{name}[{number}]", f"{shown(text, 40)} is not valid", remedy, text)
        found[value] = None
    return [*found]


def _tags(name: str, given: list[str] | None, most: int = MOST_VALUES) -> list[str]:
    return _values(f"tags.{name}", given, _tag, f'1 to {texts.SHORT} characters without "|"', most)


def _versions(text: str | None) -> list[tuple[str, list[int]]]:
    if text is None:
        return []
    try:
        if len(text) > 256:
            raise ValueError(f"{shown(text, 40)} is too long")
        return version_bounds(text)
    except ValueError as error:
        remedy = "numbers and <, <=, >, >=, = or !=, joined by commas, as in >=4.2,<5"
        raise _refused("app_version", str(error)[:120], remedy, text) from None


def _share(request: AudienceRequest, salt: str) -> Share | None:
    if request.share is None:
        for name, given in (("share_salt", request.share_salt), ("rest", request.rest or None)):
            if given is not None:
                raise _refused(name, "is given without a share", "add a share, as in 0.05", given)
        return None
    if request.share_salt is not None and not 1 <= len(request.share_salt) <= 64:
        raise _refused("share_salt", f"has {len(request.share_salt)} characters", "1 to 64", request.share_salt)
    if request.rest and request.share_salt is None:
        remedy = "give the salt of the first campaign: its own share_salt, or its id"
        raise _refused("rest", "needs the share's salt", remedy, request.rest)
    if request.rest and request.share == 1:
        raise _refused("rest", "of a share of 1 is nobody", "make the share smaller", request.rest)
    return Share(request.share, request.share_salt or salt, request.rest)


def _refused(name: str, what: str, remedy: str, value: object = "") -> RecordError:
    return RecordError(Problem(f"audience.{name}", what, remedy, str(value)[:40]))
