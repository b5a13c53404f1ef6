"""What a provider's answer means. Each platform's ``outcomes`` maps its answers to decisions, which are pure data."""

from __future__ import annotations

import enum
from typing import NamedTuple

from campaigns.outcome import Death, Fault, Outcome
from transports.contract import LONGEST_PAUSE

LONGEST_WAIT = 900.0
"""The longest wait of a recipient before its next try, seconds, if the fault is not its own."""


class Then(enum.Enum):
    """What the transport does besides recording the outcome."""

    NOTHING = "nothing"
    RECONNECT = "reconnect"
    """Begin nothing more on this connection; another takes over."""
    RENEW = "renew"
    """Replace the credential and send once more; if that is refused too, the channel pauses."""
    RENEW_AND_RECONNECT = "renew and reconnect"
    RENEW_IF_MISDATED = "renew if misdated"
    """The same, for a refusal that may be due to the credential's date or to the credential itself."""
    KEEP_TOKEN = "keep token"  # noqa: S105 - a word, not a secret
    """Go back to the previous token, which the provider still wants, and reconnect."""


class Decision(NamedTuple):
    """The meaning of one answer."""

    outcome: Outcome
    reason: str
    after: float = 0.0
    """RETRY: the shortest wait, seconds."""
    unregistered_at: int | None = None
    """DEAD: ms UTC."""
    stop: str | None = None
    """Why the channel must pause, in one sentence (RENEW: if renewing did not help); None: it need not pause."""
    then: Then = Then.NOTHING
    slow: float = 0.0
    """Seconds for which the whole channel should send nothing."""
    repeated: str | None = None
    """Why the channel must pause if this answer comes repeatedly, in one sentence."""
    fault: Fault = Fault.PHONE
    """Where the fault lies: see ``docs/troubleshooting.md``, "Who is given up, and who waits"."""
    token_doubtful: bool = False
    """The recipient's token is doubtful if other recipients of the same batch were accepted."""
    death: Death | None = None
    """What the answer says about the token (docs/adr/0012); None: nothing."""


def stop(reason: str, sentence: str, then: Then = Then.NOTHING) -> Decision:
    """A fault that would hit every recipient: all are POSTPONED, and the channel pauses."""
    return Decision(Outcome.POSTPONED, reason, stop=sentence, then=then, fault=Fault.CHANNEL)


def later(
    fault: Fault, reason: str, base: float, attempt: int, asked: float | None = None, then: Then = Then.NOTHING
) -> Decision:
    """Try again after ``base`` seconds, doubled with each further attempt, or later if the provider asks for it.

    ``asked``: seconds of Retry-After. If the phone is at fault, it may be any time. If the channel or the moment is at
    fault, it slows the whole channel, the recipient waits at most :data:`LONGEST_PAUSE` for it, and waits double up to
    :data:`LONGEST_WAIT`.
    """
    if fault is Fault.PHONE:
        return Decision(Outcome.RETRY, reason, max(backed_off(base, attempt), asked or 0.0), then=then, fault=fault)
    after = max(backed_off(base, attempt, LONGEST_WAIT), min(asked or 0.0, LONGEST_PAUSE))
    return Decision(Outcome.RETRY, reason, after, then=then, fault=fault, slow=asked or 0.0)


def by_status(status: int, reason: str, base: float, attempt: int, asked: float | None = None) -> Decision:
    """The meaning of an answer that no table names, by its HTTP status alone; arguments as of :func:`later`."""
    if status in (408, 421, 425):  # RFC 9110, 8470: request timeout, misdirected request, too early
        return later(Fault.MOMENT, reason, base, attempt, asked, Then.RECONNECT)
    if 400 <= status < 500:
        return Decision(Outcome.REJECTED, reason)
    return later(Fault.MOMENT, reason, base, attempt, asked)


def backed_off(base: float, attempt: int, limit: float = 3_600.0) -> float:
    """``base`` seconds for the first attempt, doubled with each further one, at most ``limit``."""
    return float(min(limit, base * 2.0 ** (min(max(attempt, 1), 32) - 1)))
