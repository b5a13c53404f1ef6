"""A message as FCM wants it: JSON built once per campaign, into which each recipient's token is spliced.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

from __future__ import annotations

import msgspec

from transports.contract import Message
from transports.errors import PayloadError

LIMIT = 4_096
"""Octets of notification and data."""
MAX_TTL = 2_419_200
"""Seconds: four weeks."""
_RESERVED = ("google", "gcm")
_encode = msgspec.json.Encoder().encode

_HEADS = {"token": b'{"message":{"token":', "fid": b'{"message":{"fid":'}
_VALIDATE_HEADS = {kind: b'{"validate_only":true,' + head[1:] for kind, head in _HEADS.items()}


class Body:
    """The JSON of one campaign, cut open where the target goes."""

    __slots__ = ("_heads", "_tail")

    def __init__(self, tail: bytes, validate_only: bool = False) -> None:
        self._tail = tail
        self._heads = _VALIDATE_HEADS if validate_only else _HEADS

    def to(self, kind: str, token: str) -> bytes | None:
        """The body for one target (``kind``: ``token`` or ``fid``); None for a kind that FCM does not have."""
        head = self._heads.get(kind)
        return None if head is None else head + _encode(token) + self._tail


def render(message: Message, campaign: str, ttl: int, *, validate_only: bool = False) -> Body:
    """Build the body. ``campaign``: 13-character text, under which a repeat replaces the first; ``ttl``: seconds.

    Raises ``PayloadError`` for a reserved key or more than :data:`LIMIT` octets of notification and data.
    """
    ttl = max(0, min(ttl, MAX_TTL))
    notification = {"title": message.title, "body": message.body}
    data = dict(message.data)
    for name in data:
        if name == "from" or name.startswith(_RESERVED):
            raise PayloadError(f'message.data: the key "{name}" is reserved by FCM; rename it')
    if message.url is not None:
        if "url" in data:
            raise PayloadError('message.data: the key "url" is taken on FCM; rename it')
        data["url"] = message.url
    size = len(_encode(notification)) + (len(_encode(data)) if data else 0)
    if size > LIMIT:
        raise PayloadError(f"message: {size} bytes for FCM, which takes {LIMIT}; shorten it")
    rest: dict[str, object] = {"notification": notification}
    if data:
        rest["data"] = data
    rest["android"] = {
        "collapse_key": campaign,
        "priority": "HIGH",
        "ttl": f"{ttl}s",
        "notification": {"tag": campaign},
    }
    # A registration may be an iPhone's or a browser's: there, too, a repeat replaces the first.
    rest["apns"] = {"headers": {"apns-collapse-id": campaign}, "payload": {"aps": {"sound": "default"}}}
    rest["webpush"] = {"headers": {"TTL": str(ttl), "Topic": campaign}}
    return Body(b"," + _encode(rest)[1:] + b"}", validate_only)
