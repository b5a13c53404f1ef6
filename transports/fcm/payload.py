"""Renders a message for FCM: JSON built once for many recipients, into which each one's token is spliced.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from campaigns.message import SILENT, Message
from campaigns.presentation import Presentation
from campaigns.receipt import KEY
from transports.errors import PayloadError
from transports.fcm import options
from transports.fcm.fields import DEVICES
from transports.json_texts.app_data import app_data
from transports.json_texts.body import LATER, Body, encode
from transports.json_texts.merging import merged, part, silent

LIMIT = 4_096
"""Most octets that an app receives: notification and data, including the platform's own."""

_PRESSED = {"high": ("HIGH", "time-sensitive", "10"), "low": ("NORMAL", "passive", "5")}
"""Urgency → Android's priority, and Apple's interruption level and priority."""

HEADS = {"token": b'{"message":{"token":"', "fid": b'{"message":{"fid":"'}
JUDGING_HEADS = {kind: b'{"validate_only":true,' + head[1:] for kind, head in HEADS.items()}
# What each kind of device receives beside the message's notification and data.
_OWN = {"Android": ("android", "notification", "data"), "iPhones": ("apns", "payload"),
        "browsers": ("webpush", "notification", "data")}  # fmt: skip


_PARTS = dict(zip(DEVICES, ("android", "apns", "webpush"), strict=True))
"""Device → its own part of a message."""


class KnownApp(NamedTuple):
    """What is known of a channel's app."""

    quiet_channel: str | None = None
    """On Android: its own notification channel without sound."""
    android_v2: bool = False
    """On Android: send ``android_v2``, the form with which Play services post the notification themselves."""
    versions: str = ""
    """Send it to apps of these versions only; empty: to all."""
    collapse_slots: tuple[str, ...] = ()
    """The collapse keys that it uses: FCM keeps four for each device."""
    devices: frozenset[str] = frozenset(DEVICES)
    """What it is on: parts for others are not sent, and options for them are left out."""
    labelled: bool = False
    """Name the campaign to Google, which counts its deliveries under that label."""


def render(
    message: Message,
    campaign: str,
    presentation: Presentation = Presentation.AWAKE,
    app: KnownApp = KnownApp(),  # noqa: B008 - immutable
) -> Body:
    """Build the body, with gaps that ``kept_for`` fills. ``campaign``: 13-character text, under which a repeat
    replaces the first.

    ``message.options["fcm"]`` overrides Broadside's defaults. Raises ``PayloadError`` for an option that FCM does not
    take, a reserved key, a missing text, or more than :data:`LIMIT` octets; and if an Android phone would ring although
    the push is asleep.
    """
    unread = {own for device, own in _PARTS.items() if device not in app.devices}
    given = {name: value for name, value in options.read(message.options.get("fcm", {})).items() if name not in unread}
    if message.collapse is not None and message.collapse not in app.collapse_slots:
        known = ", ".join(app.collapse_slots) or "none"
        remedy = "name it in the channel's collapse_slots, at most four: Google keeps no more for a phone"
        raise PayloadError(
            f'message.collapse: "{message.collapse}" is no slot of this channel (it has {known}); {remedy}'
        )
    rest = merged(_defaults(message, given, message.collapse or campaign), given)
    if app.labelled:
        rest["fcm_options"] = {"analytics_label": campaign} | (rest.get("fcm_options") or {})
    shown = not silent(given) or bool(part(rest, "android", "notification"))
    if not rest.get("notification"):
        rest.pop("notification", None)
    _check_text(message, given, rest)
    asleep = presentation is Presentation.ASLEEP
    if asleep:
        _put_to_sleep(rest, app, shown=shown)
    for name in unread:
        rest.pop(name, None)
    size = _checked_size(rest, asleep)
    if app.android_v2 and not asleep:
        _use_v2(rest)
    return Body(b'",' + encode(rest)[1:] + b"}", size)


def _defaults(message: Message, given: Mapping[str, Any], slot: str) -> dict[str, Any]:
    """What is sent unless an option says otherwise. ``slot``: under which a repeat replaces the first."""
    # A collapse_key only if the editor names a slot: FCM keeps four of them for each device, and drops messages under
    # any other. By its tag, a repeat replaces the first on the screen.
    android: dict[str, Any] = {"priority": "HIGH", "ttl": f"{LATER}s"}
    if message.collapse is not None:
        android["collapse_key"] = message.collapse
    # A registration may be an iPhone's or a browser's: there, too, a repeat replaces the first.
    apns: dict[str, Any] = {"headers": {"apns-collapse-id": slot}, "payload": {"aps": _aps(message)}}
    webpush: dict[str, Any] = {"headers": {"TTL": LATER, "Topic": slot}}
    rest: dict[str, Any] = {"android": android, "apns": apns, "webpush": webpush}
    notification: dict[str, Any] = {"tag": slot}
    if silent(given):
        # Apple wakes an app for data only with this header, this priority and this key together.
        apns["headers"] |= {"apns-push-type": "background", "apns-priority": "5"}
        apns["payload"] = {"aps": {"content-available": 1}}
    else:
        rest["notification"] = {name: text for name in ("title", "body") if (text := getattr(message, name)).strip()}
        if message.image is not None:
            rest["notification"]["image"] = message.image
            apns["fcm_options"] = {"image": message.image}
        if message.sound not in (None, SILENT):
            notification["sound"] = message.sound
        if message.badge is not None:
            notification["notification_count"] = message.badge
    if not silent(given) or part(given, "android", "notification"):
        android["notification"] = notification
    if part(given, "webpush", "notification"):
        webpush["notification"] = {"tag": slot}
    if message.urgency is not None and not silent(given):
        _press(message.urgency, android, apns, webpush)
    options.check_data(message.data, "message.data")
    data = app_data(message, "FCM")
    if data:
        rest["data"] = data
    if message.url is not None:
        # A platform's own data replaces the message's: the address must be in both.
        for name, default in (("android", android), ("webpush", webpush)):
            if part(given, name, "data"):
                default["data"] = {"url": message.url}
        # a browser opens nothing by itself but this link, and Google takes only https
        if not silent(given) and message.url[:8].lower() == "https://":
            webpush["fcm_options"] = {"link": "https" + message.url[5:]}
    return rest


