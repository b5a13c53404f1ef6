"""What cannot be begun in time comes back, so that no lease runs out under way."""

from __future__ import annotations

import ssl

import trio
import trio.testing

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Outcome
from transports.backoff import Backoff
from transports.decision import Decision
from transports.dispatch import Dispatch
from transports.http2.connection import Origin, Timing
from transports.http2.messages import Answer, Request, Template
from transports.http2.pool import Pool


async def test_while_no_connection_is_up_a_batch_comes_back_held_when_its_time_to_begin_is_over() -> None:
    pool = Pool(
        Origin("127.0.0.1", 9),  # nobody listens there
        context=ssl.create_default_context(),
        timing=Timing(sweep=0.02),
        backoff=lambda: Backoff(first=0.05),
    )
    rows = [Request(key, b"aa", b"", b"{}") for key in range(3)]

    def template() -> Template:
        return Template(b"nowhere", b"/", ())

    def decide(answer: Answer, attempt: int) -> Decision:
        raise AssertionError("nothing was sent")

    batch = Batch(7, Message(title="", body=""), 1, 10**15, [], begin_until=trio.current_time() + 0.2)
    dispatch = Dispatch(batch, list(rows), template, decide, lambda answer, then: False)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, lambda: None)
            outcomes = await dispatch.run(pool)
            pool.stop()
    assert [entry.outcome for entry in outcomes.exceptions] == [Outcome.POSTPONED] * 3
    assert "127.0.0.1" in outcomes.exceptions[0].reason
