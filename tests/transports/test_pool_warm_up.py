"""What goes over a connection before the batches do."""

from __future__ import annotations

import trio
from h2.settings import SettingCodes

from transports.http2.messages import Template
from transports.http2.submission import Submission

OK = (200, {}, b"")


class Recorded(Submission):
    """Keeps the statuses of its answers."""

    def __init__(self, row, template, settled):
        super().__init__([row], lambda: template)
        self.settled = settled

    def answer(self, answer):
        self.settled.append(answer.status)
        return super().answer(answer)


def first_request(pool, settled):
    template = Template(pool.origin.authority, b"/3/device/", ((b"apns-push-type", b"background"),))
    return Recorded((0, b"0f", b"", b"{}", ()), template, settled)


async def test_a_connection_takes_batches_only_after_its_first_request_was_answered(
    peer, make_apns, make_batch, running, until
):
    transport = make_apns(peer)
    transport.pool.warm_up = lambda: first_request(transport.pool, [])
    order = []

    def answer(seen):
        order.append(seen.headers["apns-push-type"])
        return OK

    peer.answer = answer
    async with running(transport):
        await until(lambda: transport.pool.connections == 1)
        assert order == ["background"]
        assert (await transport.send(make_batch(20))).delivered == 20
    assert order == ["background"] + ["alert"] * 20


async def test_every_connection_is_warmed_for_itself(peer, make_apns, make_batch, running, until):
    transport = make_apns(peer, connections=3)
    transport.pool.warm_up = lambda: first_request(transport.pool, [])
    async with running(transport):
        await until(lambda: transport.pool.connections == 3)
        assert len(peer.seen) == 3
        assert len({id(seen.link) for seen in peer.seen}) == 3


async def test_a_refused_first_request_holds_nothing_up(peer, make_apns, make_batch, running, until):
    transport = make_apns(peer)
    settled = []
    transport.pool.warm_up = lambda: first_request(transport.pool, settled)
    peer.answer = lambda seen: (400, {}, b'{"reason":"BadDeviceToken"}') if seen.token == "0f" else OK
    async with running(transport):
        assert (await transport.send(make_batch(20))).delivered == 20
    assert settled == [400]


async def test_a_first_request_that_is_never_answered_delays_but_does_not_block(
    peer, make_apns, make_batch, running, until, fast
):
    transport = make_apns(peer)
    transport.pool.warm_up = lambda: first_request(transport.pool, [])
    peer.answer = lambda seen: None if seen.token == "0f" else OK
    async with running(transport):
        assert (await transport.send(make_batch(20))).delivered == 20


async def test_with_one_stream_allowed_until_a_push_is_accepted_the_batch_finds_many(
    peer, make_apns, make_batch, running, until
):
    peer.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    transport = make_apns(peer)
    transport.pool.warm_up = lambda: first_request(transport.pool, [])

    def answer(seen):
        seen.link.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        peer.answer = lambda seen: None
        return OK

    peer.answer = answer
    async with running(transport):
        await until(lambda: transport.pool.connections == 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.send, make_batch(100))
            await until(lambda: len(peer.seen) == 101)  # side by side: none of them is answered
            nursery.cancel_scope.cancel()
