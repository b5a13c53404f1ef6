"""A message as Apple wants it: the JSON body, built once per campaign.

Source: developer.apple.com, "Generating a remote notification".
"""

from __future__ import annotations

import msgspec

from transports.contract import Message
from transports.errors import PayloadError

LIMIT = 4_096
"""Octets of a body (5,120 for VoIP, which Broadside does not send)."""


def render(message: Message) -> bytes:
    """The body: ``aps`` with an alert and the default sound; ``url`` and the app's own keys beside it.

    Raises ``PayloadError`` for a key that is taken or a body above :data:`LIMIT`.
    """
    body: dict[str, object] = {
        "aps": {"alert": {"title": message.title, "body": message.body}, "sound": "default"},
    }
    if message.url is not None:
        body["url"] = message.url
    for name, value in message.data.items():
        if name in body:
            raise PayloadError(f'message.data: the key "{name}" is taken on APNs; rename it')
        body[name] = value
    encoded = msgspec.json.encode(body)
    if len(encoded) > LIMIT:
        raise PayloadError(f"message: {len(encoded)} bytes for APNs, which takes {LIMIT}; shorten it")
    return encoded
