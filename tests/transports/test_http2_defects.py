"""Faults which hide from every throughput run: one law for each that was met once."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.draws import drawn
from tests.transports.http2_pair import Pair, Server, requests
from transports.http2.client import Http2Client
from transports.http2.connection import Connection, Timing
from transports.http2.control import PlainEncoder
from transports.http2.messages import UNANSWERED, UNPROCESSED, Request, Template
from transports.http2.rounds import Rounds


def template(topic, *more):
    fields = ((b"apns-topic", topic), (b"apns-push-type", b"alert"), *more)
    return Template(b"localhost", b"/3/device/", fields, b"apns-id", b"", ((b"authorization", b"bearer x"),))


TOPICS = [template(b"com.example.%d" % n) for n in range(3)]
# Three of these do not fit into 4,096 octets together.
WIDE = [template(b"t%d" % n, *((b"field-%d" % k, b"%d" % n * 200) for k in range(6))) for n in range(3)]


def arrived(pair, stream_id):
    headers = pair.server.headers[stream_id]
    return headers["apns-topic"].encode(), headers["apns-id"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3), st.sampled_from([None, 0, 200, 4_096])), max_size=30))
@settings(max_examples=drawn(100), deadline=None)
def test_every_header_arrives_as_it_was_meant_whatever_the_templates_do_to_the_table(steps):
    # 1: a template's constants were counted as sent and were not: later pushes carried another topic.
    pair = Pair()
    keys = itertools.count()
    for which, n, table in steps:
        if table is not None:
            pair.server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: table})
            pair.pump()
        kind = (TOPICS + WIDE)[which]
        rows = [Request(key, b"%064x" % key, b"id-%d" % key, b"{}") for key in itertools.islice(keys, n)]
        assert pair.send(rows, template=kind) == n
        for stream_id, row in zip(pair.server.complete[-n:], rows, strict=True):
            headers = pair.server.headers[stream_id]
            for name, value in (*kind.fields, (kind.ident, row.ident), (b":path", kind.path + row.path)):
                assert headers[name.decode()] == value.decode()
        for stream_id in list(pair.server.complete):
            pair.server.answer(stream_id)
        pair.pump()


def test_a_template_that_nothing_was_sent_with_leaves_no_trace():
    # 1, again: the window is full, so the batch of another template begins nothing.
    pair = Pair(Server(credit=False))
    pair.send(requests(100, size=1_000), template=TOPICS[0])
    assert pair.send(requests(5, size=10_000, start=200), template=TOPICS[1]) == 0
    pair.server.pay()
    pair.pump()
    first = pair.client._streams.next_id
    pair.send(requests(1, start=300), template=TOPICS[2])
    pair.send(requests(1, start=301), template=TOPICS[1])
    assert arrived(pair, first) == (b"com.example.2", "id-300")
    assert arrived(pair, first + 2) == (b"com.example.1", "id-301")


def test_the_window_is_right_after_more_octets_than_it_can_hold():
    # 2: h2 saw the peer's WINDOW_UPDATEs and not our DATA: its count overflowed after 9.77 million pushes.
    client = Http2Client()
    client.feed(bytes.fromhex("000006040000000000000500ffffff"))
    body = b"x" * 60_000
    credit = bytes.fromhex("000004080000000000") + len(body).to_bytes(4, "big")
    pushes = 2**31 // len(body) + 1_000  # the peer's credit alone is then past the largest window
    for n in range(pushes):
        before = client.window
        assert client.encode(None, TOPICS[0], [Request(0, b"aa", b"", body)], 0, 1, 0.0) == 1
        assert client.window == before - len(body)
        client.feed(credit + bytes.fromhex("0000010105") + (2 * n + 1).to_bytes(4, "big") + b"\x88")
        assert client.error is None
        client.outgoing()
    assert client.accepted == pushes


def test_a_connection_is_drained_after_goaway():
    # 3: h2 is closed after GOAWAY: it raises on valid answers, PING and SETTINGS, and forgets what it had to say.
    pair = Pair()
    pair.send(requests(3))
    pair.client.ping()
    pair.server.goaway(5)
    pair.client.feed(pair.server.h2.data_to_send())
    assert pair.client.outgoing()[-17:-8] == bytes.fromhex("000008060000000000")
    pair.server.h2.ping(b"87654321")
    pair.server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 7})
    pair.client.feed(pair.server.h2.data_to_send())
    assert b"87654321" in pair.client.outgoing()
    for stream_id in (1, 3, 5):
        pair.server.answer(stream_id, 400, b'{"reason":"x"}')
        pair.take(pair.client.feed(pair.server.h2.data_to_send()))
    assert [status for status, _ in pair.fates.values()] == [400] * 3
    assert pair.client.error is None


@pytest.mark.parametrize("size", [1, 100, 5_000, 30_000])
def test_a_full_window_leaves_no_stream_open_that_was_not_wholly_sent(size):
    # 4: HEADERS were written, DATA were not: the stream stayed open for ever.
    pair = Pair(Server(credit=False))
    total = sum(pair.send(requests(1_000, size=size, start=1_000 * n)) for n in range(70))
    assert total == len(pair.server.headers) == len(pair.server.complete) == pair.client.in_flight
    assert not pair.client._streams.uploads


@given(st.lists(st.sampled_from([0, 31, 32, 100, 2_000, 4_096, 1_000_000]), min_size=1, max_size=5))
def test_of_table_sizes_the_least_and_the_last_are_announced(sizes):
    # 5: hpack announces each size in between, and forgets one that was set twice.
    encoder = PlainEncoder()
    encoder.encode([(b"a", b"b")])
    for size in sizes:
        encoder.header_table_size = size
    capped = [min(size, 4_096) for size in sizes]
    expected = [size for n, size in enumerate((min(capped), capped[-1])) if n == 0 or size != min(capped)]
    block = encoder.encode([(b":method", b"GET")])
    announced = []
    while block[0] & 0xE0 == 0x20:
        number, length = _integer(block)
        announced.append(number)
        block = block[length:]
    assert announced == (expected if set(capped) != {4_096} else [])
    assert block == b"\x82"


def _integer(data):
    number = data[0] & 31
    if number < 31:
        return number, 1
    shift, at = 0, 1
    while True:
        number += (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return number, at


def test_several_table_sizes_in_one_settings_frame_all_count():
    # 5, again: h2 sees only the last of them.
    pair = Pair()
    pair.send(requests(1))
    sizes = b"".join(b"\x00\x01" + size.to_bytes(4, "big") for size in (0, 4_096))
    pair.client.feed(len(sizes).to_bytes(3, "big") + b"\x04\x00\x00\x00\x00\x00" + sizes)
    pair.client.encode(pair.owner, TOPICS[0], requests(1, start=1), 0, 1, 0.0)
    block = pair.client.outgoing()[9 + 9 :]  # after the acknowledgement
    assert block.startswith(b"\x20\x3f\xe1\x1f")


def test_limits_that_flip_cost_refusals_and_nothing_else():
    # 6: the limit falls from 1,000 to 1 with a thousand streams on their way: some come back refused.
    pair = Pair(Server({SettingCodes.MAX_CONCURRENT_STREAMS: 1_000}))
    waiting = requests(3_000)
    sent = refused = 0
    for turn in itertools.count():
        n = pair.client.encode(pair.owner, TOPICS[0], waiting, 0, len(waiting), 0.0)
        waiting = waiting[n:]
        sent += n
        pair.server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: (1, 1_000)[turn % 2]})
        pair.pump()
        for place, stream_id in enumerate(list(pair.server.complete)):
            if turn % 2 == 0 and place % 15 == 0:
                pair.server.complete.remove(stream_id)
                pair.server.h2.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
                refused += 1
            else:
                pair.server.answer(stream_id)
        pair.pump()
        again = [key for key, (status, _) in pair.fates.items() if status == UNPROCESSED]
        for key in again:
            del pair.fates[key]
        waiting += [row for key in again for row in requests(1, start=key)]
        if not waiting:
            break
    assert len(pair.fates) == 3_000
    assert {status for status, _ in pair.fates.values()} == {200}
    assert sent == 3_000 + refused
    assert refused > 100


def test_at_or_below_the_last_stream_is_awaited_above_it_is_resent():
    # 7: below and unanswered at the end is unknown; resending it would push twice.
    pair = Pair()
    pair.send(requests(4))
    pair.server.goaway(5)
    pair.pump()
    assert pair.fates == {3: (UNPROCESSED, b"")}
    pair.server.answer(3)
    pair.pump()
    pair.take(pair.client.lost("the peer closed the connection"))
    assert pair.fates == {3: (UNPROCESSED, b""), 1: (200, b""), 0: (UNANSWERED, b""), 2: (UNANSWERED, b"")}


class _InMemory:
    """A connection's stream on one of trio.testing's: nothing can be sent without waiting."""

    def __init__(self, stream):
        self._stream, self._waiting = stream, b""
        self.receive_some, self.aclose = stream.receive_some, stream.aclose

    def receive_now(self):
        return None

    def send_now(self, data):
        self._waiting += data
        return not self._waiting

    async def send_all(self, data):
        data, self._waiting = self._waiting + data, b""
        await self._stream.send_all(data)


async def test_a_silent_peer_ends_by_ping_and_by_deadline(autojump_clock):
    # 8: a peer that says nothing more holds its requests for ever. Tested with connections in test_pool_faults, too.
    ours, theirs = trio.testing.memory_stream_pair()
    client, settled = Http2Client(), []
    connection = Connection(
        _InMemory(ours),
        client,
        Timing(deadline=20, silence=5, ping=5),
        settled.append,
        lambda: None,
        Rounds(lambda: None),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        await theirs.send_all(bytes.fromhex("000000040000000000"))
        await trio.sleep(1)
        client.encode(None, TOPICS[0], requests(3), 0, 3, trio.current_time())
        connection.wake()
        for _ in range(300):
            await trio.sleep(0.1)
            connection.sweep(trio.current_time(), wanted=False)
            if client.error:
                break
        assert client.error == "no answer to PING within 5 s"
        assert trio.current_time() < 15
    assert sum(len(done.answers) for done in settled) == 3


def test_stream_ids_never_pass_their_end():
    # 9: 2^30 requests, then there is no id left: the last one is used, and not one more.
    pair = Pair()
    pair.client._streams.next_id = 2**31 - 5
    pair.server.h2.highest_inbound_stream_id = 2**31 - 7
    assert pair.send(requests(10)) == 3
    assert pair.client.retiring == "its stream ids are used up"
    assert pair.server.complete == [2**31 - 5, 2**31 - 3, 2**31 - 1]
    for stream_id in list(pair.server.complete):
        pair.server.answer(stream_id)
    pair.pump()
    assert len(pair.fates) == 3


def test_an_answer_of_any_length_passes_as_its_window_is_given_back():
    client = Http2Client()
    client.feed(bytes.fromhex("000000040000000000"))
    client.encode(None, TOPICS[0], requests(1), 0, 1, 0.0)
    client.feed(bytes.fromhex("00000101040000000188"))
    for _ in range(200):
        assert not client.feed(b"\x00\x40\x00\x00\x00\x00\x00\x00\x01" + bytes(16_384))
    done = client.feed(bytes.fromhex("000000000100000001"))
    assert client.error is None
    assert len(done.accepted) == 1
    assert client.outgoing().count(bytes.fromhex("0000040800")) >= 100
