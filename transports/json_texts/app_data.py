"""The app's own keys of a push, for platforms that give the app the rest of a message in them."""

from __future__ import annotations

from campaigns.message import Message
from transports.errors import PayloadError


def app_data(message: Message, service: str) -> dict[str, str]:
    """``message.data`` with the address, the category and the story, for which Android has no fields.

    Raises ``PayloadError`` if one of these keys is taken. ``service``: for the error.
    """
    data = dict(message.data)
    for name in ("url", "category", "thread"):
        if (value := getattr(message, name)) is not None:
            if name in data:
                raise PayloadError(f'message.data: the key "{name}" is taken on {service}; rename it')
            data[name] = value
    return data
