"""The API's records about the base: what was registered, how many there are, which channels there are."""

from __future__ import annotations

import msgspec

from broadside.api.subscriber import Subscriber


class ChangedField(msgspec.Struct, frozen=True):
    """How often a field was stored otherwise than it was given."""

    count: int
    examples: list[str]


class LineFault(msgspec.Struct, frozen=True, kw_only=True):
    """One line that was refused, and why."""

    line: int
    """Its number; the first line is 1."""
    field: str
    """The field that is wrong; ``line``: the whole line."""
    value: str
    """The value that is wrong, shortened."""
    detail: str
    """What is wrong with it."""
    remedy: str


class Imported(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the subscribers that were sent."""

    inserted: int
    updated: int
    replaces: dict[str, int] = {}
    """If rows named the tokens that theirs replace: ``moved``, ``merged``, ``unknown`` → how many."""
    converted: dict[str, ChangedField] = {}
    """Fields that were brought to the form that is stored."""
    dropped: dict[str, ChangedField] = {}
    """Attributes that could not be read; the subscribers were stored without them."""


class ImportedLines(Imported, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the lines that were sent."""

    refused: int = 0
    """Lines that were refused; the others were stored."""
    faults: list[LineFault] = []
    """The first of them, in the order of the lines; at most a hundred."""


class Removed(msgspec.Struct, frozen=True):
    """Whether the subscriber was in the base."""

    removed: bool


class SubscriberPage(msgspec.Struct, frozen=True):
    """A part of the base, in the order of ids. It has at most 4 MB, so it may be shorter than ``limit``."""

    items: list[Subscriber]
    next: str | None
    """The ``cursor`` of the part after this one; null: this is the end."""


class BaseCount(msgspec.Struct, frozen=True):
    """The size of the base."""

    total: int
    channels: dict[str, int] = {}


class NodeChannel(msgspec.Struct, frozen=True):
    """One of the node's own channels."""

    platform: str
    app: str = ""
    """The app's id at the provider."""
    by_api: bool = False
    """Whether it was put by the API, which may change it; false: it is in broadside.toml."""


class Probed(msgspec.Struct, frozen=True):
    """Who was asked. What does not answer within a second is replaced."""

    workers: int
    """Processes that send, each with connections of its own."""


class Channels(msgspec.Struct, frozen=True):
    """The node's channels, and the ring's."""

    channels: dict[str, NodeChannel]
    """The node's own channels. The import checks tokens by the platform's rules."""
    served: list[str] | None = None
    """The channels that the ring serves; null: no node has joined yet."""

    @property
    def platforms(self) -> dict[str, str]:
        """Name → platform."""
        return {name: channel.platform for name, channel in self.channels.items()}

    @property
    def serving(self) -> frozenset[str] | None:
        """``served`` as a set."""
        return None if self.served is None else frozenset(self.served)
