"""What holds a campaign up, in an editor's words."""

from __future__ import annotations

from broadside.api.forecast_records import Limit
from transports import registry


def provider_of(platform: str) -> str:
    """The provider's name for people; of a platform that is not installed here, the platform's."""
    return registry.load(platform).provider if platform in registry.platforms() else platform


def why(limit: Limit, provider: str = "the provider", detail: str = "") -> str:
    """Name a limit in a sentence. ``detail``: figures of this case."""
    words: dict[Limit, str] = {
        "walk": "Broadside itself: the base is read more slowly than it could be sent",
        "cpu": "this machine: the workers have no core to spare",
        "window": f"{provider}'s window: it takes no more bytes at a time on the connections",
        "streams": f"{provider}: it allows no more pushes in flight, and each waits for its answer",
        "quota": f"{provider}'s quota",
        "rate": "the channel's own rate",
        "herd": "your own site: people are reached only as fast as it bears those who open the news",
        "quiet_hours": "quiet hours: those who are asleep get it when they end",
        "provider": f"{provider}: it is out of reach, or answers late",
        "node": "a part of Broadside itself is away",
        "paused": "a person: it is paused",
        "answers": f"{provider}: only the last answers are awaited",
    }
    return words[limit] + (f" ({detail})" if detail else "")
