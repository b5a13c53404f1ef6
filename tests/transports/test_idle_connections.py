"""The hot news after an hour's silence: routers on the way may have forgotten every connection, and told nobody."""

from __future__ import annotations

import json
import math
import socket
import time
from pathlib import Path
from typing import Any

import h2.events
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame

from transports.apns import transport as apns
from transports.contract import TransportSettings
from transports.fcm import transport as fcm
from transports.http2 import connection
from transports.http2.connection import Timing, dial, parse_origin
from transports.tls.context import client_context

QUIET = Timing(deadline=5.0, connect=2.0, silence=5.0, ping=5.0, idle=math.inf, doubt=0.2, proof=0.3, sweep=0.02)
"""As in production, where each is 60 s, 1 s, 0.1 s."""
OK = (200, {}, b"")


def counted_pings(peer: Any) -> list[int]:
    """Which connection of the peer got a PING, from now on."""
    found: list[int] = []
    for number, link in enumerate(peer.links):
        before = link.on_event

        async def on_event(event: h2.events.Event, number: int = number, before: Any = before) -> None:
            if isinstance(event, h2.events.PingReceived):
                found.append(number)
            await before(event)

        link.on_event = on_event
    return found


async def never() -> None:
    await trio.sleep_forever()


async def test_after_a_silence_nothing_is_sent_into_forgotten_connections(
    peer: Any, make_apns: Any, make_batch: Any, running: Any, until: Any
) -> None:
    """24.3: before, the whole batch went there, and was unknown after the deadline."""
    async with running(make_apns(peer, timing=QUIET, connections=3)) as transport:
        await until(lambda: transport.pool.connections == 3)
        for link in peer.links:
            link.flush = never  # the router drops everything, and no end of the connection arrives
        await trio.sleep(0.4)
        began = time.monotonic()
        with trio.fail_after(10):
            outcomes = await transport.send(make_batch(40))
        assert (outcomes.delivered, outcomes.exceptions) == (40, [])
        assert time.monotonic() - began < 1.5, "three tenths for the PING, and a new connection"
        assert len(peer.seen) == 40, "nobody got it twice"
    assert peer.accepted > 3


async def test_the_first_pushes_go_over_whichever_connection_answers_first(
    peer: Any, make_apns: Any, make_batch: Any, running: Any, until: Any
) -> None:
    """24.3"""
    async with running(make_apns(peer, timing=QUIET, connections=2)) as transport:
        await until(lambda: transport.pool.connections == 2)
        lost, alive = peer.links
        lost.flush = never
        await trio.sleep(0.4)
        began = time.monotonic()
        outcomes = await transport.send(make_batch(40))
        assert outcomes.delivered == 40
        assert {seen.link for seen in peer.seen} == {alive}
        assert time.monotonic() - began < 0.3, "it waits for no other one"


async def test_a_connection_is_asked_once_after_a_silence_and_never_while_it_speaks(
    peer: Any, make_apns: Any, make_batch: Any, running: Any, until: Any
) -> None:
    """24.3: a PING for each batch would be abuse."""
    async with running(make_apns(peer, timing=QUIET, connections=1)) as transport:
        await until(lambda: transport.pool.connections == 1)
        pings = counted_pings(peer)
        for _ in range(5):
            assert (await transport.send(make_batch(3))).delivered == 3
        assert not pings
        await trio.sleep(0.4)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(transport.send, make_batch(3))
        assert pings == [0]
    assert peer.accepted == 1


async def test_whoever_begins_to_write_finds_live_connections_at_fire(
    peer: Any, make_apns: Any, make_batch: Any, running: Any, until: Any
) -> None:
    """24.3, CONSOLE 2: opening the compose page asks them, so that Fire need not wait for the proof."""
    async with running(make_apns(peer, timing=QUIET, connections=2)) as transport:
        await until(lambda: transport.pool.connections == 2)
        lost = list(peer.links)
        for link in lost:
            link.flush = never
        await trio.sleep(0.4)
        transport.probe()
        await until(lambda: peer.accepted == 4 and transport.pool.connections == 2)
        assert (await transport.send(make_batch(40))).delivered == 40
        assert not {seen.link for seen in peer.seen} & set(lost)


async def test_a_peer_that_calls_pings_abuse_gets_none_for_an_hour(
    peer: Any, make_apns: Any, make_batch: Any, running: Any, until: Any
) -> None:
    """24.3: Google answers too_many_pings with ENHANCE_YOUR_CALM."""

    def calm(seen: Any) -> Any:
        code = ErrorCodes.ENHANCE_YOUR_CALM
        frame = GoAwayFrame(0, last_stream_id=1, error_code=code, additional_data=b"too_many_pings")
        seen.link.h2._data_to_send += frame.serialize()
        peer.answer = lambda seen: OK
        return OK

    peer.answer = calm
    async with running(make_apns(peer, timing=QUIET, connections=1)) as transport:
        assert (await transport.send(make_batch(1))).delivered == 1
        await until(lambda: peer.accepted == 2 and transport.pool.connections == 1)
        pings = counted_pings(peer)
        await trio.sleep(0.4)
        assert (await transport.send(make_batch(3))).delivered == 3
        assert not pings


async def test_the_kernel_keeps_a_connection_known_on_the_way(peer: Any, ca_file: Any) -> None:
    """24.3: routers forget a connection after four minutes; providers count PINGs, but not this."""
    stream = await dial(parse_origin(peer.origin), client_context(ca_file, alpn=("h2",)), 5)
    try:
        option = stream._socket.getsockopt
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in connection._KEEP_ALIVE.items():
            if hasattr(socket, name):
                assert option(socket.IPPROTO_TCP, getattr(socket, name)) == value
    finally:
        await trio.aclose_forcefully(stream)


async def test_apple_is_asked_every_minute_while_nothing_is_sent_and_google_never(
    apns_credentials: dict[str, str], service_account: dict[str, str], tmp_path: Path
) -> None:
    """24.3: Apple allows it; Google hangs up on those who do."""
    key = tmp_path / "key.json"
    key.write_text(json.dumps(service_account))
    apple = TransportSettings(channel="ios", platform="apns", app="com.example.news", credentials=apns_credentials)
    google = TransportSettings(
        channel="android", platform="fcm", app="news-1a2b3", credentials={"service_account": str(key)}
    )
    assert apns.build(apple).pool._timing.idle == 60
    assert fcm.build(google).pool._timing.idle == math.inf
