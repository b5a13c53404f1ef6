"""Renders a message as a declarative push message: Safari shows it by itself, elsewhere the site's service worker does.

Sources: W3C Push API §3.3 (declarative push message), WebKit's "Meet Declarative Web Push"; RFC 8030 §5 for the fields.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from campaigns.message import SILENT, Message
from campaigns.presentation import Presentation
from transports.errors import PayloadError
from transports.webpush import options
from transports.webpush.encryption import LONGEST
from transports.webpush.options import WHERE

MAX_TTL = 2_419_200
"""Seconds: four weeks, the longest that all push services keep a push."""
_encode = msgspec.json.Encoder().encode


class WebPush(NamedTuple):
    """One text of a message, rendered."""

    content: bytes
    """The JSON that a browser gets."""
    urgency: str
    topic: str


def render(message: Message, site: str, campaign: str, presentation: Presentation = Presentation.AWAKE) -> WebPush:
    """Build the JSON. ``site``: where a tap leads if the message has no address of its own; ``campaign``: 13-character
    text, under which a repeat replaces the first.

    Raises ``PayloadError`` for an unknown option, a missing text, or more than :data:`LONGEST` octets.
    """
    given = options.read(message.options.get("webpush", {}))
    asleep = presentation is Presentation.ASLEEP
    slot = message.collapse or campaign
    notification: dict[str, Any] = {
        "title": message.title.strip() or message.body,
        "navigate": message.url or site,
        "tag": slot,
    }
    if message.title.strip() and message.body.strip():
        notification["body"] = message.body
    if message.image is not None:
        notification["image"] = message.image
    if message.data:
        notification["data"] = dict(message.data)
    if message.badge is not None:
        notification["app_badge"] = message.badge
    notification |= given.notification
    notification = {name: value for name, value in notification.items() if value is not None}
    if asleep or (message.sound == SILENT and "silent" not in given.notification):
        notification["silent"] = True
    for name in ("title", "navigate"):
        if not isinstance(notification.get(name), str) or not notification[name].strip():
            raise PayloadError(f"{_origin(name, given)}: is empty; a browser shows no push without a {name}")
    whole: dict[str, Any] = {"web_push": 8030, "notification": notification}
    if given.mutable:
        whole["mutable"] = True
    content = _encode(whole)
    if (over := len(content) - LONGEST) > 0:
        raise PayloadError(
            f"message: {len(content)} bytes for a browser, which takes {LONGEST}: {over} too many; shorten it"
        )
    urgency = "low" if asleep else given.urgency or message.urgency or "high"
    return WebPush(content, urgency, given.topic or slot)


def _origin(name: str, given: options.WebPushOptions) -> str:
    """The field of a message that a member comes from."""
    if name in given.notification:
        return f"{WHERE}.notification.{name}"
    return "message.title" if name == "title" else "message.url"
