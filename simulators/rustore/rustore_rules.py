"""The body of RuStore's ``messages:send``, checked field by field as its page documents it."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from simulators.answers import Rejection
from simulators.field_checks import choice, duration, fields, invalid, matching, text, text_map

_LIMIT: Final = 4096
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_REQUEST = fields(
    {
        "message": fields(
            {
                "token": text,
                "data": text_map,
                "notification": fields(dict.fromkeys(("title", "body", "image"), text)),
                "android": fields(
                    {
                        "ttl": duration,
                        "notification": fields(
                            dict.fromkeys(("title", "body", "icon", "image", "channel_id", "click_action"), text)
                            | {"color": matching(_COLOR), "click_action_type": choice("intent", "deep link")}
                        ),
                    }
                ),
            }
        )
    }
)


def check_request(request: Any) -> Rejection | None:
    """Judge a decoded body."""
    wrong = _REQUEST(request, "")
    if wrong is not None:
        return wrong
    message = request.get("message")
    if not message or not message.get("token"):
        return invalid("message.token is required", "message.token")
    shown = (message.get("android") or {}).get("notification")
    parts = [part for part in (message.get("notification"), message.get("data"), shown) if part]
    if not parts:
        return invalid("message has neither notification nor data", "message")
    size = sum(len(msgspec.json.encode(part)) for part in parts)
    return invalid(f"message is too big: {size} bytes", "message") if size > _LIMIT else None
