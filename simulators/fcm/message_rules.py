"""FCM's ``messages:send`` body, checked field by field as the REST reference documents it (v1, ``Message``)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from simulators.answers import Rejection
from simulators.field_checks import (
    Check,
    an_object,
    choice,
    duration,
    fields,
    flag,
    invalid,
    matching,
    text,
    text_map,
    texts,
)

_PAYLOAD_LIMIT: Final = 4096
_TOPIC_LIMIT: Final = 2048
_TTL_LIMIT: Final = 2_419_200
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_LABEL = re.compile(r"[A-Za-z0-9\-_.~%]{1,50}")
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_TIMESTAMP = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"
)
_TERM = re.compile(r"!?\s*'[a-zA-Z0-9\-_.~%]{1,900}'\s+in\s+topics")
_JOINED = re.compile(r"[!(]*t\)*(?:(?:&&|\|\|)[!(]*t\)*)*")
_NO_BLANKS: Final = {ord(" "): None}
_CONDITION_TOPICS: Final = 5
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
TOKEN = re.compile(r"[A-Za-z0-9_:\-]{1,4096}")
FID = re.compile(r"[A-Za-z0-9_\-]{1,64}")
TARGETS: Final = ("token", "fid", "topic", "condition")


def _share(value: Any, at: str) -> Rejection | None:
    """A colour's part, 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return invalid(f"Invalid value at '{at}' (TYPE_FLOAT), {value!r}", at)
    return None if 0 <= value <= 1 else invalid(f"{at} is {value}; it is 0 to 1", at)


def _count(value: Any, at: str) -> Rejection | None:
    """A TYPE_INT32 that counts; proto3's JSON also takes it as a string."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        return invalid(f"Invalid value at '{at}' (TYPE_INT32), {value!r}", at)
    return None if value >= 0 else invalid(f"{at} is {value}; it is 0 or more", at)


def _time(value: Any, at: str) -> Rejection | None:
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return None
    return invalid(f"Invalid value at '{at}' (Timestamp), {value!r}", at)


def _link(value: Any, at: str) -> Rejection | None:
    wrong = text(value, at)
    if wrong is None and value and not value.startswith("https://"):
        return invalid(f"{at} must be an https URL", at)
    return wrong


def _condition(value: Any, at: str) -> Rejection | None:
    """Up to five topics, joined by && and ||, in parentheses if both occur."""
    wrong = text(value, at)
    if wrong is None and value:
        topics = len(_TERM.findall(value))
        if (
            not 1 <= topics <= _CONDITION_TOPICS
            or _JOINED.fullmatch(_TERM.sub("t", value).translate(_NO_BLANKS)) is None
        ):
            return invalid("Invalid condition expression provided.", at)
    return wrong


def _apns_payload(value: Any, at: str) -> Rejection | None:
    wrong = an_object(value, at)
    if wrong is None and "aps" in value and not isinstance(value["aps"], dict):
        return invalid("Invalid APNs payload: aps is an object", f"{at}.aps")
    if wrong is None and (size := len(msgspec.json.encode(value))) > _PAYLOAD_LIMIT:
        return invalid(f"APNs payload is too big: {size} bytes, {_PAYLOAD_LIMIT} are allowed", at)
    return wrong


def _data(value: Any, at: str) -> Rejection | None:
    wrong = text_map(value, at)
    if wrong is not None:
        return wrong
    for key in value:
        if key in ("from", "gcm", "message_type") or key.startswith(("google.", "gcm.")):
            return invalid(f"Invalid data payload key: {key}", at)
    return None


def _ttl(value: Any, at: str) -> Rejection | None:
    wrong = duration(value, at)
    if wrong is None and float(value[:-1]) > _TTL_LIMIT:
        return invalid(f"Invalid ttl: {value}; it is 0s to {_TTL_LIMIT}s", at)
    return wrong


def _durations(value: Any, at: str) -> Rejection | None:
    if not isinstance(value, list):
        return invalid(f"Invalid value at '{at}' (repeated Duration)", at)
    return next((wrong for item in value if (wrong := duration(item, at)) is not None), None)


_NOTIFICATION = fields({"title": text, "body": text, "image": text})
_LABELLED = {"analytics_label": matching(_LABEL)}
_LIGHTS = fields(
    {
        "color": fields({"red": _share, "green": _share, "blue": _share, "alpha": _share}),
        "light_on_duration": duration,
        "light_off_duration": duration,
    }
)
_ANDROID_SHOWN: dict[str, Check] = (
    dict.fromkeys(
        (
            "title",
            "body",
            "icon",
            "sound",
            "tag",
            "click_action",
            "body_loc_key",
            "title_loc_key",
            "channel_id",
            "ticker",
            "image",
        ),
        text,
    )
    | dict.fromkeys(
        ("sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings"), flag
    )
    | {
        "color": matching(_COLOR),
        "event_time": _time,
        "body_loc_args": texts,
        "title_loc_args": texts,
        "notification_priority": choice(
            "PRIORITY_UNSPECIFIED",
            "PRIORITY_MIN",
            "PRIORITY_LOW",
            "PRIORITY_DEFAULT",
            "PRIORITY_HIGH",
            "PRIORITY_MAX",
        ),
        "vibrate_timings": _durations,
        "visibility": choice("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
        "notification_count": _count,
        "light_settings": _LIGHTS,
        "proxy": choice("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
        "bypass_proxy_notification": flag,
    }
)
_ANDROID_NOTIFICATION = fields(_ANDROID_SHOWN)
_ANDROID = fields(
    {
        "collapse_key": text,
        "priority": choice("NORMAL", "HIGH", "normal", "high"),
        "ttl": _ttl,
        "restricted_package_name": text,
        "data": _data,
        "notification": _ANDROID_NOTIFICATION,
        "fcm_options": fields(_LABELLED),
        "direct_boot_ok": flag,
        "bandwidth_constrained_ok": flag,
        "restricted_satellite_ok": flag,
    }
)
_REMOTE = fields(
    {
        "notification": fields(_ANDROID_SHOWN | {"id": _count}),
        "mutable_content": flag,
        "use_as_v1_data_message": flag,
    }
)
_ANDROID_V2_FIELDS = fields(
    {
        "collapse_key": text,
        "ttl": _ttl,
        "restricted_package_name": text,
        "data": _data,
        "remote_notification": _REMOTE,
        "background_sync": fields({}),
        "fcm_options": fields(_LABELLED),
        "direct_boot_ok": flag,
        "bandwidth_constrained_ok": flag,
        "restricted_satellite_ok": flag,
    }
)


def _android_v2(value: Any, at: str) -> Rejection | None:
    """Google's second form of Android messages: exactly one of a notification and a synchronisation."""
    wrong = _ANDROID_V2_FIELDS(value, at)
    if wrong is not None:
        return wrong
    remote = value.get("remote_notification", value.get("remoteNotification"))
    sync = value.get("background_sync", value.get("backgroundSync"))
    if (remote is None) == (sync is None):
        return invalid(f"Exactly one of remote_notification and background_sync must be set in {at}.", at)
    if remote is not None and not remote.get("notification"):
        return invalid(f"{at}.remote_notification has no notification.", f"{at}.remote_notification")
    return None


