"""Apple's push types: where each goes, how urgent and how large it may be, and what its ``aps`` may say.

Sources: developer.apple.com, "Sending notification requests to APNs", "Generating a remote notification", "Starting
and updating Live Activities with ActivityKit push notifications", "Updating widgets with WidgetKit push notifications".
"""

from __future__ import annotations

from typing import NamedTuple

_SHOWN = frozenset(
    {
        "alert",
        "badge",
        "sound",
        "thread-id",
        "category",
        "content-available",
        "mutable-content",
        "target-content-id",
        "interruption-level",
        "relevance-score",
        "filter-criteria",
    }
)
START_ONLY = ("attributes-type", "attributes", "input-push-channel", "input-push-token")
"""Keys of a Live Activity that have a meaning only in its start."""
_LIVE = frozenset(
    {"alert", "sound", "relevance-score", "timestamp", "event", "content-state", "stale-date", "dismissal-date"}
).union(START_ONLY)


class PushType(NamedTuple):
    """The rules of one value of ``apns-push-type``."""

    suffix: str
    """The part of its topic after the bundle id."""
    keys: frozenset[str]
    """The keys that its ``aps`` may hold."""
    priorities: tuple[int, ...] = (10, 5, 1)
    """Values of ``apns-priority`` that it may have, the usual one first."""
    limit: int = 4_096
    """Most octets of the body."""
    word: str = ""
    """Its name in Apple's certificates; empty: it has none."""


PUSH_TYPES = {
    "alert": PushType("", _SHOWN, word="app"),
    "background": PushType("", frozenset({"content-available"}), (5,), word="app"),
    "voip": PushType(".voip", _SHOWN, limit=5_120, word="voip"),
    "complication": PushType(".complication", _SHOWN, word="complication"),
    "fileprovider": PushType(".pushkit.fileprovider", _SHOWN),
    "mdm": PushType("", frozenset()),
    "location": PushType(".location-query", _SHOWN, (10, 5)),
    "liveactivity": PushType(".push-type.liveactivity", _LIVE, (10, 5)),
    "pushtotalk": PushType(".voip-ptt", _SHOWN),
    "widgets": PushType(".push-type.widgets", frozenset({"content-changed"})),
    "controls": PushType(".push-type.controls", frozenset({"content-changed"})),
}
RINGING = frozenset({"voip", "pushtotalk"})
"""Types with which the app rings at once, whatever ``aps`` says."""
TOKEN_ONLY = frozenset({"location"})
"""Types that a certificate may not send."""
