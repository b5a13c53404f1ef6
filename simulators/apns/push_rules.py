"""Apple's documented rules for a push's headers and body, as pure functions.

Sources: Apple, "Sending notification requests to APNs", "Generating a remote notification", "Starting and updating Live
Activities with ActivityKit push notifications", "Updating widgets with WidgetKit push notifications".
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from simulators.answers import Rejection

TOKEN: Final = re.compile(r"(?:[0-9a-f]{2}){1,128}")
UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOPIC = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9_-]+)*")
DIGITS: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_COLLAPSE_LIMIT: Final = 64
_BODY_LIMIT: Final = 4096
_VOIP_LIMIT: Final = 5120

#: Topic suffix by push type; ``mdm`` has a topic of its own kind (the UID of the MDM certificate's subject).
SUFFIXES: Final = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "mdm": "",
    "location": ".location-query",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
}
#: Types whose body need not hold ``aps``.
_BARE: Final = frozenset({"voip", "mdm", "fileprovider", "complication", "pushtotalk", "location"})
_LEVELS: Final = ("passive", "active", "time-sensitive", "critical")
_VISIBLE: Final = frozenset({"alert", "badge", "sound"})


def judge_topic(topic: str | None, kind: str, apps: tuple[str, ...] | frozenset[str]) -> Rejection | None:
    """Judge a topic for a push type; ``apps``: the bundle ids that may be pushed to, none: all."""
    if not topic:
        return Rejection(400, "MissingTopic", "no apns-topic header")
    suffix = SUFFIXES[kind]
    if not _TOPIC.fullmatch(topic):
        return Rejection(400, "BadTopic", f"{topic!r} is not a bundle id")
    if not topic.endswith(suffix):
        return Rejection(400, "BadTopic", f"{topic!r}: push type {kind} needs the suffix {suffix}")
    if not suffix and kind != "mdm" and any(other and topic.endswith(other) for other in SUFFIXES.values()):
        return Rejection(400, "BadTopic", f"{topic!r}: push type {kind} takes no suffix")
    bundle = topic.removesuffix(suffix)
    if apps and bundle not in apps:
        return Rejection(400, "TopicDisallowed", f"{bundle!r} is not one of {', '.join(sorted(apps))}")
    return None


def judge_delivery(kind: str, priority: str | None, expiration: str | None, collapse: str | None) -> Rejection | None:
    """Judge the headers that say when and how to deliver."""
    if priority not in (None, "1", "5", "10"):
        return Rejection(400, "BadPriority", f"apns-priority {priority!r} is not one of 1, 5, 10")
    if kind == "background" and priority != "5":
        # An absent priority is 10.
        return Rejection(400, "BadPriority", f"apns-priority {priority!r}: background needs 5")
    if kind in ("location", "liveactivity") and priority == "1":
        return Rejection(400, "BadPriority", f"apns-priority 1: {kind} needs 5 or 10")
    if expiration is not None and not DIGITS.fullmatch(expiration):
        return Rejection(400, "BadExpirationDate", f"apns-expiration {expiration!r} is not whole seconds")
    if collapse is not None and not 0 < len(collapse.encode()) <= _COLLAPSE_LIMIT:
        return Rejection(
            400, "BadCollapseId", f"apns-collapse-id of {len(collapse.encode())} bytes; 1 to 64 are allowed"
        )
    return None


def judge_payload(body: bytes, kind: str) -> Rejection | None:
    """Judge one body: size, JSON, and what its push type demands of ``aps``.

    Apple documents no reason for malformed JSON: the twin says ``BadPayload``, which no client can mistake for another.
    """
    if not body:
        return Rejection(400, "PayloadEmpty", "no body")
    limit = _VOIP_LIMIT if kind == "voip" else _BODY_LIMIT
    if len(body) > limit:
        return Rejection(413, "PayloadTooLarge", f"{len(body)} bytes; {kind} may have {limit}")
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _bad(f"not JSON: {error}")
    if not isinstance(payload, dict):
        return _bad("not a JSON object")
    if kind == "mdm" and not isinstance(payload.get("mdm"), str):
        return _bad("mdm: no push magic under mdm")
    if kind in _BARE:
        return None
    aps = payload.get("aps")
    if not isinstance(aps, dict):
        return _bad("no aps object")
    return _judge_aps(aps, kind)


def is_asleep(body: bytes, kind: str, priority: str | None) -> bool:
    """Whether a push of this accepted body wakes nobody: passive, without a sound, and not at once."""
    if kind != "alert" or priority in (None, "10"):
        return False
    aps = msgspec.json.decode(body).get("aps") or {}
    return aps.get("interruption-level") == "passive" and "sound" not in aps


def _judge_aps(aps: dict[str, Any], kind: str) -> Rejection | None:
    if kind == "background" and (aps.get("content-available") != 1 or _VISIBLE & aps.keys()):
        return Rejection(400, "InvalidPushType", "background: aps has content-available 1 and nothing to show")
    level = aps.get("interruption-level")
    if level is not None and level not in _LEVELS:
        return _bad(f"interruption-level {level!r} is not one of {', '.join(_LEVELS)}")
    for name in ("category", "thread-id"):
        if not isinstance(aps.get(name, ""), str):
            return _bad(f"{name} is not a text")
    badge = aps.get("badge", 0)
    if isinstance(badge, bool) or not isinstance(badge, int) or badge < 0:
        return _bad(f"badge {badge!r} is not a whole number from 0")
    if kind == "alert" and not (_VISIBLE | {"content-available"}) & aps.keys():
        return Rejection(400, "PayloadEmpty", "alert: aps has none of alert, badge, sound")
    if kind == "widgets" and aps.get("content-changed") is not True:
        return Rejection(400, "InvalidPushType", "widgets: aps has content-changed true")
    if kind == "liveactivity":
        return judge_activity(aps)
    return None


def judge_activity(aps: dict[str, Any]) -> Rejection | None:
    """Judge the ``aps`` of a Live Activity."""
    event = aps.get("event")
    if event not in ("start", "update", "end"):
        return _bad(f"liveactivity: event {event!r} is not one of start, update, end")
    if not isinstance(aps.get("timestamp"), int):
        return _bad("liveactivity: no timestamp in seconds")
    if event != "end" and not isinstance(aps.get("content-state"), dict):
        return _bad(f"liveactivity: {event} needs content-state")
    if event == "start" and not {"alert", "attributes-type", "attributes"} <= aps.keys():
        return _bad("liveactivity: start needs alert, attributes-type and attributes")
    return None


def _bad(why: str) -> Rejection:
    return Rejection(400, "BadPayload", why)
