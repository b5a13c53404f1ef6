"""What waits in a transport for a connection lets a batch of the upper lane pass."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing
from h2.settings import SettingCodes

from campaigns.identity import campaign_text
from campaigns.lane import Lane


async def test_a_batch_of_the_upper_lane_begins_before_what_waits_for_a_connection(
    peer, make_apns, make_batch, running, until
):
    """21.3: the requests of ten batches waited in front of it."""
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 10}
    transport = make_apns(peer)
    async with trio.open_nursery() as nursery:
        for campaign in range(100, 110):
            nursery.start_soon(transport.send, make_batch(40, campaign=campaign))
        await trio.testing.wait_all_tasks_blocked()
        for campaign in (1, 2):
            nursery.start_soon(transport.send, replace(make_batch(5, campaign=campaign), lane=Lane.UPPER))
            await trio.testing.wait_all_tasks_blocked()
        async with running(transport):
            await until(lambda: len(peer.seen) == 410)
    order = [seen.headers["apns-collapse-id"] for seen in peer.seen]
    assert order[:10] == [campaign_text(1)] * 5 + [campaign_text(2)] * 5
