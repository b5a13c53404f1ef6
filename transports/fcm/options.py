"""``Message.options["fcm"]``: FCM's own options, read strictly before anything is sent.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages. Names may be written as ``collapse_key`` or
``collapseKey``, as Google takes both; they are sent as the first. ``null`` removes a default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from transports.errors import PayloadError
from transports.json_texts.option_reader import OptionReader, wrong

MAX_TTL = 2_419_200
"""Seconds: four weeks."""

# The annotations stay lazy in a Struct, so these names must be global.
Text: TypeAlias = Annotated[str, Meta(max_length=4_096)] | None
Flag: TypeAlias = bool | None
Part: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Span: TypeAlias = Annotated[str, Meta(pattern=r"^\d{1,9}(\.\d{1,9})?s\Z")]
Label: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z0-9\-_.~%]{1,50}\Z")] | None
Link: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^\s/]\S*\Z")] | None
SafeLink: TypeAlias = Annotated[str, Meta(pattern=r"^https://[^\s/]\S*\Z")] | None
Headers: TypeAlias = dict[str, str | None] | None
Importance = Literal[
    "PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT", "PRIORITY_HIGH", "PRIORITY_MAX"
]
Visibility = Literal["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"]
Proxy = Literal["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"]


class Notification(Struct, forbid_unknown_fields=True):
    """Shown on every platform; ``title`` and ``body`` are the message's own unless set here."""

    title: Text = None
    body: Text = None
    image: Link = None


class Labelled(Struct, forbid_unknown_fields=True):
    """``fcm_options`` of the message and of Android."""

    analytics_label: Label = None


class Color(Struct, forbid_unknown_fields=True):
    """A light's colour, each part from 0 to 1."""

    red: Part = 0.0
    green: Part = 0.0
    blue: Part = 0.0
    alpha: Part | None = None


class Lights(Struct, forbid_unknown_fields=True):
    """How a phone's light blinks. All three are required."""

    color: Color
    light_on_duration: Span
    light_off_duration: Span


class AndroidNotification(Struct, forbid_unknown_fields=True):
    """Shown only on Android."""

    title: Text = None
    body: Text = None
    icon: Text = None
    color: Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}\Z")] | None = None
    sound: Text = None
    tag: Text = None
    click_action: Text = None
    body_loc_key: Text = None
    body_loc_args: list[str] | None = None
    title_loc_key: Text = None
    title_loc_args: list[str] | None = None
    channel_id: Text = None
    ticker: Text = None
    sticky: Flag = None
    event_time: Annotated[datetime, Meta(tz=True)] | None = None
    local_only: Flag = None
    notification_priority: Importance | None = None
    default_sound: Flag = None
    default_vibrate_timings: Flag = None
    default_light_settings: Flag = None
    vibrate_timings: list[Span] | None = None
    visibility: Visibility | None = None
    notification_count: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    light_settings: Lights | None = None
    image: Link = None
    bypass_proxy_notification: Flag = None
    proxy: Proxy | None = None


class Android(Struct, forbid_unknown_fields=True):
    """Options for Android."""

    collapse_key: Text = None
    priority: Literal["HIGH", "NORMAL"] | None = None
    ttl: Span | None = None
    restricted_package_name: Annotated[str, Meta(pattern=r"^[A-Za-z]\w*(\.[A-Za-z]\w*)+\Z")] | None = None
    data: dict[str, str] | None = None
    notification: AndroidNotification | None = None
    fcm_options: Labelled | None = None
    direct_boot_ok: Flag = None
    bandwidth_constrained_ok: Flag = None
    restricted_satellite_ok: Flag = None


class WebpushOptions(Struct, forbid_unknown_fields=True):
    """``webpush.fcm_options``."""

    link: SafeLink = None
    analytics_label: Label = None


class Webpush(Struct, forbid_unknown_fields=True):
    """Options for browsers. ``notification`` is the browser's own Notification object."""

    headers: Headers = None
    data: dict[str, str] | None = None
    notification: dict[str, Any] | None = None
    fcm_options: WebpushOptions | None = None


class ApnsOptions(Struct, forbid_unknown_fields=True):
    """``apns.fcm_options``."""

    analytics_label: Label = None
    image: Link = None


class Apns(Struct, forbid_unknown_fields=True):
    """Options for iPhones, reached through FCM. ``payload`` is Apple's own: ``aps`` and the app's keys."""

    headers: Headers = None
    payload: dict[str, Any] | None = None
    fcm_options: ApnsOptions | None = None
    live_activity_token: Text = None


