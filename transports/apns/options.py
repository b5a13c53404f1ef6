"""``Message.options["apns"]``: options for Apple's phones, read strictly, under Apple's own names.

Sources: developer.apple.com, "Generating a remote notification" (the keys of ``aps``), "Sending notification requests
to APNs" (the headers), "Starting and updating Live Activities with ActivityKit push notifications".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from transports.apns.push_types import PUSH_TYPES
from transports.errors import PayloadError

WHERE = "message.options.apns"
_COLLAPSE_LIMIT = 64
_COLLAPSE = re.compile(r"[!-~](?:[ -~]*[!-~])?")

Seconds = Annotated[int, Meta(ge=0, le=9_999_999_999)]
Text = Annotated[str, Meta(min_length=1)]


class Localized(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """A text from the app's own strings file, for the alert of a Live Activity."""

    loc_key: Text
    loc_args: list[str] | None = None


class Alert(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab", kw_only=True):
    """``aps.alert``. Without ``title`` and ``body`` the message's own are shown."""

    title: Text | Localized | None = None
    subtitle: Text | None = None
    body: Text | Localized | None = None
    launch_image: Text | None = None
    title_loc_key: Text | None = None
    title_loc_args: list[str] | None = None
    subtitle_loc_key: Text | None = None
    subtitle_loc_args: list[str] | None = None
    loc_key: Text | None = None
    loc_args: list[str] | None = None
    sound: Text | None = None
    """Only for Live Activities, which have their sound here."""


class Sound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``aps.sound`` of a critical alert."""

    name: Text
    critical: Literal[0, 1] | None = None
    volume: Annotated[float, Meta(ge=0, le=1)] | None = None


class Aps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab", kw_only=True):
    """``aps``. ``alert`` and ``sound`` may be null, which means none."""

    alert: Text | Alert | UnsetType | None = UNSET
    badge: Annotated[int, Meta(ge=0)] | None = None
    sound: Text | Sound | UnsetType | None = UNSET
    thread_id: Text | None = None
    category: Text | None = None
    content_available: Literal[1] | None = None
    mutable_content: Literal[1] | None = None
    target_content_id: Text | None = None
    interruption_level: Literal["passive", "active", "time-sensitive", "critical"] | None = None
    relevance_score: float | None = None
    filter_criteria: Text | None = None
    timestamp: Seconds | None = None
    event: Literal["start", "update", "end"] | None = None
    content_state: dict[str, Any] | None = None
    stale_date: Seconds | None = None
    dismissal_date: Seconds | None = None
    attributes_type: Text | None = None
    attributes: dict[str, Any] | None = None
    input_push_channel: Text | None = None
    input_push_token: Literal[1] | None = None
    content_changed: bool | None = None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of ``message.options.apns``."""

    push_type: str = "alert"
    priority: int | None = None
    """None: the push type's usual one."""
    collapse_id: str | None = None
    """None: the campaign's text."""
    aps: Aps = Aps()
    data: dict[str, Any] = {}
    """The app's own keys beside ``aps``, with any JSON as values, if ``Message.data`` is not enough."""


_SECONDS = "write seconds since 1970, UTC"
_FLAG = "write 1, or leave it out"
_ARGS = "write an array of texts"
ADVICE = {
    "push_type": f"use one of {', '.join(PUSH_TYPES)}",
    "priority": "use 10 (now), 5 (sparing the battery) or 1 (without waking the device)",
    "collapse_id": f"write 1 to {_COLLAPSE_LIMIT} printable ASCII characters, without blanks at the ends",
    "aps": "write an object with Apple's keys",
    "data": "write an object: the app's own keys beside aps",
    "alert": "write a text, an object with Apple's keys, or null for none",
    "badge": "write a whole number; 0 removes the badge",
    "sound": "write a sound file's name, an object with name, critical (0 or 1) and volume (0 to 1), or null for none",
    "critical": "write 0 or 1",
    "volume": "write a number from 0 (silent) to 1",
    "content-available": _FLAG,
    "mutable-content": _FLAG,
    "input-push-token": _FLAG,
    "interruption-level": "use passive, active, time-sensitive or critical",
    "relevance-score": "write a number from 0 to 1 (for a Live Activity, any number)",
    "timestamp": _SECONDS,
    "stale-date": _SECONDS,
    "dismissal-date": _SECONDS,
    "event": "use start, update or end",
    "content-state": "write an object: what the app's ContentState decodes",
    "attributes": "write an object: what the app's ActivityAttributes decode",
    "content-changed": "write true",
    "loc-args": _ARGS,
    "title-loc-args": _ARGS,
    "subtitle-loc-args": _ARGS,
}
"""The remedy for each key. A key that is not listed takes a text."""
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "aps": Aps,
    "alert": Alert,
    "sound": Sound,
    "title": Localized,
    "body": Localized,
}
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")


def read(given: Mapping[str, Any]) -> Options:
    """Read the options. Raises ``PayloadError`` naming the key, its value and what to write instead."""
    try:
        options = msgspec.convert(given, Options)
    except msgspec.ValidationError as error:
        raise PayloadError(_explain(given, str(error))) from None
    kind = PUSH_TYPES.get(options.push_type)
    if kind is None:
        raise wrong("push_type", options.push_type)
    if options.priority not in (None, 10, 5, 1):
        raise wrong("priority", options.priority)
    if options.priority is not None and options.priority not in kind.priorities:
        right = " or ".join(map(str, kind.priorities))
        raise PayloadError(f"{WHERE}.priority: {options.priority} is not allowed for {options.push_type}; use {right}")
    collapse = options.collapse_id
    if collapse is not None and (len(collapse) > _COLLAPSE_LIMIT or not _COLLAPSE.fullmatch(collapse)):
        raise wrong("collapse_id", collapse)
    return options


def wrong(path: str, value: object) -> PayloadError:
    """The error that the key at ``path`` may not have this value, with the values that it may have."""
    key = path.rpartition(".")[2]
    return PayloadError(f"{WHERE}.{path}: {shown(value)} is not allowed; {ADVICE.get(key, 'write a text')}")


def shown(value: object) -> str:
    """``value`` as JSON, on one short line."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:59] + "…"


def _explain(given: object, message: str) -> str:
    """Turn msgspec's message, which names types, into one that names the key, its value and the remedy."""
    text, _, place = message.partition(" - at ")
    steps = [name or int(index) for name, index in _STEP.findall(place)]
    names = [step for step in steps if isinstance(step, str)]
    last = names[-1] if names else ""
    where = ".".join([WHERE, *names])
    if found := re.search(r"(unknown|missing required) field `(.*)`", text):
        known = [field.encode_name for field in msgspec.structs.fields(_STRUCTS.get(last, Options))]
        if found[1] != "unknown":
            return f"{where}.{found[2]}: is missing; {ADVICE.get(found[2], 'write a text')}"
        near = difflib.get_close_matches(found[2], known, 1)
        remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{where}.{found[2][:64]}: unknown key; {remedy}"
    value: Any = given
    for step in steps:
        value = value[step]
    return f"{where}: {shown(value)} is not allowed; {ADVICE.get(last, 'write a text')}"