def _aps(message: Message) -> dict[str, Any]:
    """What an iPhone that is reached through FCM shows."""
    aps: dict[str, Any] = {} if message.sound == SILENT else {"sound": message.sound or "default"}
    if message.badge is not None:
        aps["badge"] = message.badge
    if message.category is not None:
        aps["category"] = message.category
    if message.thread is not None:
        aps["thread-id"] = message.thread
    if message.image is not None or KEY in message.data:
        aps["mutable-content"] = 1
    return aps


_LOUD = ("sound", "default_sound", "default_vibrate_timings", "vibrate_timings", "default_light_settings",
         "light_settings")  # fmt: skip


def _put_to_sleep(rest: dict[str, Any], app: KnownApp, *, shown: bool) -> None:
    """Let nothing ring, on any kind of device. ``shown``: whether Android shows a notification by itself."""
    android = rest.get("android")
    if shown and "android" in app.devices:
        if app.quiet_channel is None:
            remedy = "name the app's own channel without sound as quiet_channel in the channel's table"
            raise PayloadError(f"message: on Android it would ring although it is asleep; {remedy}")
        android = {} if android is None else android
        notification = {name: value for name, value in (android.get("notification") or {}).items() if name not in _LOUD}
        android["notification"] = notification | {
            "channel_id": app.quiet_channel,
            "notification_priority": "PRIORITY_LOW",
        }
    if android is not None:
        rest["android"] = android | {"priority": "NORMAL"}
    _passive(rest)
    webpush = dict(rest.get("webpush") or {})
    webpush["headers"] = _headers(webpush, "urgency") | {"Urgency": "low"}
    if shown:
        wanted = {name: value for name, value in (webpush.get("notification") or {}).items() if name != "vibrate"}
        webpush["notification"] = wanted | {"silent": True}
    rest["webpush"] = webpush


def _passive(rest: dict[str, Any]) -> None:
    """The same for an iPhone that is reached through FCM."""
    apns = dict(rest.get("apns") or {})
    payload = dict(apns.get("payload") or {})
    aps = payload.get("aps") or {}
    if rest.get("notification") or "alert" in aps or "sound" in aps:
        quiet = {name: value for name, value in aps.items() if name != "sound"}
        apns["payload"] = payload | {"aps": quiet | {"interruption-level": "passive"}}
    apns["headers"] = _headers(apns, "apns-priority") | {"apns-priority": "5"}
    rest["apns"] = apns


def _headers(part: Mapping[str, Any], without: str) -> dict[str, str]:
    """A part's headers less one, in whatever case it is written."""
    return {name: value for name, value in (part.get("headers") or {}).items() if name.lower() != without}


def _use_v2(rest: dict[str, Any]) -> None:
    """Write a notification that is urgent in Google's second form, which has no priority. Anything else stays as it is:
    there a message with only data may wait, and a notification cannot.
    """
    android = rest.get("android") or {}
    if android.get("priority") != "HIGH" or not android.get("notification"):
        return
    kept = {name: value for name, value in android.items() if name not in ("priority", "notification")}
    rest["android_v2"] = kept | {"remote_notification": {"notification": android["notification"]}}
    del rest["android"]


def _press(urgency: str, android: dict[str, Any], apns: dict[str, Any], webpush: dict[str, Any]) -> None:
    """Say how much a push may disturb, to each platform in its own words. Without this it is ``normal``."""
    android["priority"], level, priority = _PRESSED.get(urgency, ("HIGH", "active", "10"))
    apns["headers"]["apns-priority"] = priority
    apns["payload"]["aps"]["interruption-level"] = level
    webpush["headers"]["Urgency"] = urgency


def _check_text(message: Message, given: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    if silent(given):
        if not rest.get("data") and not any(given.get(name) for name in ("android", "apns", "webpush")):
            raise PayloadError("message.data: is empty; a message without a notification needs data")
        return
    android = part(rest, "android", "notification") or {}
    texts = [part(rest, "notification", name) for name in ("title", "body")]
    texts += [android.get(name) for name in ("title", "body", "title_loc_key", "body_loc_key")]
    if not any(text and text.strip() for text in texts):
        remedy = "write what people should read, or set message.options.fcm.notification to null to send only data"
        raise PayloadError(f"message.title: is empty, and so is message.body; {remedy}")


def _checked_size(rest: Mapping[str, Any], asleep: bool) -> int:
    """The most octets that one kind of device receives."""
    common = sum(len(encode(rest[name])) for name in ("notification", "data") if name in rest)
    sizes: dict[str, int] = {}
    for devices, (platform, *names) in _OWN.items():
        own = part(rest, platform) or {}
        sizes[devices] = common + sum(len(encode(own[name])) for name in names if own.get(name))
    devices = max(sizes, key=sizes.__getitem__)
    size = sizes[devices]
    if (over := size - LIMIT) > 0:
        who = f"{devices}, asleep" if asleep else devices
        raise PayloadError(f"message: {size} bytes for FCM ({who}), which takes {LIMIT}: {over} too many; shorten it")
    return size
