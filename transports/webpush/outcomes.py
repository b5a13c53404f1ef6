"""Push services' answers, and what each of them means for us.

Sources: RFC 8030 §5–8, RFC 8292 §4.2; Apple, "Sending web push notifications in web apps and browsers" (``reason``);
Mozilla, autopush-rs "Error Codes" (``errno``); Microsoft, "WNS HTTP response codes" (the body is empty); Google
documents none: its sentences are those of web-push-libs/web-push#457 and #941. The actions are ours.

A 2xx proves little: Apple answers so for a while for subscriptions that have ended. It counts as delivered all the
same, because nothing can be told from it, and the 410 comes with a later push.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from campaigns.outcome import Death, Fault, Outcome
from transports import foreign
from transports.decision import Decision, Then, later, stop

_BUSY = 30.0  # 406, 429 without Retry-After
_ASKED = 1.0  # with it: the least, doubled if it is refused again
_BROKEN = 10.0  # 5xx
_OTHER_KEY = ("vapidpkhashmismatch", "do not correspond", "public key mismatch", "mismatchsenderid", "sender id",
              "unauthorizedregistration")  # fmt: skip
"""Words for: the browser subscribed under another key. Apple's, Google's, Mozilla's, Google's older ones."""
_BAD_KEYS = ("110",)
"""Mozilla's ``errno`` for a subscription whose keys are no keys."""


class ServiceAnswer(NamedTuple):
    """The parts of an error's body that matter."""

    reason: str = ""
    """The service's own word or number; empty: it has none."""
    words: str = ""
    """All that it says, in lower case."""


def parse(body: bytes) -> ServiceAnswer:
    """Read an error's body: Apple's or Mozilla's JSON, or a sentence. What is not as documented counts as absent."""
    said = body[:500].decode(errors="replace").lower()
    try:
        document = msgspec.json.decode(body)
    except foreign.UNREADABLE:
        return ServiceAnswer("", said)
    if not isinstance(document, dict):
        return ServiceAnswer("", said)
    errno = document.get("errno")
    if isinstance(errno, int) and not isinstance(errno, bool) and 0 <= errno < 1_000:
        return ServiceAnswer(f"errno {errno}", said)
    return ServiceAnswer(foreign.word(document.get("reason")), said)


def decide(
    service: str, status: int, refusal: ServiceAnswer, attempt: int = 1, retry_after: float | None = None
) -> Decision:
    """What an answer other than 2xx means. ``service``: its host; ``attempt``: 1 for the first; ``retry_after``: s."""
    reason = refusal.reason or f"HTTP {status}"
    match status:
        case 400 | 401 | 403 if any(words in refusal.words for words in _OTHER_KEY):
            # Of one phone it proves little, of many a wrong key of ours: the ledger judges (docs/adr/0012).
            return Decision(Outcome.REJECTED, refusal.reason or "another VAPID key", death=Death.DOUBTFUL)
        case 400 if refusal.reason.removeprefix("errno ") in _BAD_KEYS:
            return Decision(Outcome.REJECTED, reason, death=Death.DOUBTFUL)
        case 400:
            sentence = f"{service} refuses our requests ({reason}): correct the campaign's options for browsers"
            return Decision(Outcome.REJECTED, reason, repeated=sentence)
        case 401 | 403:
            remedy = "check vapid_key, subject (mailto:name@example.com), and this machine's clock"
            return stop(reason, f"{service} refuses the VAPID token ({reason}): {remedy}", Then.RENEW)
        case 404 | 410:  # RFC 8030 §7.3: the subscription has ended
            return Decision(Outcome.DEAD, reason, death=Death.CERTAIN)
        case 301:  # Mozilla: the endpoint has moved; the browser must subscribe anew
            return Decision(Outcome.DEAD, reason, death=Death.LIKELY)
        case 406 | 429:  # Windows says 406 where others say 429 (RFC 8030 §8.4)
            return later(Fault.MOMENT, reason, _BUSY if retry_after is None else _ASKED, attempt, retry_after)
        case 413:
            return Decision(Outcome.REJECTED, reason)
        case 408 | 421 | 425:  # RFC 9110, 8470: request timeout, misdirected request, too early
            return later(Fault.MOMENT, reason, _BROKEN, attempt, retry_after, Then.RECONNECT)
        case _ if 300 <= status < 500:
            return Decision(Outcome.REJECTED, reason)
        case _:
            return later(Fault.MOMENT, reason, _BROKEN, attempt, retry_after)
