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
    """21.3: of ten batches only a few requests are under way; the others were in front of it."""
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 10}
    peer.answer = lambda seen: None  # no answer yet
    async with running(make_apns(peer)) as transport, trio.open_nursery() as nursery:
        for campaign in range(100, 110):
            nursery.start_soon(transport.send, make_batch(40, campaign=campaign))
        await until(lambda: len(peer.seen) == 10)
        nursery.start_soon(transport.send, replace(make_batch(5, campaign=1), lane=Lane.UPPER))
        nursery.start_soon(transport.send, replace(make_batch(5, campaign=2), lane=Lane.UPPER))
        await trio.testing.wait_all_tasks_blocked()
        peer.answer = lambda seen: (200, {}, b"")
        for seen in list(peer.seen):
            seen.link.reply(seen.stream_id, (200, {}, b""))
            await seen.link.flush()
        await until(lambda: len(peer.seen) == 10 + 400 - 10 + 10)
    of_campaign = {campaign_text(n): n for n in (1, 2)}
    order = [of_campaign.get(seen.headers["apns-collapse-id"]) for seen in peer.seen]
    assert order[10:20] == [1] * 5 + [2] * 5
