"""The options of a command that takes a message, and the files in which one may be written."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from cyclopts import Parameter

from broadside.api import strict_json
from broadside.api.campaign_report import FireRequest
from broadside.cli.options import duration
from broadside.errors import RecordError, UsageError, shown
from campaigns.message import Message
from campaigns.windows import QuietRule
from transports import registry

T = TypeVar("T")

Channels: TypeAlias = Annotated[
    list[str] | None,
    Parameter(name="--channel", help="Send to this channel only; repeat the option for several. Default: all."),
]
Ttl: TypeAlias = Annotated[
    str | None, Parameter(help="When the news expires: after 90s, 15m, 2h, 1d. A phone reached later gets nothing.")
]
KindName: TypeAlias = Annotated[
    str | None, Parameter(help="breaking, news, digest, or a kind of [kinds] in broadside.toml. Default: news.")
]
QuietChoice: TypeAlias = Annotated[
    QuietRule | None,
    Parameter(
        help="What the quiet hours of a subscriber's own time zone mean: hold the push until they end, show "
        "it silently, drop it, or break through them. Default: as the kind says; news is held."
    ),
]
_OF_ONE_LINE = ("title", "body", "url", "image", "thread", "collapse")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Written:
    """A message, as options write it."""

    title: Annotated[str | None, Parameter(help="The first line on the phone.", allow_leading_hyphen=True)] = None
    body: Annotated[str | None, Parameter(help="The text below the title.", allow_leading_hyphen=True)] = None
    url: Annotated[str | None, Parameter(help="The link that a tap on the message opens.")] = None
    image: Annotated[str | None, Parameter(help="The address of a picture.")] = None
    thread: Annotated[str | None, Parameter(help="The story: phones show its pushes together.")] = None
    collapse: Annotated[
        str | None, Parameter(help="The slot of the screen in which this push replaces the one before it.")
    ] = None
    message: Annotated[
        Path | None,
        Parameter(
            help="A JSON file with the whole message: its texts in several languages, and what no option here has. "
            "Options win over it."
        ),
    ] = None
    options: Annotated[
        Path | None, Parameter(help="A JSON file of options that only one platform has: an object for each platform.")
    ] = None


def request_of(written: Written, channels: list[str] | None, ttl: str | None) -> FireRequest:
    """The request that the options write. Raises ``UsageError``."""
    return FireRequest(
        message=message_of(written, Message()),
        channels=list(dict.fromkeys(channels)) if channels else None,
        ttl_seconds=None if ttl is None else duration("--ttl", ttl),
    )


def message_of(written: Written, before: Message) -> Message:
    """The message that the options write, over ``before``. Raises ``UsageError``."""
    message = before if written.message is None else _message(written.message)
    given = {name: value for name in _OF_ONE_LINE if (value := getattr(written, name)) is not None}
    if written.options is not None:
        given["options"] = message.options | _options(written.options)
    message = msgspec.structs.replace(message, **given)
    # with options a push may need no text: the platforms decide
    if not (message.options or message.platforms or message.title.strip() or message.body.strip()):
        raise UsageError("--title: is empty, and so is --body (write what the phone should show)")
    return message


def of_kind(request: FireRequest, kind: str | None, quiet: QuietRule | None) -> FireRequest:
    """The request with a kind of news and a rule for quiet hours, where they are given."""
    if quiet is not None:
        request = msgspec.structs.replace(request, quiet=quiet)
    return request if kind is None else msgspec.structs.replace(request, kind=kind)


def _message(path: Path) -> Message:
    where, content = _read("--message", path)
    try:
        return strict_json.decode(content, Message, "a message")
    except RecordError as error:
        problem = error.problem
        remedy = "docs/campaigns.md shows one" if problem.where == "body" else problem.remedy
        raise UsageError(f"{where}: {problem.where}: {problem.what} ({remedy})") from None


def _options(path: Path) -> dict[str, dict[str, Any]]:
    where, content = _read("--options", path)
    try:
        return msgspec.json.decode(content, type=dict[str, dict[str, Any]])
    except msgspec.ValidationError:
        platform = next(iter(registry.platforms()), "")
        remedy = f'write the options by platform, as in {{"{platform}": {{"NAME": "value"}}}}'
        raise UsageError(f"{where} is not an object of objects ({remedy})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {error} (write it in UTF-8)") from None


def _read(option: str, path: Path) -> tuple[str, bytes]:
    """A file's name for errors, and its content."""
    where = f"{option}: file {shown(str(path))}"
    try:
        return where, path.read_bytes().removeprefix(codecs.BOM_UTF8)  # some editors write this mark
    except OSError as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise UsageError(f"{where} {reason} (name a JSON file)") from None
