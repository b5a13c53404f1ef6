"""Renders a message for RuStore: JSON built once for many recipients, into which each one's token is spliced.

Source: rustore.ru/help/en/sdk/push-notifications/send-push-notifications. RuStore has no priority, and nothing under
which a repeat would replace the first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from campaigns.message import Message
from campaigns.presentation import Presentation
from transports.errors import PayloadError
from transports.json_texts.app_data import app_data
from transports.json_texts.body import LATER, Body, encode
from transports.json_texts.merging import merged, part, silent
from transports.rustore import options

LIMIT = 4_096
"""Most octets of notification and data, as with FCM: RuStore names no limit of its own."""
HEADS = {"token": b'{"message":{"token":"'}


class RustoreApp(NamedTuple):
    """What is known of a channel's app."""

    quiet_channel: str | None = None
    """Its own notification channel without sound."""


def render(message: Message, presentation: Presentation, app: RustoreApp) -> Body:
    """Build the body, with gaps that ``kept_for`` fills. ``message.options["rustore"]`` overrides Broadside's defaults.

    Raises ``PayloadError`` for an option that RuStore does not take, a missing text, or more than :data:`LIMIT` octets;
    and if the phone would ring although the push is asleep.
    """
    given = options.read(message.options.get("rustore", {}))
    rest = merged(_defaults(message, data_only=silent(given)), given)
    android = rest.get("android") or {}
    shown = not silent(given) or bool(android.get("notification"))
    if not shown and not rest.get("data"):
        raise PayloadError("message.data: is empty; a message without a notification needs data")
    texts = [part(rest, *path, name) for path in (("notification",), ("android", "notification")) for name in _TEXTS]
    if shown and not any(text and text.strip() for text in texts):
        remedy = "write what people should read, or set message.options.rustore.notification to null to send only data"
        raise PayloadError(f"message.title: is empty, and so is message.body; {remedy}")
    if shown and presentation is Presentation.ASLEEP:
        if app.quiet_channel is None:
            remedy = "name the app's own channel without sound as quiet_channel in the channel's table"
            raise PayloadError(f"message: on Android it would ring although it is asleep; {remedy}")
        android = android | {"notification": (android.get("notification") or {}) | {"channel_id": app.quiet_channel}}
        rest["android"] = android
    rest = {name: value for name, value in rest.items() if value}
    received = (rest.get("notification"), rest.get("data"), android.get("notification"))
    size = sum(len(encode(each)) for each in received if each)
    if (over := size - LIMIT) > 0:
        raise PayloadError(f"message: {size} bytes for RuStore, which takes {LIMIT}: {over} too many; shorten it")
    return Body(b'",' + encode(rest)[1:] + b"}", size)


_TEXTS = ("title", "body")


def _defaults(message: Message, *, data_only: bool) -> dict[str, Any]:
    """What is sent unless an option says otherwise."""
    android: dict[str, Any] = {"ttl": f"{LATER}s"}
    rest: dict[str, Any] = {"android": android, "data": app_data(message, "RuStore")}
    if not data_only:
        rest["notification"] = {name: text for name in _TEXTS if (text := getattr(message, name)).strip()}
        if message.image is not None:
            rest["notification"]["image"] = message.image
        if message.url is not None:
            android["notification"] = {"click_action": message.url, "click_action_type": 1}
    return rest
