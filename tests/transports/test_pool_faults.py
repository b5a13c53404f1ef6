"""What the network and the provider can do to a batch under way, over real sockets."""

from __future__ import annotations

import functools
import time
from collections import Counter

import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from campaigns.message import Message
from campaigns.outcome import Outcome
from transports.errors import ConnectionLost, CredentialsError
from transports.http2.client import Http2Client
from transports.http2.connection import Timing, dial, parse_origin
from transports.tls.context import client_context

OK = (200, {}, b"")


async def send_into(results, transport, batch):
    results.append(await transport.send(batch))


async def test_a_lost_connection_leaves_what_was_sent_unknown_and_the_next_batch_goes_through(
    peer, make_apns, make_batch, running, until
):
    peer.answer = lambda seen: None
    results = []
    async with running(make_apns(peer)) as transport, trio.open_nursery() as nursery:
        nursery.start_soon(send_into, results, transport, make_batch(5))
        await until(lambda: len(peer.seen) == 5)
        peer.answer = lambda seen: OK
        await peer.links[0].stream.transport_stream.aclose()
        await until(lambda: results)
        assert Counter(e.outcome for e in results[0].exceptions) == {Outcome.UNKNOWN: 5}
        assert (await transport.send(make_batch(5))).delivered == 5
    assert peer.accepted == 2


async def test_goaway_in_mid_burst_resends_what_lies_above_exactly_once(peer, make_apns, make_batch, running):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 50}
    answered = Counter()

    def answer(seen):
        if peer.accepted == 1:
            if len(peer.seen) == 30:
                frame = GoAwayFrame(0, last_stream_id=41)
                seen.link.h2._data_to_send += frame.serialize()
            if seen.stream_id > 41:
                return None
        answered[seen.token] += 1
        return OK

    peer.answer = answer
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(300))
    assert outcomes.delivered == 300
    assert len(answered) == 300
    assert set(answered.values()) == {1}


async def test_refused_streams_are_sent_again_freely(peer, make_apns, make_batch, running):
    refused = set()

    def answer(seen):
        if seen.token not in refused and len(refused) < 40:
            refused.add(seen.token)
            seen.link.h2.reset_stream(seen.stream_id, ErrorCodes.REFUSED_STREAM)
            return None
        return OK

    peer.answer = answer
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(100))
    assert outcomes.delivered == 100
    assert len(peer.seen) == 140


async def test_a_peer_that_refuses_for_ever_ends_in_retry_not_in_a_loop(peer, make_apns, make_batch, running):
    def answer(seen):
        seen.link.h2.reset_stream(seen.stream_id, ErrorCodes.REFUSED_STREAM)

    peer.answer = answer
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(10))
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.RETRY}
    assert len(outcomes.exceptions) == 10


async def test_a_stream_limit_of_one_is_never_passed(peer, make_apns, make_batch, running):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(40))
        assert peer.links[0].most_open == 1
    assert outcomes.delivered == 40


async def test_a_mute_stream_is_unknown_after_its_deadline_and_the_others_are_delivered(
    peer, make_apns, make_batch, running
):
    peer.answer = lambda seen: None if seen.token.endswith("7") else OK
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(16))
        assert outcomes.delivered == 15
        assert [(e.index, e.outcome) for e in outcomes.exceptions] == [(7, Outcome.UNKNOWN)]
        assert (await transport.send(make_batch(3))).delivered == 3
    assert peer.accepted == 1
    assert peer.resets == 1


@pytest.mark.parametrize(
    "timing",
    [
        Timing(deadline=5.0, silence=0.3, ping=0.5, sweep=0.02),  # in the order of the real ones: a PING tells
        Timing(deadline=0.5, silence=5.0, ping=5.0, sweep=0.02),  # nothing at all was heard since the request
    ],
)
async def test_a_half_open_connection_is_found_and_replaced(timing, start_peer, make_apns, make_batch, running, until):
    peer = await start_peer()
    results = []
    async with running(make_apns(peer, timing=timing)) as transport, trio.open_nursery() as nursery:
        await until(lambda: transport.pool.connections == 1)
        await trio.sleep(0.2)  # its words of greeting are read
        frozen = peer.links[0]

        async def never(*args):
            await trio.sleep_forever()

        frozen.flush = never  # reads on, says nothing any more, not even to a PING
        nursery.start_soon(send_into, results, transport, make_batch(5))
        await until(lambda: results)
        assert Counter(e.outcome for e in results[0].exceptions) == {Outcome.UNKNOWN: 5}
        assert (await transport.send(make_batch(5))).delivered == 5
    assert peer.accepted == 2


async def test_a_window_that_never_opens_ends_in_a_new_connection(peer, make_apns, make_batch, running):
    peer.credit = False
    peer.answer = lambda seen: OK
    timing = Timing(deadline=0.5, silence=0.1, ping=1.0, sweep=0.02)
    message = Message(title="Flood", body="x" * 3_000)
    async with running(make_apns(peer, timing=timing)) as transport:
        outcomes = await transport.send(make_batch(50, message=message))
    assert outcomes.delivered == 50
    assert peer.accepted == 3


