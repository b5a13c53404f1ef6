"""What is no longer ours is not sent, and what may not be ours any more waits until that is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import trio
from h2.settings import SettingCodes

from campaigns.batch import Leave
from campaigns.outcome import Outcome

OK = (200, {}, b"")
STREAMS = 10


class Said:
    """The queue's word, which changes once so many were sent."""

    def __init__(self, peer, after, then):
        self.peer, self.after, self.then = peer, after, then

    def __call__(self):
        return Leave.GIVEN if len(self.peer.seen) < self.after else self.then


async def test_what_is_in_other_hands_is_not_begun(peer, make_apns, make_batch, running):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(replace(make_batch(300), leave=Said(peer, 50, Leave.GONE)))
    assert 50 <= outcomes.delivered <= 50 + 2 * STREAMS
    assert Counter((e.outcome, e.reason) for e in outcomes.exceptions) == {
        (Outcome.POSTPONED, "the batch is in other hands"): 300 - outcomes.delivered
    }


async def test_while_it_is_not_known_whose_a_batch_is_nothing_of_it_is_begun_and_then_all(
    peer, make_apns, make_batch, running, until
):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
    said = Said(peer, 50, Leave.AWAITED)
    delivered = []

    async def send(transport):
        delivered.append((await transport.send(replace(make_batch(300), leave=said))).delivered)

    async with running(make_apns(peer)) as transport, trio.open_nursery() as nursery:
        nursery.start_soon(send, transport)
        await until(lambda: len(peer.seen) >= 50 and not transport.pool.in_flight)
        sent = len(peer.seen)
        await trio.sleep(0.1)  # five sweeps
        assert len(peer.seen) == sent <= 50 + 2 * STREAMS
        assert not delivered
        said.then = Leave.GIVEN
    assert delivered == [300]
    assert len(peer.seen) == 300
