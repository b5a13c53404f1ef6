"""Renders a message for Apple: headers and JSON body, built once a batch.

Source: developer.apple.com, "Generating a remote notification".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from campaigns.message import SILENT, Message
from campaigns.presentation import Presentation
from campaigns.receipt import KEY
from transports.apns.options import WHERE, Alert, Aps, Localized, read, shown, wrong
from transports.apns.push_types import PUSH_TYPES, RINGING, START_ONLY
from transports.errors import PayloadError

_encode = msgspec.json.Encoder().encode
_LEVELS: Mapping[str | None, str] = {"high": "time-sensitive", "low": "passive"}
"""Urgency → ``interruption-level``; Apple's default is ``active``."""
_SPARING = 5
"""``apns-priority`` of an alert of low urgency: Apple may wait for a moment that spares the battery."""


class Push(NamedTuple):
    """A message's headers and body, the same for all recipients."""

    push_type: str
    """A key of ``PUSH_TYPES``."""
    priority: int
    collapse_id: str | None
    """None: the campaign's text."""
    body: bytes


def render(message: Message, presentation: Presentation = Presentation.AWAKE, most: int | None = None) -> Push:
    """Build headers and body. Without options: an alert with the default sound, delivered at once.

    ``most``: octets of the body, if not the push type's own number. ``url``, ``image`` and the app's own keys stand
    beside ``aps``. Raises ``PayloadError`` naming the key, its value and the remedy if Apple would refuse the message,
    or would take it and show it wrongly.
    """
    given = message.options.get("apns", {})
    options = read(given)
    kind = PUSH_TYPES[options.push_type]
    for key, value in (given.get("aps") or {}).items():
        if key not in kind.keys and value is not None:
            allowed = f"it takes {', '.join(sorted(kind.keys))}" if kind.keys else "it has no aps"
            raise PayloadError(
                f"{WHERE}.aps.{key}: {shown(value)} has no place in a push of type {options.push_type}; {allowed}"
            )
    aps = _ARRANGE.get(options.push_type, _as_given)(message, options.aps)
    score = aps.relevance_score
    if score is not None and not 0 <= score <= 1 and options.push_type != "liveactivity":
        raise wrong("aps.relevance-score", score)
    sparing = message.urgency == "low" and options.push_type == "alert"
    priority = options.priority or (_SPARING if sparing else kind.priorities[0])
    asleep = presentation is Presentation.ASLEEP
    if asleep:
        aps = _asleep(aps, options.push_type)
        priority = min(priority, 5)
    body: dict[str, object] = {"aps": aps} if kind.keys else {}
    for name in ("url", "image"):
        if (address := getattr(message, name)) is not None:
            body[name] = address
    _add(body, message.data, "message.data")
    _add(body, options.data, f"{WHERE}.data")
    if not body:
        raise PayloadError("message.data: is empty, and an mdm push has nothing else; give it the key mdm")
    encoded = _encode(body)
    most = most or kind.limit
    if (over := len(encoded) - most) > 0:
        what = ("" if options.push_type == "alert" else f" as {options.push_type}") + (", asleep" if asleep else "")
        said = f"{len(encoded)} bytes for APNs, which takes {most}{what}: {over} too many"
        raise PayloadError(f"message: {said}; shorten it")
    return Push(options.push_type, priority, options.collapse_id or message.collapse, encoded)


def limit(push: Push) -> int:
    """Most octets of the body of a push of this type."""
    return PUSH_TYPES[push.push_type].limit


def _add(body: dict[str, object], data: Mapping[str, object], where: str) -> None:
    for name, value in data.items():
        if name in body or name == "aps":
            raise PayloadError(f'{where}: the key "{name}" is taken on APNs; rename it')
        body[name] = value


def _as_given(message: Message, aps: Aps) -> Aps:
    return _with(aps, alert=aps.alert or UNSET, sound=aps.sound or UNSET)


def _alert(message: Message, aps: Aps) -> Aps:
    aps = _with(
        aps,
        badge=message.badge if aps.badge is None else aps.badge,
        category=aps.category or message.category,
        thread_id=aps.thread_id or message.thread,
        # an extension of the app has to fetch the picture, or open the receipt's address, before the push is shown
        mutable_content=1 if message.image is not None or KEY in message.data else aps.mutable_content,
    )
    if aps.alert is None:
        if aps.badge is None and not aps.sound:
            remedy = "give a badge or a sound, or use push_type background"
            raise PayloadError(f"{WHERE}.aps.alert: null leaves nothing to show; {remedy}")
        return _as_given(message, aps)
    sound = _usual_sound(message) if aps.sound is UNSET else aps.sound or UNSET
    level = aps.interruption_level or _LEVELS.get(message.urgency)
    return _with(aps, alert=_complete(_told(message, aps.alert)), sound=sound, interruption_level=level)


