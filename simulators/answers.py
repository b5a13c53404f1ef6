"""What stands between the wire and a provider's rules: requests go in, answers come out, nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from simulators import frames as f
from simulators.header_compression import Field
from simulators.http2 import Limits
from simulators.requests import Request
from simulators.script import Rule


class Answer:
    """What one request is told.

    Attributes:
        fields: header fields; ``:status`` first.
        body: bytes after them.
        delay: seconds to wait before it is sent.
        mute: never send it.
        reset: send RST_STREAM with this code in its place.
    """

    __slots__ = ("body", "delay", "fields", "mute", "reset")

    def __init__(self, fields: tuple[Field, ...], body: bytes = b"", delay: float = 0.0) -> None:
        self.fields = fields
        self.body = body
        self.delay = delay
        self.mute = False
        self.reset: int | None = None


def scripted(answer: Answer, rule: Rule) -> Answer:
    """Apply what every provider's rules have in common: delay, silence, reset."""
    answer.delay = rule.delay_ms / 1000
    if rule.answer == "mute":
        answer.mute = True
    elif rule.answer == "reset":
        answer.reset = f.CODES[rule.code]
    return answer


class Session(Protocol):
    """A provider's view of one connection."""

    streams: int
    """MAX_CONCURRENT_STREAMS that the connection should have now; the server announces a change."""

    def answer(self, request: Request) -> Answer:
        """Judge one request. What is accepted has been added to the ledger when this returns; not yet flushed."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal in the provider's own words."""

    status: int
    reason: str
    message: str = ""
    field: str = ""
    """The offending field, where the provider names it."""


class Provider(Protocol):
    """One platform's rules."""

    protocols: tuple[str, ...]
    """ALPN names, preferred first."""
    limits: Limits

    def session(self) -> Session:
        """Begin a connection."""