_APNS = fields(
    {
        "headers": text_map,
        "payload": _apns_payload,
        "fcm_options": fields(_LABELLED | {"image": text}),
        "live_activity_token": text,
    }
)
_WEBPUSH = fields(
    {
        "headers": text_map,
        "data": text_map,
        "notification": an_object,
        "fcm_options": fields(_LABELLED | {"link": _link}),
    }
)
_MESSAGE = fields(
    {
        "name": text,
        "token": text,
        "fid": text,
        "topic": text,
        "condition": _condition,
        "data": _data,
        "notification": _NOTIFICATION,
        "android": _ANDROID,
        "android_v2": _android_v2,
        "apns": _APNS,
        "webpush": _WEBPUSH,
        "fcm_options": fields(_LABELLED),
    }
)
_REQUEST = fields({"validate_only": flag, "message": _MESSAGE})


def check_request(request: Any) -> Rejection | None:
    """Judge a decoded body in everything but the form of its target."""
    wrong = _REQUEST(request, "")
    if wrong is not None:
        return wrong
    message = request.get("message")
    if not message:
        return invalid("The message is not set.", "message")
    targets = [name for name in TARGETS if message.get(name)]
    if len(targets) != 1:
        return invalid("Exactly one of token, fid, topic or condition must be set.", "message")
    if message.get("android") and message.get("android_v2", message.get("androidV2")):
        return invalid("Only one of android and android_v2 may be set.", "message.android_v2")
    # The reference calls it the payload: what the app receives. Target and delivery options do not count.
    payload = [message.get(part) for part in ("notification", "data")]
    android = message.get("android") or {}
    second = message.get("android_v2", message.get("androidV2")) or {}
    remote = second.get("remote_notification", second.get("remoteNotification")) or {}
    payload += [android.get("notification") or remote.get("notification"), android.get("data") or second.get("data")]
    size = sum(len(msgspec.json.encode(part)) for part in payload if part)
    limit = _TOPIC_LIMIT if targets[0] in ("topic", "condition") else _PAYLOAD_LIMIT
    if size > limit:
        return invalid(f"Android message is too big: {size} bytes, {limit} are allowed", "message")
    return None


_LOUD: Final = ("sound", "default_sound", "default_vibrate_timings", "vibrate_timings")


def is_asleep(message: dict[str, Any]) -> bool:
    """Whether an accepted message wakes nobody, on any kind of device.

    On Android it is not urgent and goes to a channel that it names; the phone decides by that channel alone, so the
    sender must know that it is a quiet one.
    """
    android = message.get("android") or {}
    notification = android.get("notification") or {}
    aps = ((message.get("apns") or {}).get("payload") or {}).get("aps") or {}
    return (
        str(android.get("priority")).upper() == "NORMAL"
        and bool(notification.get("channel_id") or notification.get("channelId"))
        and not any(notification.get(name) for name in _LOUD)
        and aps.get("interruption-level") == "passive"
        and "sound" not in aps
    )


def check_target(kind: str, value: str) -> Rejection | None:
    """Judge the form of a target; FCM answers a malformed token with an FcmError without a field."""
    pattern = {"token": TOKEN, "fid": FID, "topic": _TOPIC}.get(kind)
    if pattern is None or pattern.fullmatch(value):
        return None
    if kind in ("token", "fid"):
        return Rejection(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
    return invalid("Malformed topic name", "message.topic")
