"""The bodies of Huawei's ``messages:send`` in its forms, checked field by field as its pages document them."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Final

import msgspec

from simulators.answers import Rejection
from simulators.field_checks import Check, choice, fields, flag, is_a, matching, text

LIMIT: Final = 4_096
TOKENS: Final = 1_000
_MOST_TTL: Final = 1_296_000
_fields = partial(fields, exact=True)
_number = is_a(int, "Integer")
_strings = is_a(list, "Array")
_anything = is_a(dict, "Object")


def _exact(check: Check) -> Check:
    """The same check in Huawei's words."""

    def judge(value: Any, at: str) -> Rejection | None:
        wrong = check(value, at)
        return (
            None if wrong is None else Rejection(400, "80100003", f"Illegal payload, {wrong.field or wrong.message}.")
        )

    return judge


_CLICK = _fields({"type": _number, "intent": text, "url": text, "action": text})
_BADGE = _fields({"add_num": _number, "set_num": _number, "class": text})
_SHOWN = _fields(
    dict.fromkeys(("title", "body", "icon", "sound", "tag", "channel_id", "image", "group"), text)
    | {
        "color": matching(re.compile(r"#[0-9a-fA-F]{6}")),
        "default_sound": flag,
        "click_action": _CLICK,
        "importance": choice("LOW", "NORMAL"),
        "notify_id": _number,
        "foreground_show": flag,
        "badge": _BADGE,
    }
)
_OLD = _exact(
    _fields(
        {
            "validate_only": flag,
            "message": _fields(
                {
                    "data": text,
                    "notification": _fields(dict.fromkeys(("title", "body", "image"), text)),
                    "android": _fields(
                        {
                            "collapse_key": _number,
                            "urgency": choice("HIGH", "NORMAL"),
                            "category": text,
                            "ttl": matching(re.compile(r"\d{1,7}s")),
                            "bi_tag": text,
                            "receipt_id": text,
                            "target_user_type": _number,
                            "notification": _SHOWN,
                        }
                    ),
                    "token": _strings,
                }
            ),
        }
    )
)
_HARMONY = _exact(
    _fields(
        {
            "payload": _fields(
                {
                    "notification": _fields(
                        dict.fromkeys(("category", "title", "body", "image", "sound"), text)
                        | {
                            "style": _number,
                            "clickAction": _fields(
                                {"actionType": _number, "action": text, "uri": text, "data": _anything}
                            ),
                            "badge": _fields({"addNum": _number, "setNum": _number}),
                            "notifyId": _number,
                            "foregroundShow": flag,
                        }
                    )
                }
            ),
            "target": _fields({"token": _strings}),
            "pushOptions": _fields(
                {"testMessage": flag, "ttl": _number, "biTag": text, "receiptId": text, "collapseKey": _number}
            ),
        }
    )
)


class HuaweiRequest(msgspec.Struct, frozen=True):
    """What a valid request asks for."""

    tokens: list[str]
    collapse: str | None
    ttl: float | None
    asleep: bool
    validate_only: bool = False


def judge(request: Any, *, harmony: bool) -> HuaweiRequest | Rejection:
    """Judge a decoded body in everything but its tokens' forms."""
    wrong = (_HARMONY if harmony else _OLD)(request, "")
    if wrong is not None:
        return wrong
    found = _harmony(request) if harmony else _old(request)
    if isinstance(found, Rejection):
        return found
    if not 1 <= len(found.tokens) <= TOKENS or not all(isinstance(token, str) for token in found.tokens):
        return Rejection(400, "80300010", f"token count should within 1 and {TOKENS}.")
    if found.ttl is not None and not 0 <= found.ttl <= _MOST_TTL:
        return Rejection(400, "80100004", "Illegal expire time.")
    # without the tokens: their texts, their quotes, and the commas between them
    size = len(msgspec.json.encode(request)) - sum(len(token) + 3 for token in found.tokens) + 1
    return Rejection(400, "80300008", "Push message size is too long.") if size > LIMIT else found


def _old(request: dict[str, Any]) -> HuaweiRequest | Rejection:
    message = request.get("message") or {}
    android = message.get("android") or {}
    shown, common = android.get("notification") or {}, message.get("notification") or {}
    if not message.get("data") and not shown and not common:
        return Rejection(400, "80100003", "Illegal payload, message.")
    if shown or common:
        if not all(shown.get(name) or common.get(name) for name in ("title", "body")):
            return Rejection(400, "80100003", "Illegal payload, title and body are required.")
        if (shown.get("click_action") or {}).get("type") not in (1, 2, 3):
            return Rejection(400, "80100003", "Illegal payload, click_action is required.")
    if not -1 <= android.get("collapse_key", -1) <= 100:
        return Rejection(400, "80100013", "Illegal collapse_key.")
    ttl = android.get("ttl")
    asleep = shown.get("importance") == "LOW" and shown.get("default_sound") is False and "sound" not in shown
    tokens = message.get("token") or []
    seconds = None if ttl is None else float(ttl[:-1])
    return HuaweiRequest(tokens, shown.get("tag"), seconds, asleep, bool(request.get("validate_only")))


def _harmony(request: dict[str, Any]) -> HuaweiRequest | Rejection:
    shown = (request.get("payload") or {}).get("notification") or {}
    if not all(shown.get(name) for name in ("title", "body", "category")):
        return Rejection(400, "80100003", "Illegal payload, category, title and body are required.")
    if (shown.get("clickAction") or {}).get("actionType") not in (0, 1):
        return Rejection(400, "80100003", "Illegal payload, clickAction is required.")
    slot = shown.get("notifyId")
    ttl = (request.get("pushOptions") or {}).get("ttl")
    asleep = shown["category"] == "MARKETING" and "sound" not in shown
    tokens = (request.get("target") or {}).get("token") or []
    return HuaweiRequest(tokens, None if slot is None else str(slot), None if ttl is None else float(ttl), asleep)