def _usual_sound(message: Message) -> str | UnsetType:
    return UNSET if message.sound == SILENT else message.sound or "default"


def _asleep(aps: Aps, push_type: str) -> Aps:
    """The same without a sound and without lighting the screen."""
    if push_type in RINGING:
        remedy = "hold it until the phone may be woken"
        raise PayloadError(
            f'{WHERE}.push_type: a push of type "{push_type}" always rings, so it cannot be asleep; {remedy}'
        )
    if push_type == "alert":
        return _with(aps, interruption_level="passive", sound=UNSET)
    alert = aps.alert
    return _with(
        aps, sound=UNSET, alert=msgspec.structs.replace(alert, sound=None) if isinstance(alert, Alert) else alert
    )


def _background(message: Message, aps: Aps) -> Aps:
    return _with(aps, content_available=1)


def _reload(message: Message, aps: Aps) -> Aps:
    if aps.content_changed is False:
        raise wrong("aps.content-changed", False)
    return _with(aps, content_changed=True)


def _live_activity(message: Message, aps: Aps) -> Aps:
    event = aps.event
    needed = ["event", "timestamp"]
    if event != "end":
        needed.append("content-state")
    if event == "start":
        needed += ["attributes-type", "attributes"]
    for key in needed:
        if _value(aps, key) is None:
            raise PayloadError(f"{WHERE}.aps.{key}: is missing; a Live Activity's {event or 'push'} needs it")
    for key in START_ONLY if event != "start" else ():
        if _value(aps, key) is not None:
            raise PayloadError(f"{WHERE}.aps.{key}: has no place in event {event}; remove it, or use event start")
    if aps.input_push_channel is not None and aps.input_push_token is not None:
        raise PayloadError(f"{WHERE}.aps.input-push-token: excludes input-push-channel; remove one of them")
    alert: str | Alert | UnsetType = UNSET
    if aps.alert is not None:
        alert = _told(message, aps.alert, live=True)
    elif event == "start":
        raise PayloadError(f"{WHERE}.aps.alert: null is not allowed; a Live Activity's start needs an alert")
    if event == "start":
        alert = _complete(alert)
    # An update or an end is silent unless it has something to say.
    return _with(aps, alert=UNSET if alert == Alert() else alert, sound=aps.sound or UNSET)


_ARRANGE = {
    "alert": _alert,
    "background": _background,
    "liveactivity": _live_activity,
    "widgets": _reload,
    "controls": _reload,
}


def _with(aps: Aps, **changes: Any) -> Aps:
    return msgspec.structs.replace(aps, **changes)


def _value(aps: Aps, key: str) -> object:
    return getattr(aps, key.replace("-", "_"))


def _told(message: Message, given: str | Alert | UnsetType, *, live: bool = False) -> str | Alert:
    """The given alert, completed from the message's own texts."""
    if isinstance(given, str):
        return given
    alert = given if isinstance(given, Alert) else Alert()
    for name, text in (("title", alert.title), ("body", alert.body), ("sound", alert.sound)):
        if not live and (isinstance(text, Localized) or (name == "sound" and text is not None)):
            remedy = "put it into aps.sound" if name == "sound" else f"use {'title-' * (name == 'title')}loc-key"
            raise PayloadError(f"{WHERE}.aps.alert.{name}: {shown(text)} is only for Live Activities; {remedy}")
    title = alert.title or (None if alert.title_loc_key else (message.title.strip() and message.title) or None)
    body = alert.body or (None if alert.loc_key else (message.body.strip() and message.body) or None)
    return msgspec.structs.replace(alert, title=title, body=body)


def _complete(alert: str | Alert | UnsetType) -> str | Alert | UnsetType:
    if isinstance(alert, Alert):
        texts = (alert.title, alert.title_loc_key, alert.body, alert.loc_key)
        if all(text is None for text in texts):
            raise PayloadError("message.title: is empty, and so is message.body; write what people should read")
    return alert
