"""``Message.options["huawei"]``: Huawei's own options, read strictly before anything is sent.

``android`` goes to the first and second form of the API, ``notification`` and ``pushOptions`` to the third; each form
leaves the other's part out. Sources: developer.huawei.com, "Push Kit REST API" (HMSCore, https-send-api) and
"push-scenariozed-api-request-param" (HarmonyOS).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from transports.json_texts.option_reader import OptionReader, wrong

MAX_TTL = 1_296_000
"""Seconds: fifteen days."""

# The annotations stay lazy in a Struct, so these names must be global.
Text: TypeAlias = Annotated[str, Meta(max_length=1_024)] | None
Link: TypeAlias = Annotated[str, Meta(pattern=r"^https://[^\s/]\S*\Z")] | None
Word: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Z][A-Z_]{1,63}\Z")] | None
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_TTL)] | None
Flag: TypeAlias = bool | None
Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)] | None


class HuaweiClick(Struct, forbid_unknown_fields=True):
    """What a tap opens: 1 the app's own intent, 2 an address, 3 the app."""

    type: Literal[1, 2, 3]
    intent: Text = None
    url: Link = None
    action: Text = None


class HuaweiBadge(Struct, forbid_unknown_fields=True):
    """The number on the app's icon."""

    add_num: Number = None
    set_num: Number = None


class HuaweiShown(Struct, forbid_unknown_fields=True):
    """How Android shows it (``android.notification``)."""

    title: Text = None
    body: Text = None
    icon: Text = None
    color: Annotated[str, Meta(pattern=r"^#[0-9A-Fa-f]{6}\Z")] | None = None
    sound: Text = None
    default_sound: Flag = None
    tag: Text = None
    click_action: HuaweiClick | None = None
    channel_id: Text = None
    image: Link = None
    importance: Literal["LOW", "NORMAL"] | None = None
    group: Text = None
    notify_id: Number = None
    foreground_show: Flag = None
    badge: HuaweiBadge | None = None


class HuaweiAndroid(Struct, forbid_unknown_fields=True):
    """Options of the first and the second form of the API."""

    collapse_key: Annotated[int, Meta(ge=-1, le=100)] | None = None
    urgency: Literal["HIGH", "NORMAL"] | None = None
    category: Word = None
    ttl: Annotated[str, Meta(pattern=r"^\d{1,7}s\Z")] | None = None
    bi_tag: Annotated[str, Meta(max_length=64)] | None = None
    receipt_id: Text = None
    target_user_type: Literal[0, 1] | None = None
    notification: HuaweiShown | None = None


class HarmonyClick(Struct, forbid_unknown_fields=True, rename="camel"):
    """What a tap opens: 0 the app, 1 a page of it."""

    action_type: Literal[0, 1]
    action: Text = None
    uri: Text = None
    data: dict[str, Any] | None = None


class HarmonyBadge(Struct, forbid_unknown_fields=True, rename="camel"):
    """The number on the app's icon."""

    add_num: Number = None
    set_num: Number = None


class HarmonyNotification(Struct, forbid_unknown_fields=True, rename="camel"):
    """``payload.notification`` of the third form."""

    category: Word = None
    title: Text = None
    body: Text = None
    image: Link = None
    style: Literal[0, 1, 3] | None = None
    click_action: HarmonyClick | None = None
    badge: HarmonyBadge | None = None
    sound: Text = None
    notify_id: Number = None
    foreground_show: Flag = None


class HarmonyPush(Struct, forbid_unknown_fields=True, rename="camel"):
    """``pushOptions`` of the third form."""

    test_message: Flag = None
    ttl: Seconds = None
    bi_tag: Annotated[str, Meta(max_length=64)] | None = None
    receipt_id: Text = None
    collapse_key: Annotated[int, Meta(ge=-1, le=100)] | None = None


class HuaweiOptions(Struct, forbid_unknown_fields=True, rename="camel"):
    """The whole of ``message.options.huawei``."""

    android: HuaweiAndroid | None = None
    notification: HarmonyNotification | None = None
    push_options: HarmonyPush | None = None


_ADVICE = {
    "action_type": "0 (the app) or 1 (a page of it)",
    "actionType": "0 (the app) or 1 (a page of it)",
    "category": "one of Huawei's categories, as in MARKETING",
    "collapse_key": "a whole number from -1 to 100",
    "collapseKey": "a whole number from -1 to 100",
    "color": "#rrggbb",
    "image": "an https address",
    "url": "an https address",
    "importance": "LOW or NORMAL",
    "type": "1 (an intent), 2 (an address) or 3 (the app)",
    "urgency": "HIGH or NORMAL",
    "android.ttl": f'a duration like "3600s", from 0s to {MAX_TTL}s',
    "pushOptions.ttl": f"whole seconds from 0 to {MAX_TTL}",
}
_READER = OptionReader("huawei", HuaweiOptions, _ADVICE)


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options. Raises ``PayloadError`` naming field, value and remedy."""
    plain = _READER.named(given)
    _READER.check(plain)
    ttl = (plain.get("android") or {}).get("ttl")
    if ttl is not None and int(ttl[:-1]) > MAX_TTL:
        raise wrong(f"{_READER.root}.android.ttl", ttl, _ADVICE["android.ttl"])
    return plain
