"""``Message.options["webpush"]``: what only browsers know, read strictly before anything is sent.

Sources: W3C Push API (declarative push messages), WHATWG Notifications API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from transports.errors import PayloadError

WHERE = "message.options.webpush"


class WebPushOptions(Struct, forbid_unknown_fields=True, frozen=True):
    """The whole of ``message.options.webpush``."""

    notification: dict[str, Any] = {}
    """Members of the browser's notification (``icon``, ``actions``, ``requireInteraction`` …) over our own; ``null``
    removes one."""
    urgency: Literal["very-low", "low", "normal", "high"] | None = None
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")] | None = None
    """Under which a push replaces one that is not delivered yet."""
    mutable: bool = False
    """Whether a service worker may change the notification before it is shown (Safari asks for it)."""


def read(given: Mapping[str, Any]) -> WebPushOptions:
    """Read the options. Raises ``PayloadError`` that names the option, its value, and what it may be."""
    try:
        return msgspec.convert(given, WebPushOptions)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise PayloadError(f"{WHERE}{path.rstrip('`')}: {text[:1].lower()}{text[1:]}") from None
