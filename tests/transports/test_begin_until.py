"""What cannot be begun in time comes back, so that no lease runs out under way."""

from __future__ import annotations

import ssl

import trio
import trio.testing

from campaigns.outcome import Outcome
from transports.backoff import Backoff
from transports.http2.connection import Origin, Timing
from transports.http2.messages import Request, Template
from transports.http2.pool import Pool
from transports.http2.submission import Job


async def test_while_no_connection_is_up_a_job_comes_back_held_when_its_time_to_begin_is_over() -> None:
    pool = Pool(
        Origin("127.0.0.1", 9),  # nobody listens there
        context=ssl.create_default_context(),
        timing=Timing(sweep=0.02),
        backoff=lambda: Backoff(first=0.05),
    )
    requests = [Request(key, b"aa", b"", b"{}") for key in range(3)]

    def template() -> Template:
        return Template(b"nowhere", b"/", ())

    job = Job(requests, template, lambda answer: None, 10**15, trio.current_time() + 0.2)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, lambda: None)
            await pool.submit(job)
            pool.stop()
    assert [entry.outcome for entry in job.exceptions] == [Outcome.HELD] * 3
    assert "127.0.0.1" in job.exceptions[0].reason