class FcmOptions(Struct, forbid_unknown_fields=True):
    """The whole of ``message.options.fcm``. ``notification: null``: a message with only data."""

    notification: Notification | None = None
    android: Android | None = None
    webpush: Webpush | None = None
    apns: Apns | None = None
    fcm_options: Labelled | None = None


_ADVICE = {
    "analytics_label": "1 to 50 of A-Z a-z 0-9 - _ . ~ %",
    "android.notification.color": "#rrggbb",
    "event_time": 'a moment like "2026-11-23T18:00:00Z"',
    "image": "an http or https address",
    "light_off_duration": 'a duration like "0.5s"',
    "light_on_duration": 'a duration like "0.5s"',
    "link": "an https address",
    "notification_count": "a whole number from 0",
    "notification_priority": "one of " + ", ".join(get_args(Importance)),
    "priority": "HIGH or NORMAL",
    "proxy": "one of " + ", ".join(get_args(Proxy)),
    "restricted_package_name": "a package like com.example.news",
    "ttl": f'a duration like "3600s", from 0s to {MAX_TTL}s',
    "vibrate_timings": 'a duration like "0.5s"',
    "visibility": "one of " + ", ".join(get_args(Visibility)),
    **dict.fromkeys(("red", "green", "blue", "alpha"), "a number from 0 to 1"),
}
"""What each field must be: the end of its error message."""
_READER = OptionReader("fcm", FcmOptions, _ADVICE)
_ROOT = _READER.root
_HEADERS: Mapping[str, tuple[str, str]] = {
    "apns-priority": (r"1|5|10", "1, 5 or 10"),
    "apns-expiration": (r"\d{1,15}", "seconds since 1970"),
    "apns-collapse-id": (r"[ -~]{1,64}", "1 to 64 characters"),
    "apns-push-type": (r"[a-z]{1,32}", "a push type like alert"),
    "ttl": (r"\d{1,10}", "seconds"),
    "urgency": (r"very-low|low|normal|high", "one of very-low, low, normal, high"),
    "topic": (r"[A-Za-z0-9_-]{1,32}", "1 to 32 of A-Z a-z 0-9 - _"),
}
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")
_RESERVED = frozenset(("from", "gcm", "message_type"))


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options and write their names as snake_case. Raises ``PayloadError`` naming field, value and remedy."""
    plain = _READER.named(given)
    android = plain.get("android")
    if isinstance(android, dict) and isinstance(priority := android.get("priority"), str):
        android["priority"] = priority.upper()
    _READER.check(plain)
    if android and (ttl := android.get("ttl")) is not None and float(ttl[:-1]) > MAX_TTL:
        raise wrong(f"{_ROOT}.android.ttl", ttl, _ADVICE["ttl"])
    moment = ((android or {}).get("notification") or {}).get("event_time")
    if moment is not None and not _MOMENT.fullmatch(moment):
        raise wrong(f"{_ROOT}.android.notification.event_time", moment, _ADVICE["event_time"])
    aps = ((plain.get("apns") or {}).get("payload") or {}).get("aps", {})
    if aps is not None and not isinstance(aps, dict):
        raise wrong(f"{_ROOT}.apns.payload.aps", aps, "an object of Apple's keys")
    if android and android.get("data"):
        check_data(android["data"], f"{_ROOT}.android.data")
    for part, names in (("apns", r"apns-[a-z-]+"), ("webpush", r"(?!authorization)[a-z0-9-]+")):
        _check_headers((plain.get(part) or {}).get("headers") or {}, f"{_ROOT}.{part}.headers", names)
    return plain


def check_data(data: Mapping[str, str], where: str) -> None:
    """Raise ``PayloadError`` for a key that FCM reserves."""
    for name in data:
        if name in _RESERVED or name.startswith(("google.", "gcm.")):
            raise PayloadError(f'{where}: the key "{name}" is reserved by FCM; rename it')


def _check_headers(headers: Mapping[str, str | None], where: str, names: str) -> None:
    for name, value in headers.items():
        if not re.fullmatch(names, name.lower()):
            raise PayloadError(f"{where}.{name}: is not a header that may be set here; remove it")
        pattern, right = _HEADERS.get(name.lower(), (r"[ -~]*", "printable ASCII"))
        if value is not None and not re.fullmatch(pattern, value):
            raise wrong(f"{where}.{name}", value, right)
