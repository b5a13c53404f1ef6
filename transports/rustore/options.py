"""``Message.options["rustore"]``: RuStore's own options, read strictly before anything is sent.

Source: rustore.ru/help/en/sdk/push-notifications/send-push-notifications.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from transports.json_texts.option_reader import OptionReader, wrong

MAX_TTL = 2_419_200
"""Seconds: four weeks, as with FCM, whose API RuStore's replaces; it names no limit of its own."""

# The annotations stay lazy in a Struct, so these names must be global.
Text: TypeAlias = Annotated[str, Meta(max_length=4_096)] | None
Link: TypeAlias = Annotated[str, Meta(pattern=r"^https?://[^\s/]\S*\Z")] | None
Span: TypeAlias = Annotated[str, Meta(pattern=r"^\d{1,9}(\.\d{1,9})?s\Z")]


class RustoreNotification(Struct, forbid_unknown_fields=True):
    """``title`` and ``body`` are the message's own unless set here."""

    title: Text = None
    body: Text = None
    image: Link = None


class RustoreAndroidNotification(Struct, forbid_unknown_fields=True):
    """How Android shows it."""

    title: Text = None
    body: Text = None
    icon: Text = None
    color: Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}\Z")] | None = None
    image: Link = None
    channel_id: Text = None
    click_action: Text = None
    click_action_type: Literal[0, 1] | None = None


class RustoreAndroid(Struct, forbid_unknown_fields=True):
    """Options for Android."""

    ttl: Span | None = None
    notification: RustoreAndroidNotification | None = None


class RustoreOptions(Struct, forbid_unknown_fields=True):
    """The whole of ``message.options.rustore``. ``notification: null``: a message with only data."""

    notification: RustoreNotification | None = None
    android: RustoreAndroid | None = None


_ADVICE = {
    "color": "#rrggbb",
    "image": "an http or https address",
    "click_action_type": "0 (an intent's action) or 1 (a deep link)",
    "ttl": f'a duration like "3600s", from 0s to {MAX_TTL}s',
}
_READER = OptionReader("rustore", RustoreOptions, _ADVICE)


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options. Raises ``PayloadError`` naming field, value and remedy."""
    plain = _READER.named(given)
    _READER.check(plain)
    ttl = (plain.get("android") or {}).get("ttl")
    if ttl is not None and float(ttl[:-1]) > MAX_TTL:
        raise wrong(f"{_READER.root}.android.ttl", ttl, _ADVICE["ttl"])
    return plain