async def test_batches_wait_through_an_outage_and_then_go_out(start_peer, peer, make_apns, make_batch, running, until):
    results = []
    async with running(make_apns(peer)) as transport, trio.open_nursery() as nursery:
        await until(lambda: transport.pool.connections == 1)
        peer.scope.cancel()
        await until(lambda: transport.pool.connections == 0)
        nursery.start_soon(send_into, results, transport, make_batch(5))
        nursery.start_soon(send_into, results, transport, make_batch(5))
        await until(lambda: transport.pool.outage is not None)
        assert results == []
        second = await start_peer(type(peer)(port=peer.port))
        await until(lambda: len(results) == 2)
        assert [outcomes.delivered for outcomes in results] == [5, 5]
        assert len(second.seen) == 10
        assert transport.pool.outage is None


async def test_a_batch_expires_while_nothing_is_up(peer, make_apns, make_batch, running):
    peer.scope.cancel()
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(5, expires_at=time.time_ns() // 1_000_000 + 100))
    assert Counter(e.outcome for e in outcomes.exceptions) == {Outcome.EXPIRED: 5}


async def test_an_expired_batch_is_not_sent(peer, make_apns, make_batch, running):
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(5, expires_at=1))
    assert Counter(e.outcome for e in outcomes.exceptions) == {Outcome.EXPIRED: 5}
    assert peer.seen == []


async def test_stop_finishes_what_is_in_flight_and_holds_the_rest(peer, make_apns, make_batch, running, until):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 4}
    peer.answer = lambda seen: None
    results = []
    transport = make_apns(peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run, lambda: None)
        nursery.start_soon(send_into, results, transport, make_batch(10))
        await until(lambda: len(peer.seen) == 4)
        transport.stop()
        link = peer.links[0]
        for seen in peer.seen:
            link.reply(seen.stream_id, OK)
        await link.flush()
    assert results[0].delivered == 4
    assert Counter(e.outcome for e in results[0].exceptions) == {Outcome.POSTPONED: 6}
    late = await transport.send(make_batch(3))
    assert Counter(e.outcome for e in late.exceptions) == {Outcome.POSTPONED: 3}


async def test_a_cancelled_transport_leaves_no_sender_hanging(peer, make_apns, make_batch, until):
    peer.answer = lambda seen: None
    results = []
    transport = make_apns(peer)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def run():
            with scope:
                await transport.run(lambda: None)

        nursery.start_soon(run)
        nursery.start_soon(send_into, results, transport, make_batch(5))
        await until(lambda: len(peer.seen) == 5)
        scope.cancel()
    assert Counter(e.outcome for e in results[0].exceptions) == {Outcome.UNKNOWN: 5}


async def test_a_cancelled_sender_begins_nothing_more(peer, make_apns, make_batch, running, until):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
    peer.answer = lambda seen: None
    async with running(make_apns(peer)) as transport:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.send, make_batch(10))
                await until(lambda: len(peer.seen) == 2)
                scope.cancel()
        peer.answer = lambda seen: OK
        link = peer.links[0]
        for seen in peer.seen:
            link.reply(seen.stream_id, OK)
        await link.flush()
        assert (await transport.send(make_batch(4))).delivered == 4
    assert len(peer.seen) == 6


async def test_load_is_spread_over_all_connections(peer, make_apns, make_batch, running, until):
    patient = Timing(silence=20, ping=20, sweep=0.02)  # the peer answers in this process, whose cores may be busy
    async with running(make_apns(peer, connections=3, timing=patient)) as transport:
        await until(lambda: transport.pool.connections == 3)
        outcomes = await transport.send(make_batch(900))
    assert outcomes.delivered == 900
    shares = Counter(id(seen.link) for seen in peer.seen)
    assert len(shares) == 3
    assert min(shares.values()) >= 100, "the rest goes to who answers first"


async def test_a_connection_rotates_before_its_stream_ids_end(peer, make_apns, make_batch, running):
    transport = make_apns(peer)
    transport.pool._engines = {"h2": lambda: Http2Client(last_id=199)}
    async with running(transport):
        outcomes = await transport.send(make_batch(350))
    assert outcomes.delivered == 350
    assert peer.accepted == 4
    assert len(peer.seen) == 350


async def test_a_peer_without_http2_is_refused_by_name(server_context, ca_file):
    server_context.set_alpn_protocols(["http/1.1"])
    try:
        async with trio.open_nursery() as nursery:
            serve = functools.partial(trio.serve_ssl_over_tcp, host="localhost")
            listeners = await nursery.start(serve, trio.aclose_forcefully, 0, server_context)
            port = listeners[0].transport_listener.socket.getsockname()[1]
            origin = parse_origin(f"https://localhost:{port}")
            with pytest.raises(ConnectionLost, match=r"ALPN|TLS|broke"):
                await dial(origin, client_context(ca_file, alpn=("h2",)), 5)
            nursery.cancel_scope.cancel()
    finally:
        server_context.set_alpn_protocols(["h2"])


async def test_an_unknown_authority_is_an_outage_not_a_crash(peer):
    with pytest.raises(ConnectionLost, match="certificate"):
        await dial(parse_origin(peer.origin), client_context(None, alpn=("h2",)), 5)


@pytest.mark.parametrize("text", ["http://x", "https://", "x", "https://h:99999", "https://h/path", "https://hé"])
def test_an_origin_that_is_none_is_named(text):
    with pytest.raises(CredentialsError, match="origin"):
        parse_origin(text)
