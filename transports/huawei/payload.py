"""Renders a message for Huawei: JSON built once for many recipients, into which up to a thousand tokens are put.

Sources: developer.huawei.com, "https-send-api" (HMSCore; the first and second form) and "push-scenariozed-api"
(HarmonyOS 5 and later; the third).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from campaigns.identity import campaign_text
from campaigns.message import SILENT, Message
from campaigns.presentation import Presentation
from transports.errors import PayloadError
from transports.huawei import options
from transports.json_texts.app_data import app_data
from transports.json_texts.body import LATER, LATER_NUMBER, Body, encode
from transports.json_texts.merging import merged, part

LIMIT = 4_096
"""Most octets of a request without its tokens (80300008)."""
TOKENS = 1_000
"""Most tokens of a request (80300010)."""
_NEWS = "MARKETING"
"""Huawei's category of news and marketing, which every message has unless the app has the right to choose another. In
HarmonyOS it is shown without sound."""


class Form(NamedTuple):
    """A form of Huawei's API."""

    harmony: bool
    """The third form, which reaches HarmonyOS 5 and later; the first two reach HarmonyOS 4, and Android (EMUI)."""

    def body(self, tokens: Sequence[bytes], tail: bytes, validate_only: bool = False) -> bytes:
        """A request's body for these tokens, which are JSON texts without quotes."""
        head = b'{"target":{"token":["' if self.harmony else b'{"message":{"token":["'
        if validate_only:
            head = b'{"validate_only":true,' + head[1:]
        return head + b'","'.join(tokens) + tail


OLD, HARMONY = Form(False), Form(True)


def render(message: Message, campaign: int, presentation: Presentation, form: Form) -> Body:
    """Build the body, with gaps that ``kept_for`` fills. ``message.options["huawei"]`` overrides Broadside's defaults.

    ``campaign``: by it a repeat replaces the first. Raises ``PayloadError`` for an option that Huawei does not take, a
    missing text, or more than :data:`LIMIT` octets.
    """
    given = options.read(message.options.get("huawei", {}))
    data = app_data(message, "Huawei")
    asleep = presentation is Presentation.ASLEEP
    make = _harmony if form.harmony else _old
    rest = make(message, given, data, campaign, asleep)
    body = encode(rest)[1:]
    tail = b'"]},' + body if form.harmony else b'"],' + body + b"}"
    # the seconds to keep it take seven digits at most
    size = len(form.body((), tail)) - (len(LATER) - len(str(options.MAX_TTL))) * tail.count(LATER.encode())
    if (over := size - LIMIT) > 0:
        raise PayloadError(f"message: {size} bytes for Huawei, which takes {LIMIT}: {over} too many; shorten it")
    return Body(tail, size)


def _old(message: Message, given: dict[str, Any], data: dict[str, str], campaign: int, asleep: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"tag": message.collapse or campaign_text(campaign), "click_action": {"type": 3}}
    if message.url is not None and message.url[:8].lower() == "https://":
        shown["click_action"] = {"type": 2, "url": "https" + message.url[5:]}
    if message.sound not in (None, SILENT):
        shown["sound"] = message.sound
    if message.sound == SILENT:
        shown["default_sound"] = False
    if message.badge is not None:
        shown["badge"] = {"set_num": message.badge}
    if message.urgency == "low":
        shown["importance"] = "LOW"
    notification = _texts(message)
    rest: dict[str, Any] = {"android": {"ttl": f"{LATER}s", "notification": shown}, "notification": notification}
    if data:
        rest["data"] = encode(data).decode()
    rest = merged(rest, {"android": given["android"]} if given.get("android") else {})
    _check_text([part(rest, "android", "notification"), notification])
    if asleep:
        quiet = {name: value for name, value in rest["android"]["notification"].items() if name != "sound"}
        rest["android"]["notification"] = quiet | {"importance": "LOW", "default_sound": False}
    return rest


def _harmony(
    message: Message, given: dict[str, Any], data: dict[str, str], campaign: int, asleep: bool
) -> dict[str, Any]:
    click: dict[str, Any] = {"actionType": 0}
    if data:
        click["data"] = data
    slot = campaign if message.collapse is None else zlib.crc32(message.collapse.encode())
    notification: dict[str, Any] = {
        "category": _NEWS,
        **_texts(message),
        "clickAction": click,
        "notifyId": slot & 0x7FFFFFFF,
    }
    if message.badge is not None:
        notification["badge"] = {"setNum": message.badge}
    if message.sound not in (None, SILENT):
        notification["sound"] = message.sound
    rest: dict[str, Any] = {"payload": {"notification": notification}, "pushOptions": {"ttl": LATER_NUMBER}}
    own = {"payload": {"notification": given["notification"]}} if given.get("notification") else {}
    rest = merged(rest, own | ({"pushOptions": given["pushOptions"]} if given.get("pushOptions") else {}))
    notification = rest["payload"]["notification"]
    _check_text([notification])
    if asleep:
        notification["category"] = _NEWS
        notification.pop("sound", None)
    return rest


def _texts(message: Message) -> dict[str, str]:
    found = {name: text for name in ("title", "body") if (text := getattr(message, name)).strip()}
    if message.image is not None:
        found["image"] = message.image
    return found


def _check_text(parts: list[dict[str, Any] | None]) -> None:
    """Huawei shows nothing without both."""
    for name in ("title", "body"):
        if not any(text and text.strip() for each in parts if (text := (each or {}).get(name)) is not None):
            raise PayloadError(f"message.{name}: is empty; Huawei shows no notification without title and body")
