"""A twin's answers to requests: acceptance, a refusal in the provider's own words, or what a script demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulators.faults.script import Rule
from simulators.http2 import framing as f
from simulators.http2.header_compression import Field

STATUS: Final = {status: (b":status", str(status).encode()) for status in range(100, 1000)}
"""The first field of an answer, by status."""
JSON: Final = (b"content-type", b"application/json")
JSON_UTF_8: Final = (b"content-type", b"application/json; charset=UTF-8")


class TwinAnswer:
    """The answer to one request.

    Attributes:
        fields: header fields; ``:status`` first.
        body: bytes after them.
        delay: seconds to wait before it is sent.
        mute: never send it.
        reset: send RST_STREAM with this code instead.
    """

    __slots__ = ("body", "delay", "fields", "mute", "reset")

    def __init__(self, fields: tuple[Field, ...], body: bytes = b"", delay: float = 0.0) -> None:
        self.fields = fields
        self.body = body
        self.delay = delay
        self.mute = False
        self.reset: int | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A refusal in the provider's own words."""

    status: int
    reason: str
    message: str = ""
    """Why, for people; FCM sends it, the APNs twin keeps it for its own report."""
    field: str = ""
    """The offending field, where the provider names it."""


def is_silent(rule: Rule) -> bool:
    """Whether a client gets no status from this rule."""
    return rule.answer in ("mute", "reset")


def refusal(rule: Rule, usual: Mapping[str, str], statuses: Mapping[str, int]) -> tuple[int, str]:
    """Return the status and the provider's reason that a rule means.

    Args:
        rule: any but ``accept``, ``slow``, ``raw`` and ``anything``.
        usual: the reason that each short answer stands for.
        statuses: the status that each reason comes with.
    """
    reason = usual.get(str(rule.answer), "") if rule.reason is None else rule.reason
    return rule.status or statuses.get(reason, 500), reason


def raw(rule: Rule, usual_type: Field) -> TwinAnswer:
    """Return the answer of a ``raw`` rule, word for word."""
    fields = [STATUS[rule.status or 200]]
    if rule.content_type is None:
        fields.append(usual_type)
    elif rule.content_type:
        fields.append((b"content-type", rule.content_type.encode()))
    if rule.retry_after is not None:
        fields.append((b"retry-after", str(rule.retry_after).encode()))
    body = rule.body.encode()
    if rule.body_bytes is not None:
        body = ((body or b"x") * (rule.body_bytes // max(1, len(body)) + 1))[: rule.body_bytes]
    return TwinAnswer(tuple(fields), body)


def scripted(answer: TwinAnswer, rule: Rule, latency: float) -> TwinAnswer:
    """Apply what every provider's rules have in common: delay, silence, reset."""
    answer.delay = latency + rule.delay_ms / 1000
    if rule.answer == "mute":
        answer.mute = True
    elif rule.answer == "reset":
        answer.reset = f.CODES[rule.code]
    return answer
