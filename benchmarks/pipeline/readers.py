"""Two bases, of one country and of the whole world, and the campaigns that are measured on each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from benchmarks.pipeline.rig import MESSAGE
from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.api.campaign_report import FireRequest
from broadside.api.subscriber import Subscriber
from campaigns.message import Message, Text
from campaigns.windows import QuietRule

NOON = 12 * 60 + 30
"""The minute of the day (UTC) at which a run begins: nobody has quiet hours then, from 7:30 in Bogota to 18:30 in
Dhaka."""
ONE_COUNTRY = ("Europe/Berlin", "Europe/Busingen")
TWELVE = (
    "America/Bogota", "America/Puerto_Rico", "America/Sao_Paulo", "Atlantic/South_Georgia", "Atlantic/Cape_Verde",
    "UTC", "Africa/Lagos", "Africa/Johannesburg", "Europe/Moscow", "Asia/Dubai", "Asia/Karachi", "Asia/Dhaka",
)  # fmt: skip
"""An hour apart, and without summer time: twelve classes on any day."""
LOCALES = ("de", "fr", "pt-BR", "en-US", "es")
COUNTRIES = ("DE", "FR", "BR", "US", "ES")
TAGS = (["sport", "weather"], ["politics", "sport"], ["weather"], ["culture", "sport", "weather"], ["sport"])
"""Everybody has one of the two that are asked for, so that as many pushes are sent as without the condition."""
WEEK = 7 * 86_400


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of campaign on a base.

    Attributes:
        what: its name in the table.
        request: what is fired.
        most: the goal for its CPU a push, beside that of a plain campaign; None: it is only reported.
        waits: whether nobody may be reached at once, so that the clock has to be set.
    """

    what: str
    request: FireRequest
    most: float | None = None
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """Subscribers, and what is sent to them; the first kind is the plain campaign."""

    what: str
    phone: Callable[[int], Subscriber]
    kinds: tuple[Kind, ...]


def _phone(n: int, zones: tuple[str, ...], locales: tuple[str, ...]) -> Subscriber:
    """Half have tokens of 64 characters (APNs), half of 163 (FCM); each attribute is drawn by other figures of n."""
    half, reader = n // 2, n // 2 % len(locales)
    return Subscriber(
        channel="android-news" if n % 2 else "ios-news",
        token=f"{n:022d}:APA91b{n:0134x}" if n % 2 else f"{n:064x}",
        locale=locales[reader],
        tz=zones[half % len(zones)],
        country=COUNTRIES[reader],
        app_version=f"5.{half % 40}",
        best_minute=half * 7 % 1440,
        tags=TAGS[half // 12 % len(TAGS)],
        fields={"first_name": f"Ada {half % 1000}", "city": "Wien"},
    )


def one_country(n: int) -> Subscriber:
    """The n-th subscriber in Germany."""
    return _phone(n, ONE_COUNTRY, LOCALES[:1])


def whole_world(n: int) -> Subscriber:
    """The n-th subscriber in twelve zones and five locales."""
    return _phone(n, TWELVE, LOCALES)


def _texts(body: str) -> Message:
    """The usual message in five languages."""
    texts = {locale: Text(title=f"Flood warning {locale}", body=body + "y" * 90) for locale in ("de", "fr", "pt", "es")}
    return Message(title="Flood warning", body=body + "x" * 90, url="https://example.com/f", texts=texts)


def _fire(
    message: Message = MESSAGE, *, quiet: QuietRule = QuietRule.HOLD, best: bool = False, tags: bool = False
) -> FireRequest:
    request = FireRequest(message=message, ttl_seconds=WEEK, quiet=quiet)
    more: dict[str, object] = {"start": "best"} if best else {}
    if tags:
        more["audience"] = AudienceRequest(tags=TagConditions(any=["sport", "weather"]))
    return replace(request, **more)


_PLAIN = _fire(quiet=QuietRule.BREAK_THROUGH)
_LANGUAGES = _texts("Leave the valley now. ")
_PERSONAL = _texts("{first_name|You} in {city|town}: leave. ")
BASES = (
    Base(
        "one country", one_country,
        (
            Kind("plain", _PLAIN),
            Kind("zones of one country", _fire(), 1.05),
            Kind("best time in one zone", _fire(best=True), 1.60, waits=True),
        ),
    ),
    Base(
        "twelve zones", whole_world,
        (
            Kind("plain", _PLAIN),
            Kind("twelve zones, five locales, two tags", _fire(_LANGUAGES, tags=True), 1.15),
            Kind("five locales, two personal fields", _fire(_PERSONAL, quiet=QuietRule.BREAK_THROUGH)),
            Kind("best time in twelve zones", _fire(best=True), waits=True),
        ),
    ),
)  # fmt: skip
