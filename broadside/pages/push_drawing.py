"""What of a preview is drawn: one device of each kind, with what its provider's exact JSON says it shows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from broadside.api.preview_report import ChannelPreview, PreviewReport, TextPreview
from broadside.api.text_rules import LONG, VERY_LONG

SMALL_LINE = 36
"""Characters on a line of a small phone's notification."""
SHOWN_LINES = 4
"""Lines of a body that a locked phone shows."""


@dataclass(frozen=True)
class Drawing:
    """One push on a device."""

    title: str
    body: str
    image: str
    asleep: bool


@dataclass
class Device:
    """A device as it shows a campaign on one channel. ``objection``: why it shows nothing."""

    name: str
    channel: str
    drawings: list[Drawing] = field(default_factory=list)
    objection: str = ""


@dataclass(frozen=True)
class Meter:
    """A figure with the marks from which it matters."""

    name: str
    value: int
    most: int
    low: int
    high: int
    text: str


def devices(preview: PreviewReport, locale: str) -> list[Device]:
    """Return one device of each kind, with the text that phones of ``locale`` get (empty: the default text)."""
    found: dict[str, Device] = {}
    for name, channel in preview.channels.items():
        if channel.device in found:
            continue
        found[channel.device] = device = Device(channel.device, name)
        for presentation in ("awake", "asleep"):
            if (text := _text(channel, locale, presentation)) is not None:
                device.drawings.append(_drawn(text))
        device.objection = channel.objections.get("awake", "")
    return list(found.values())


def meters(preview: PreviewReport, drawn: list[Device]) -> list[Meter]:
    """Return the lengths of the text that is drawn as an editor counts them, and its bytes on each kind of device."""
    title, body = next(((each.drawings[0].title, each.drawings[0].body) for each in drawn if each.drawings), ("", ""))
    found = [
        Meter("Title", len(title), VERY_LONG + 40, LONG, VERY_LONG, f"{len(title)} characters"),
        Meter("Text", len(body), VERY_LONG + 40, LONG, VERY_LONG, f"{len(body)} characters, {_lines(body)}"),
    ]
    for device in dict.fromkeys(channel.device for channel in preview.channels.values()):
        texts = [text for each in preview.channels.values() if each.device == device for text in each.texts]
        if texts:
            most = max(texts, key=lambda text: text.bytes / text.limit)
            said = f"{most.bytes:,} of {most.limit:,} bytes"
            found.append(Meter(device, most.bytes, most.limit, most.limit * 3 // 4, most.limit * 9 // 10, said))
    return found


def _lines(body: str) -> str:
    lines = sum(max(1, math.ceil(len(line) / SMALL_LINE)) for line in body.splitlines())
    return f"{lines} line{'' if lines == 1 else 's'} on a small phone" + (
        f", which shows {SHOWN_LINES}" if lines > SHOWN_LINES else ""
    )


def bytes_in_all(preview: PreviewReport, phones: dict[str, int]) -> int:
    """Return how many bytes go to the providers, without what TLS and HTTP/2 add. ``phones``: by channel."""
    return sum(
        max((text.bytes for text in channel.texts), default=0) * phones.get(name, 0)
        for name, channel in preview.channels.items()
    )


def _text(channel: ChannelPreview, locale: str, presentation: str) -> TextPreview | None:
    fitting = [text for text in channel.texts if text.presentation == presentation]
    return next((text for wanted in (locale, "") for text in fitting if text.locale == wanted), None)


def _drawn(text: TextPreview) -> Drawing:
    found = {"title": "", "body": "", "image": ""}
    for name, value in _strings(msgspec.json.decode(text.body)):
        if not found.get(name, "x"):
            found[name] = value
    return Drawing(found["title"], found["body"], found["image"], text.presentation == "asleep")


def _strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of decoded JSON and its key, from outside in."""
    if isinstance(value, dict):
        yield from ((name, part) for name, part in value.items() if isinstance(part, str))
        for part in value.values():
            yield from _strings(part)
