"""What waits in a transport for a connection lets a batch of the upper lane pass."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing
from h2.settings import SettingCodes

from campaigns.identity import campaign_text
from campaigns.lane import Lane
from tests.transports.scripted_peer import Link, Peer, Seen
from transports.http2.connection import Timing

FEW = 32
"""Of other pushes, on the connection that is kept for the upper lane."""
STREAMS = 50
"""Of a connection."""
PATIENT = Timing(sweep=0.02)
"""No push is given up during a test."""
OK = (200, {}, b"")


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


async def test_the_upper_lane_does_not_wait_for_the_answers_to_other_pushes(
    peer, make_apns, make_batch, running, until
):
    """21.3: a thousand pushes a connection were on their way, and none of them could be overtaken."""
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
    peer.answer = lambda seen: OK if seen.headers["apns-collapse-id"] == campaign_text(1) else None
    transport = make_apns(peer, timing=PATIENT, connections=2, upper_lane=True)
    async with trio.open_nursery() as nursery, running(transport):
        await until(lambda: transport.pool.connections == 3)
        nursery.start_soon(transport.send, make_batch(300, campaign=2))
        await until(lambda: len(peer.seen) == 2 * STREAMS + FEW)
        breaking = replace(make_batch(60, campaign=1), lane=Lane.UPPER)
        with trio.fail_after(15):
            outcomes = await transport.send(breaking)
        assert outcomes.delivered == 60
        others = [sum(link is each for each in map(_link, _of(peer, 2))) for link in peer.links]
        assert sorted(others) == [FEW, STREAMS, STREAMS]
        nursery.cancel_scope.cancel()


async def test_all_connections_carry_the_upper_lane_and_those_of_others_are_used_first(
    peer, make_apns, make_batch, running, until
):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS}
    peer.answer = lambda seen: None
    transport = make_apns(peer, timing=PATIENT, connections=1, upper_lane=True)
    async with trio.open_nursery() as nursery, running(transport):
        await until(lambda: transport.pool.connections == 2)
        nursery.start_soon(transport.send, make_batch(30, campaign=2))
        await until(lambda: len(peer.seen) == 30)
        assert len(set(map(_link, peer.seen))) == 1, "the connection for the upper lane is for what finds no room"
        nursery.start_soon(transport.send, replace(make_batch(150, campaign=1), lane=Lane.UPPER))
        await until(lambda: len(peer.seen) == 2 * STREAMS)
        assert sorted(len(link.open) for link in peer.links) == [STREAMS, STREAMS]
        nursery.cancel_scope.cancel()


def _of(peer: Peer, campaign: int) -> list[Seen]:
    return [seen for seen in peer.seen if seen.headers["apns-collapse-id"] == campaign_text(campaign)]


def _link(seen: Seen) -> Link:
    return seen.link
