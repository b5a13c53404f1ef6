"""The bounds of a request to the API: bytes, levels, names and digits. docs/operating.md lists them.

Without them one client with the key could fill the store's memory, or keep the node from serving anybody else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from broadside.errors import Problem, shown

if TYPE_CHECKING:  # an import's processes need the bounds alone, and start in three quarters of the time
    from broadside.api.campaign_report import FireRequest
    from campaigns.message import Message

LARGEST_CAMPAIGN = 2 * 1024 * 1024
"""Bytes of the body of ``POST /v1/campaigns``: 10,000 subscribers may be listed by their tokens. JSON may write a
character of two bytes in six."""
LARGEST_LINE = 64 * 1024
"""Bytes of one subscriber as JSON: tags and fields of 12 KB, where JSON may write two bytes in six."""
LARGEST_CHANNEL = 65_536
"""Bytes of a channel's settings."""
LARGEST_ANSWER = 4096
"""Bytes of any other body: an answer about refused tokens, or a body that a request does not take."""

LONGEST_TEXT = 5_120
"""UTF-8 bytes of a title, of a body, and of the app's own data as JSON: no provider takes a larger push."""
LONGEST_URL = 2_048
"""UTF-8 bytes."""
LARGEST_OPTIONS = 16 * 1024
"""Bytes of all platforms' options as JSON. FCM takes 4,096 for each kind of device, and headers."""
MOST_CHANNELS = 1_000
"""Channel names in one request."""
LONGEST_CHANNEL = 32
"""Characters of a channel's name."""
DEEPEST = 16
"""Levels of objects and arrays in a body."""
LARGEST_NUMBER = 2**63 - 1
"""The largest whole number that the store keeps (19 digits)."""

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202d\u202e]")
"""Control characters except tab and line breaks, and the two overrides of the writing direction: nobody types them,
and they make a terminal or a page show another text than the one that is sent. Marks and isolates of right-to-left
scripts, and the joiners of Persian and of emoji, are part of a text."""
_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20<>"\\^`{|}\x7f]+')
_WEB = re.compile(r"https?://(?:[^/?#@]*@)?(?:\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(?::\d{0,5})?(?:[/?#].*)?", re.IGNORECASE)
_CODE = ("javascript", "vbscript", "data")
"""Schemes whose links are code that runs where they are opened."""


def plain_problem(value: object, where: str = "", level: int = 1) -> Problem | None:
    """Find the first part of decoded JSON that is too deep, too large a number, or holds a control character."""
    if isinstance(value, str):
        return unfit(value, where or "body")
    if isinstance(value, int | float):
        if abs(value) > LARGEST_NUMBER and isinstance(value, int):
            return Problem(where or "body", f"{shown(value, 24)} is too large a number", f"at most {LARGEST_NUMBER}")
        return None
    if not isinstance(value, dict | list):
        return None
    if level > DEEPEST:
        return Problem(where[:200], "is nested too deeply", f"at most {DEEPEST} levels of objects and arrays")
    if isinstance(value, list):
        for number, part in enumerate(value):
            if isinstance(part, str) and not _UNFIT.search(part):
                continue
            if problem := plain_problem(part, f"{where}[{number}]", level + 1):
                return problem
        return None
    for name, part in value.items():
        if problem := unfit(name, f"{where}: a key" if where else "body: a key"):
            return problem
        if problem := plain_problem(part, f"{where}.{name[:64]}" if where else name[:64], level + 1):
            return problem
    return None


def unfit(text: str, where: str) -> Problem | None:
    """The problem of a text with a control character."""
    found = _UNFIT.search(text)
    if found is None:
        return None
    what = f"holds the control character U+{ord(found[0]):04X} at position {found.start() + 1}"
    return Problem(where[:200], what, "leave it out", shown(text, 40))


def request_problem(request: FireRequest) -> Problem | None:
    """Find the first field of a request to fire that is larger than it may be, or a link that cannot be opened."""
    audience = request.audience.channels if request.audience else None
    return (
        message_problem(request.message)
        or channels_problem(request.channels or [])
        or channels_problem(audience or [], "audience.channels")
    )


def message_problem(message: Message) -> Problem | None:
    """Find the first field of a message that is larger than any provider takes, or a link that cannot be opened."""
    parts: list[tuple[str, bytes, int]] = [
        ("title", message.title.encode(), LONGEST_TEXT),
        ("body", message.body.encode(), LONGEST_TEXT),
        ("url", (message.url or "").encode(), LONGEST_URL),
        ("data", msgspec.json.encode(message.data), LONGEST_TEXT),
        ("options", msgspec.json.encode(message.options), LARGEST_OPTIONS),
    ]
    for name, content, most in parts:
        if len(content) > most:
            remedy = f"at most {most:,}; no platform takes more"
            return Problem(f"message.{name}", f"has {len(content):,} bytes", remedy)
    return None if message.url is None else url_problem(message.url)


def url_problem(url: str, where: str = "message.url") -> Problem | None:
    """The problem of a link that no phone could open."""
    value = shown(url, 60)
    if not url.strip():
        return Problem(where, "is empty", "leave it out, or write a link as in https://example.com/story/7", value)
    scheme = url.partition(":")[0].lower()
    if scheme in _CODE:
        return Problem(where, f"{value} is code, not a link", "write a link as in https://example.com/story/7", value)
    if not _URL.fullmatch(url) or (scheme in ("http", "https") and not _WEB.fullmatch(url)):
        remedy = "write https://… or the app's own scheme, with blanks as %20"
        return Problem(where, f"{value} is not a link", remedy, value)
    return None


def channels_problem(names: list[str], where: str = "channels") -> Problem | None:
    """The problem of too many, or too long, names of channels."""
    if len(names) > MOST_CHANNELS:
        remedy = f"at most {MOST_CHANNELS:,}; leave the field out for all channels"
        return Problem(where, f"has {len(names):,} names", remedy)
    for number, name in enumerate(names):
        if len(name) > LONGEST_CHANNEL:
            what = f"{shown(name, 40)} has {len(name):,} characters"
            return Problem(f"{where}[{number}]", what, f"a channel's name has at most {LONGEST_CHANNEL}", name[:40])
    return None
