"""The demo's sample base: invented phones in several countries, some of them dead."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping

from broadside.api.subscriber import Subscriber
from transports import registry

_PLACES = (
    ("de", "Europe/Berlin", "DE"), ("en-GB", "Europe/London", "GB"), ("en", "America/New_York", "US"),
    ("es", "America/Mexico_City", "MX"), ("pt-BR", "America/Sao_Paulo", "BR"), ("ja", "Asia/Tokyo", "JP"),
    ("hi", "Asia/Kolkata", "IN"), ("uk", "Europe/Kyiv", "UA"), ("en-US", "America/Los_Angeles", "US"),
    ("id", "Asia/Jakarta", "ID"), ("ar", "Asia/Dubai", "AE"), ("en-AU", "Australia/Sydney", "AU"),
)  # fmt: skip
_SCREENS = ("390x844", "430x932", "412x915", "360x800")
_VERSIONS = ("4.0.2", "4.1.0", "4.2.1")
DEAD = "dead"
"""The demo's twins answer that tokens with this prefix are dead (``Platform.sample`` takes hexadecimal digits)."""
REGISTERED = 1_767_225_600_000
"""2026-01-01: the sample phones registered in the weeks after."""


def subscribers(count: int, dead_share: float, channels: Mapping[str, str]) -> Iterator[Subscriber]:
    """Yield ``count`` sample subscribers over ``channels`` (name → platform), the same every time."""
    chance = random.Random(2026)  # noqa: S311 - samples, not secrets
    names = sorted(channels)
    platforms = {channel: registry.load(platform) for channel, platform in channels.items()}
    for number in range(count):
        channel = names[number % len(names)]
        digest = hashlib.sha256(f"sample {number}".encode()).hexdigest()
        dead = chance.random() < dead_share
        locale, tz, country = _PLACES[chance.randrange(len(_PLACES))]
        yield Subscriber(
            channel=channel,
            token=platforms[channel].sample(DEAD + digest[4:] if dead else "0" + digest[1:]),
            kind=platforms[channel].kinds[0],
            locale=locale,
            tz=tz,
            country=country,
            app_version=_VERSIONS[chance.randrange(3)],
            screen=_SCREENS[chance.randrange(4)],
            best_minute=chance.randrange(1440),
            tags=["news"] if chance.random() < 0.8 else ["news", "sport"],
            registered_at=REGISTERED + chance.randrange(60 * 86_400_000),
        )


TWIN_SCRIPT = f"""\
# How the demo's twins answer: tokens that begin with "{DEAD}" belong to phones that are gone.
# Edit it and start the node again to see other answers (docs/twins.md).

[[rules]]
prefix = "{DEAD}"
answer = "dead"
"""
