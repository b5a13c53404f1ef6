"""Renders a message for FCM: JSON built once for many recipients, into which each one's token is spliced.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from campaigns.message import Message
from campaigns.recipient import Recipient
from transports.errors import PayloadError
from transports.fcm import options
from transports.fcm.options import MAX_TTL

LIMIT = 4_096
"""Most octets that an app receives: notification and data, including the platform's own."""
_encode = msgspec.json.Encoder().encode

_HEADS = {"token": b'{"message":{"token":"', "fid": b'{"message":{"fid":"'}
_VALIDATE_HEADS = {kind: b'{"validate_only":true,' + head[1:] for kind, head in _HEADS.items()}
# What each kind of device receives beside the message's notification and data.
_OWN = {"Android": ("android", "notification", "data"), "iPhones": ("apns", "payload"),
        "browsers": ("webpush", "notification", "data")}  # fmt: skip


class Body:
    """The JSON of one campaign, split where the target goes."""

    __slots__ = ("_heads", "_tail")

    def __init__(self, rest: bytes, validate_only: bool = False) -> None:
        self._tail = b'",' + rest
        self._heads = _VALIDATE_HEADS if validate_only else _HEADS

    def to(self, recipients: Sequence[Recipient]) -> list[bytes | None]:
        """Return each one's body (``kind``: ``token`` or ``fid``); None for a kind that FCM does not have."""
        if not recipients:
            return []
        tail = self._tail
        texts = [recipient.token for recipient in recipients]
        encoded = _encode(texts)
        # If nothing was escaped (no real token needs it), quotes stand only around the tokens.
        escaped = b"\\" in encoded
        tokens = [_encode(text)[1:-1] for text in texts] if escaped else encoded[2:-2].split(b'","')
        heads = [self._heads.get(recipient.kind) for recipient in recipients]
        return [None if head is None else head + token + tail for head, token in zip(heads, tokens, strict=True)]


def render(message: Message, campaign: str, ttl: int, *, validate_only: bool = False) -> Body:
    """Build the body. ``campaign``: 13-character text, under which a repeat replaces the first; ``ttl``: seconds.

    ``message.options["fcm"]`` overrides Broadside's defaults. Raises ``PayloadError`` for an option that FCM does not
    take, a reserved key, a missing text, or more than :data:`LIMIT` octets.
    """
    given = options.read(message.options.get("fcm", {}))
    rest = _merged(_defaults(message, given, campaign, max(0, min(ttl, MAX_TTL))), given)
    if not rest.get("notification"):
        rest.pop("notification", None)
    _check_text(message, given, rest)
    _check_size(rest)
    return Body(_encode(rest)[1:] + b"}", validate_only)


def _defaults(message: Message, given: Mapping[str, Any], campaign: str, ttl: int) -> dict[str, Any]:
    """What is sent unless an option says otherwise."""
    # No collapse_key: FCM keeps four of them for each device, and drops messages under any other. By its tag, a repeat
    # replaces the first on the screen.
    android: dict[str, Any] = {"priority": "HIGH", "ttl": f"{ttl}s"}
    # A registration may be an iPhone's or a browser's: there, too, a repeat replaces the first.
    apns: dict[str, Any] = {"headers": {"apns-collapse-id": campaign}, "payload": {"aps": {"sound": "default"}}}
    webpush: dict[str, Any] = {"headers": {"TTL": str(ttl), "Topic": campaign}}
    rest: dict[str, Any] = {"android": android, "apns": apns, "webpush": webpush}
    if _silent(given):
        # Apple wakes an app for data only with this header, this priority and this key together.
        apns["headers"] |= {"apns-push-type": "background", "apns-priority": "5"}
        apns["payload"] = {"aps": {"content-available": 1}}
    else:
        rest["notification"] = {name: text for name in ("title", "body") if (text := getattr(message, name)).strip()}
    if not _silent(given) or _part(given, "android", "notification"):
        android["notification"] = {"tag": campaign}
    if _part(given, "webpush", "notification"):
        webpush["notification"] = {"tag": campaign}
    data = _data(message)
    if data:
        rest["data"] = data
    if message.url is not None:
        # A platform's own data replaces the message's: the address must be in both.
        for name, default in (("android", android), ("webpush", webpush)):
            if _part(given, name, "data"):
                default["data"] = {"url": message.url}
        # a browser opens nothing by itself but this link, and Google takes only https
        if not _silent(given) and message.url[:8].lower() == "https://":
            webpush["fcm_options"] = {"link": "https" + message.url[5:]}
    return rest


def _data(message: Message) -> dict[str, str]:
    data = dict(message.data)
    options.check_data(data, "message.data")
    if message.url is not None:
        if "url" in data:
            raise PayloadError('message.data: the key "url" is taken on FCM; rename it')
        data["url"] = message.url
    return data


def _silent(given: Mapping[str, Any]) -> bool:
    return "notification" in given and given["notification"] is None


def _part(given: Mapping[str, Any], *path: str) -> Any:
    value: Any = given
    for name in path:
        value = (value or {}).get(name)
    return value


def _merged(default: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` over ``default``, objects member by member; None removes a default (RFC 7396)."""
    merged = dict(default)
    for name, value in given.items():
        if name == "headers" and value:
            # Header names are case-insensitive.
            wanted = {header.lower() for header in value}
            kept = {header: text for header, text in merged.get(name, {}).items() if header.lower() not in wanted}
            merged[name] = kept | {header: text for header, text in value.items() if text is not None}
        elif value is None:
            merged.pop(name, None)
        elif isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        else:
            merged[name] = value
    return merged


def _check_text(message: Message, given: Mapping[str, Any], rest: Mapping[str, Any]) -> None:
    if _silent(given):
        if not rest.get("data") and not any(given.get(name) for name in ("android", "apns", "webpush")):
            raise PayloadError("message.data: is empty; a message without a notification needs data")
        return
    android = _part(rest, "android", "notification") or {}
    texts = [_part(rest, "notification", name) for name in ("title", "body")]
    texts += [android.get(name) for name in ("title", "body", "title_loc_key", "body_loc_key")]
    if not any(text and text.strip() for text in texts):
        remedy = "write what people should read, or set message.options.fcm.notification to null to send only data"
        raise PayloadError(f"message.title: is empty, and so is message.body; {remedy}")


def _check_size(rest: Mapping[str, Any]) -> None:
    common = sum(len(_encode(rest[name])) for name in ("notification", "data") if name in rest)
    for devices, (platform, *names) in _OWN.items():
        own = _part(rest, platform) or {}
        size = common + sum(len(_encode(own[name])) for name in names if own.get(name))
        if size > LIMIT:
            raise PayloadError(f"message: {size} bytes for FCM ({devices}), which takes {LIMIT}; shorten it")
