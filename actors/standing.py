"""Why a channel stands still, as its worker sees it. Asked once a second; costs nothing in between."""

from __future__ import annotations

from collections.abc import Iterator

from actors.breaker import Breaker
from actors.gate import Gate
from actors.limiter import Limiter
from campaigns.channel_state import ChannelState, worst
from supervision import Parked
from transports.contract import Outage

BLINK = 2.0
"""Seconds that an outage, a failed settlement or a wait for the own rate must last to be worth a word."""
BY_ITSELF = "sending goes on by itself"


def standing(
    channel: str,
    *,
    parked: Parked | None,
    outage: Outage | None,
    breaker: Breaker,
    gate: Gate,
    limiter: Limiter | None,
    now: float,
    wall: int,
    in_hand: int = 0,
    asking: bool = False,
) -> ChannelState | None:
    """The worst of what holds a channel up; None: nothing does.

    ``now``: ``trio.current_time()``; ``wall``: the same moment in ms UTC; ``in_hand``: batches that
    are taken and not settled; ``asking``: the breaker waits for a person.
    """

    def state(reason: str, sentence: str, since: float, until: float | None = None, remedy: str = "") -> ChannelState:
        return ChannelState(
            channel=channel,
            reason=reason,
            sentence=sentence,
            since=wall - round(1000 * (now - since)),
            until=None if until is None or until <= now else wall + round(1000 * (until - now)),
            remedy=remedy,
        )

    def reasons() -> Iterator[ChannelState]:
        if parked is not None:
            remedy = "report it with the traceback in the log; it is tried again every minute"
            yield state("parked", f"parked, as it crashed too often: {parked.why}", parked.since, parked.until, remedy)
            return
        if breaker.reason is not None:
            until = now + breaker.retry_in(now)
            if asking:
                yield state("question", breaker.reason, breaker.since, until, "`broadside dead list`, then answer")
            else:
                yield state("breaker", breaker.reason, breaker.since, until, f"mend it, and {BY_ITSELF}")
        if outage is not None and now - outage.since >= BLINK:
            remedy = f"`broadside doctor` tries the way; once it is there {BY_ITSELF}"
            yield state("unreachable", outage.sentence, outage.since, None, remedy)
        if gate.shut_since is not None and now - gate.shut_since >= BLINK:
            sentence = "what was sent cannot be settled: this node's queue is away, or its memory is full"
            yield state("settling", sentence, gate.shut_since, None, f"see the log; {BY_ITSELF}")
        if gate.slow_since is not None:
            yield state(gate.reason, gate.sentence, gate.slow_since, gate.slow_until, BY_ITSELF)
        if in_hand and now - gate.moved_at >= BLINK:
            sentence = f"{in_hand} batches wait for the provider's answers"
            yield state("answers", sentence, gate.moved_at, None, f"an answer may take 20 s; {BY_ITSELF}")
        if limiter is not None and (pause := limiter.delay(0, now)) >= BLINK:
            sentence = f"sends at its own rate, {limiter.rate * 60:,.0f} a minute in this worker"
            yield state("limiter", sentence, now, now + pause, "raise the channel's rate if the provider allows more")

    return worst(reasons()).get(channel)
