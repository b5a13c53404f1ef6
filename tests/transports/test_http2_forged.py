"""Forged frames, case by case as h2spec has them for clients, and noise: each ends in a named error or is ignored."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.draws import drawn
from tests.transports.http2_pair import TEMPLATE, Pair, requests
from transports.http2.client import Http2Client
from transports.http2.messages import UNANSWERED, UNPROCESSED, Template

OK = b"\x88"


def forge(kind, flags=0, stream_id=0, payload=b"", size=None):
    length = len(payload) if size is None else size
    return length.to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def text(name, value, first=b"\x00"):
    return first + bytes([len(name)]) + name + bytes([len(value)]) + value


SETTINGS, ACK, CREDIT = forge(4), forge(4, 1), (1).to_bytes(4, "big")

FATAL = {
    "DATA on stream 0": (forge(0, 1, 0, b"x"), "PROTOCOL_ERROR"),
    "HEADERS on stream 0": (forge(1, 5, 0, OK), "PROTOCOL_ERROR"),
    "PRIORITY on stream 0": (forge(2, 0, 0, b"12345"), "PROTOCOL_ERROR"),
    "RST_STREAM on stream 0": (forge(3, 0, 0, b"1234"), "PROTOCOL_ERROR"),
    "CONTINUATION on stream 0": (forge(9, 4, 0, OK), "PROTOCOL_ERROR"),
    "SETTINGS on a stream": (forge(4, 0, 1), "PROTOCOL_ERROR"),
    "PING on a stream": (forge(6, 0, 1, b"12345678"), "PROTOCOL_ERROR"),
    "GOAWAY on a stream": (forge(7, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    "PUSH_PROMISE, which we refused": (forge(5, 4, 1, b"\0\0\0\2" + OK), "PROTOCOL_ERROR"),
    "DATA on an idle stream": (forge(0, 1, 99, b"x"), "PROTOCOL_ERROR"),
    "HEADERS on an idle stream": (forge(1, 5, 99, OK), "PROTOCOL_ERROR"),
    "HEADERS on a stream of the server": (forge(1, 5, 2, OK), "PROTOCOL_ERROR"),
    "RST_STREAM on an idle stream": (forge(3, 0, 99, bytes(4)), "PROTOCOL_ERROR"),
    "WINDOW_UPDATE on an idle stream": (forge(8, 0, 99, CREDIT), "PROTOCOL_ERROR"),
    "a frame above the limit": (forge(0, 0, 1, b"", size=16_385), "FRAME_SIZE_ERROR"),
    "a whole frame above the limit": (forge(0, 0, 1, bytes(20_000)), "FRAME_SIZE_ERROR"),
    "an unknown frame above the limit": (forge(99, 0, 1, bytes(20_000)), "FRAME_SIZE_ERROR"),
    "PING of 7 octets": (forge(6, 0, 0, b"1234567"), ""),
    "SETTINGS of 5 octets": (forge(4, 0, 0, b"12345"), ""),
    "SETTINGS ACK with content": (forge(4, 1, 0, b"123456"), ""),
    "RST_STREAM of 3 octets": (forge(3, 0, 1, b"123"), "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE of 3 octets": (forge(8, 0, 1, b"123"), "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE of 3 octets on stream 0": (forge(8, 0, 0, b"123"), ""),
    "PRIORITY of 4 octets": (forge(2, 0, 1, b"1234"), "FRAME_SIZE_ERROR"),
    "GOAWAY of 7 octets": (forge(7, 0, 0, b"1234567"), ""),
    "HEADERS without their priority": (forge(1, 0x25, 1, b"123"), "FRAME_SIZE_ERROR"),
    "a window of 0 more octets": (forge(8, 0, 0, bytes(4)), "PROTOCOL_ERROR"),
    "a window above 2^31": (forge(8, 0, 0, b"\x7f\xff\xff\xff"), "FLOW_CONTROL_ERROR"),
    "an initial window above 2^31": (forge(4, 0, 0, b"\0\4\x80\0\0\0"), "FLOW_CONTROL_ERROR"),
    "a frame size below 2^14": (forge(4, 0, 0, b"\0\5\0\0\x20\0"), "PROTOCOL_ERROR"),
    "ENABLE_PUSH 2": (forge(4, 0, 0, b"\0\2\0\0\0\2"), "PROTOCOL_ERROR"),
    "padding as long as the frame": (forge(0, 8, 1, b"\3ab"), "PROTOCOL_ERROR"),
    "padding of HEADERS as long as the frame": (forge(1, 0xD, 1, b"\2\x88"), "PROTOCOL_ERROR"),
    "PADDED and empty": (forge(1, 0xD, 1, b""), "FRAME_SIZE_ERROR"),
    "CONTINUATION without HEADERS": (forge(9, 4, 1, OK), "PROTOCOL_ERROR"),
    "another frame within a header block": (forge(1, 1, 1, b"") + forge(6, 0, 0, bytes(8)), "PROTOCOL_ERROR"),
    "an unknown frame within a header block": (forge(1, 1, 1, b"") + forge(99, 0, 0, b""), "PROTOCOL_ERROR"),
    "HEADERS within a header block": (forge(1, 1, 1, b"") + forge(1, 5, 3, OK), "PROTOCOL_ERROR"),
    "a known answer in a header block": (forge(1, 5, 1, OK) + forge(1, 1, 3) + forge(1, 5, 5, OK), "PROTOCOL_ERROR"),
    "CONTINUATION of another stream": (forge(1, 1, 1, b"") + forge(9, 4, 3, OK), "PROTOCOL_ERROR"),
    "CONTINUATION without end": (forge(1, 1, 1, b"") + forge(9, 0, 1, b"") * 99, "ENHANCE_YOUR_CALM"),
    "a header block without end": (forge(1, 1, 1) + forge(9, 0, 1, bytes(16_000)) * 5, "ENHANCE_YOUR_CALM"),
    "index 0": (forge(1, 5, 1, b"\x80"), "COMPRESSION_ERROR"),
    "an index that is not there": (forge(1, 5, 1, b"\xbe"), "COMPRESSION_ERROR"),
    "a name that is not there": (forge(1, 5, 1, b"\x7e\x01x"), "COMPRESSION_ERROR"),
    "a string that ends too early": (forge(1, 5, 1, b"\x88\x00\x05abc"), "COMPRESSION_ERROR"),
    "a block that ends in a number": (forge(1, 5, 1, b"\x88\x7f"), "COMPRESSION_ERROR"),
    "a number that is too large": (forge(1, 5, 1, b"\x88\xff" + b"\xff" * 9 + b"\x01"), "COMPRESSION_ERROR"),
    "a table above the limit": (forge(1, 5, 1, b"\x3f\xe2\x1f\x88"), "COMPRESSION_ERROR"),
    "a table size after a field": (forge(1, 5, 1, b"\x88\x20"), "COMPRESSION_ERROR"),
    "Huffman with EOS": (forge(1, 5, 1, b"\x08\x84\xff\xff\xff\xff"), "COMPRESSION_ERROR"),
    "Huffman padded with zeros": (forge(1, 5, 1, b"\x08\x81\x00"), "COMPRESSION_ERROR"),
    "DATA after the end": (forge(1, 5, 1, OK) + forge(0, 1, 1, b"x"), "STREAM_CLOSED"),
    "HEADERS after the end": (forge(1, 5, 1, OK) + forge(1, 5, 1, OK), "STREAM_CLOSED"),
    "more PINGs than answers are read": (forge(6, 0, 0, b"12345678") * 5_000, "ENHANCE_YOUR_CALM"),
}  # fmt: skip


@pytest.mark.parametrize("case", FATAL)
def test_what_breaks_the_connection_is_named_and_answered_with_goaway(case):
    data, code = FATAL[case]
    pair = Pair()
    pair.send(requests(3))
    pair.take(pair.client.feed(data))
    assert pair.client.error is not None, case
    assert code in pair.client.error
    goaway = pair.client.outgoing()[-17:]
    assert goaway[:4] == b"\x00\x00\x08\x07"
    assert pair.client.room() == 0
    assert not pair.client.feed(SETTINGS)
    pair.take(pair.client.lost("closed"))
    assert len(pair.fates) == 3


def malformed(on):
    """Answers on stream ``on`` that are none, by what is wrong with them."""
    return {
        "no :status": forge(1, 5, on, text(b"server", b"x")),
        "an empty header block": forge(1, 5, on, b""),
        "two :status": forge(1, 5, on, OK + OK),
        ":status that is no number": forge(1, 5, on, text(b":status", b"2x0")),
        ":status of four digits": forge(1, 5, on, text(b":status", b"2000")),
        ":status after others": forge(1, 5, on, text(b"server", b"x") + OK),
        "a request's field": forge(1, 5, on, OK + b"\x84"),
        "an unknown pseudo-header field": forge(1, 5, on, OK + text(b":other", b"x")),
        "a name in capitals": forge(1, 5, on, OK + text(b"Server", b"x")),
        "an empty name": forge(1, 5, on, OK + text(b"", b"x")),
        "connection": forge(1, 5, on, OK + text(b"connection", b"close")),
        "transfer-encoding": forge(1, 5, on, OK + b"\x0f\x2a\x07chunked"),
        "101": forge(1, 4, on, text(b":status", b"101")),
        "103 at the end": forge(1, 5, on, text(b":status", b"103")),
        "DATA before HEADERS": forge(0, 1, on, b"x"),
        "trailers that do not end": forge(1, 4, on, OK) + forge(1, 4, on, text(b"t", b"x")),
        "trailers with :status": forge(1, 4, on, OK) + forge(1, 5, on, OK),
        "content-length above the body": forge(1, 4, on, OK + b"\x0f\x0d\x015") + forge(0, 1, on, b"x"),
        "content-length below the body": forge(1, 4, on, OK + b"\x0f\x0d\x011") + forge(0, 1, on, b"xyz"),
        "content-length without a body": forge(1, 5, on, OK + b"\x0f\x0d\x011"),
        "content-length that is no number": forge(1, 5, on, OK + b"\x0f\x0d\x02-1"),
        "two content-lengths": forge(1, 5, on, OK + b"\x0f\x0d\x010\x0f\x0d\x011"),
        "a window of 0 more octets": forge(8, 0, on, bytes(4)),
    }


STREAM_ERRORS = malformed(1)


@pytest.mark.parametrize("known", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_a_malformed_answer_costs_its_own_stream_and_no_other(case, known):
    pair = Pair()
    pair.send(requests(5))
    data = STREAM_ERRORS[case]
    if known:  # what was learnt from one answer must not make the next one pass
        pair.take(pair.client.feed(forge(1, 5, 7, OK) + forge(1, 4, 9, OK) + forge(0, 1, 9, b"x") + malformed(5)[case]))
    pair.take(pair.client.feed(data + forge(1, 5, 3, OK)))
    assert pair.client.error is None
    assert pair.fates[0] == (UNANSWERED, b"")
    assert pair.fates[1] == (200, b"")
    assert b"\x00\x00\x04\x03\x00\x00\x00\x00\x01" in pair.client.outgoing()
    # What was on its way before the peer knew is ignored.
    pair.take(pair.client.feed(forge(0, 1, 1, b"late") + forge(6, 0, 0, b"12345678")))
    assert pair.client.error is None
    assert b"12345678" in pair.client.outgoing()


IGNORED = {
    "an unknown frame": forge(0xEE, 0xFF, 1, b"x"),
    "an unknown frame on stream 0": forge(0xEE, 0xFF, 0, b"x"),
    "PRIORITY": forge(2, 0, 1, b"\0\0\0\3\x10"),
    "PRIORITY of an idle stream": forge(2, 0, 77, b"\0\0\0\3\x10"),
    "an unknown setting": forge(4, 0, 0, b"\x99\x99\0\0\0\1"),
    "an unknown error code": forge(3, 0, 5, b"\xff\xff\xff\xff"),
    "the reserved bit": forge(0xEE, 0, 1 | 1 << 31, b"x"),
    "WINDOW_UPDATE of a stream": forge(8, 0, 1, CREDIT),
    "unknown flags": forge(6, 0xF0, 0, b"12345678"),
    "an unasked PING answer": forge(6, 1, 0, b"12345678"),
    "1xx": forge(1, 4, 1, text(b":status", b"103")) * 3,
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_means_nothing_to_us_is_ignored(case):
    pair = Pair()
    pair.send(requests(3))
    answer = forge(1, 5, 1 | 1 << 31, OK) + forge(8, 0, 1, CREDIT) + forge(3, 0, 1, bytes(4))
    pair.take(pair.client.feed(IGNORED[case] + answer))
    assert pair.client.error is None
    assert pair.fates[0] == (200, b"")


@pytest.mark.parametrize("data", [forge(6, 0, 0, bytes(8)), ACK, forge(1, 5, 1, OK), forge(8, 0, 0, CREDIT), forge(99)])
def test_a_peer_that_does_not_begin_with_settings_is_none(data):
    client = Http2Client()
    client.feed(data)
    assert client.error is not None
    assert "before SETTINGS" in client.error


@pytest.mark.parametrize("padding", [0, 1, 255])
@pytest.mark.parametrize("priority", [b"", b"\x80\0\0\3\x10"])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_padding_priority_and_continuation_change_nothing(padding, priority, parts):
    pair = Pair()
    pair.send(requests(2))
    block = OK + text(b"apns-id", b"x" * 20)
    cuts = [block[n * len(block) // parts : (n + 1) * len(block) // parts] for n in range(parts)]
    flags = 1 | 8 | (0x20 if priority else 0) | (4 if parts == 1 else 0)
    data = forge(1, flags, 1, bytes([padding]) + priority + cuts[0] + bytes(padding))
    for n, cut in enumerate(cuts[1:], 2):
        data += forge(9, 4 if n == parts else 0, 1, cut)
    pair.take(pair.client.feed(data + forge(1, 5, 3, block)))
    assert pair.fates == {0: (200, b""), 1: (200, b"")}


def test_reset_and_goaway_tell_what_was_processed():
    pair = Pair()
    pair.send(requests(5))
    data = forge(3, 0, 3, (7).to_bytes(4, "big")) + forge(3, 0, 5, (2).to_bytes(4, "big"))
    pair.take(pair.client.feed(data + forge(7, 0, 0, (7).to_bytes(4, "big") + bytes(4) + b"bye") + forge(1, 5, 1, OK)))
    assert pair.fates == {0: (200, b""), 1: (UNPROCESSED, b""), 2: (UNANSWERED, b""), 4: (UNPROCESSED, b"")}
    assert pair.client.retiring == "GOAWAY NO_ERROR bye"
    # The answer of a stream above the last one is not believed: it was resent.
    pair.take(pair.client.feed(forge(1, 5, 9, OK) + forge(1, 5, 7, OK)))
    assert pair.client.error is None
    assert pair.fates[3] == (200, b"")


part = st.one_of(
    st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 12), st.binary(max_size=40)),
    st.tuples(st.just(1), st.sampled_from([4, 5]), st.sampled_from([1, 3, 5]), st.binary(max_size=60)),
    st.tuples(st.just(0), st.sampled_from([0, 1, 8]), st.sampled_from([1, 3, 5]), st.binary(max_size=60)),
    st.tuples(
        st.just(1), st.just(5), st.sampled_from([1, 3, 5]), st.sampled_from([OK, OK + text(b"a", b"b", b"\x40")])
    ),
    st.tuples(st.just(4), st.just(0), st.just(0), st.binary(min_size=6, max_size=6)),
    st.tuples(st.just(8), st.just(0), st.integers(0, 6), st.binary(min_size=4, max_size=4)),
)
noise = (st.lists(part, max_size=12), st.binary(max_size=60), st.integers(0, 2**32))


def survives(frames, tail, seed):
    rng = random.Random(seed)
    pair = Pair()
    pair.send(requests(3))
    data = b"".join(forge(*frame) for frame in frames) + tail
    while data:
        n = rng.randint(1, len(data))
        pair.take(pair.client.feed(data[:n]))
        data = data[n:]
        pair.sent += pair.client.encode(pair.owner, TEMPLATE, requests(2, start=pair.sent), 0, 2, 1.0)
        pair.client.outgoing()
    pair.take(pair.client.expire(0.5))
    pair.client.outgoing()
    pair.take(pair.client.lost("the end"))
    assert len(pair.fates) == pair.sent
    assert pair.client.in_flight == 0


@settings(max_examples=drawn(500), deadline=None)
@given(*noise)
def test_no_bytes_of_a_peer_raise(frames, tail, seed):
    survives(frames, tail, seed)


def test_what_a_block_says_changes_with_the_table():
    # Index 62 is whatever came last: remembered blocks must be forgotten with it.
    pair = Pair()
    pair.send(requests(9))

    def status(code):
        return b"\x48\x03%d" % code  # :status, literal, into the table

    word = b'{"reason":"x"}'
    data = forge(1, 5, 1, status(201)) + forge(1, 5, 3, b"\xbe") + forge(1, 5, 5, b"\xbe")
    data += forge(1, 4, 7, b"\xbe") + forge(0, 1, 7, word)
    data += forge(1, 5, 9, status(410)) + forge(1, 5, 11, b"\xbe")
    data += forge(1, 4, 13, b"\xbe") + forge(0, 1, 13, word)
    data += forge(1, 5, 15, b"\xbf")
    pair.take(pair.client.feed(data))
    empty = (200, b"")  # accepted
    assert [pair.fates[key] for key in range(8)] == [empty] * 4 + [(410, b""), (410, b""), (410, word), empty]


def test_a_table_that_is_too_small_forgets_the_oldest():
    # Two entries of 50 octets fit into 100 (RFC 7541 §4.1), and not into 99.
    for size, kept in ((100, True), (99, False)):
        client = Http2Client()
        client.feed(SETTINGS)  # it has not agreed to our table of 0 octets yet
        client.encode(None, TEMPLATE, requests(2), 0, 2, 0.0)
        entries = b"\x50\x03abc" + b"\x50\x03xyz"
        assert client.feed(forge(1, 5, 1, b"\x3f" + bytes([size - 31]) + OK + entries)).streams == [1]
        assert client.feed(forge(1, 5, 3, OK + b"\xbf")).streams == [3] * kept
        assert (client.error is None) == kept


def test_constant_fields_cost_an_octet_each_once_the_table_has_taken_them_in():
    # Two templates that together do not fit: each pushes the other out, and has the table for itself soon after.
    pair = Pair()
    wide = [
        Template(b"h", b"/", tuple((b"field-%d-%d" % (n, k), b"v" * 180) for k in range(10)), b"ident") for n in (0, 1)
    ]
    for turn in range(6):
        key = 10 * turn
        pair.send(requests(4, start=key), template=wide[turn % 2])
        pair.client.encode(pair.owner, wide[turn % 2], requests(1, size=1, start=key + 9), 0, 1, 0.0)
        octets = pair.client.outgoing()
        assert len(octets) < 200
        pair.server.feed(octets)


def test_interleaved_answers_find_their_streams():
    pair = Pair()
    pair.send(requests(6))
    known = forge(1, 4, 1, OK) + forge(0, 1, 1, b"x")
    data = forge(1, 4, 3, OK) + forge(1, 4, 5, OK) + forge(0, 1, 5, b"five")
    pair.take(pair.client.feed(known + data))
    assert set(pair.fates) == {0, 2}
    pair.take(pair.client.feed(forge(1, 4, 7, OK) + forge(0, 1, 3, b"three")))
    assert set(pair.fates) == {0, 2, 1}
    pair.take(pair.client.feed(forge(0, 1, 7, b"seven")))
    assert set(pair.fates) == {0, 2, 1, 3}
    assert pair.client.error is None
    assert pair.client.in_flight == 2


def test_a_known_answer_to_half_a_request_ends_its_upload():
    client = Http2Client()
    client.feed(forge(4, 0, 0, b"\0\4\0\0\0\x64"))  # a window of 100 octets
    client.encode(None, TEMPLATE, requests(1, size=10), 0, 1, 0.0)
    client.feed(forge(1, 5, 1, OK))
    client.encode(None, TEMPLATE, requests(1, size=500), 0, 1, 0.0)
    client.outgoing()
    assert client.feed(forge(1, 5, 3, OK)).streams == [3]
    assert client.outgoing() == forge(3, 0, 3, bytes(4))
    client.feed(forge(4, 0, 0, b"\0\4\0\0\xff\xff"))
    assert client.outgoing() == ACK
    assert client.room() == 1_000


def test_the_connections_window_is_given_back_by_answers_of_every_form():
    client = Http2Client()
    client.feed(SETTINGS + forge(8, 0, 0, b"\x7f\x00\x00\x00"))
    client.outgoing()
    granted = taken = 0
    for n in range(3_000):
        client.encode(None, TEMPLATE, requests(1, size=1), 0, 1, 0.0)
        client.outgoing()
        stream_id, body = 2 * n + 1, b"x" * 1_000
        cut = 9 if n % 3 else 3
        data = forge(1, 4, stream_id, OK) + forge(0, 1, stream_id, body)
        for piece in (data[:cut], data[cut:]):
            client.feed(piece)
        taken += len(body)
        octets = client.outgoing()
        assert octets[:9] in (b"", forge(8, 0, 0, size=4)[:9])
        granted += int.from_bytes(octets[9:], "big")
        assert taken - granted < 1 << 20
    assert client.accepted == 3_000
    assert granted > 2_000_000


def test_what_no_table_can_hold_pushes_nothing_out_of_it():
    pair = Pair()
    huge = Template(b"localhost", b"/3/device/", ((b"huge", b"h" * 5_000),), b"apns-id")
    pair.send(requests(3))
    pair.send(requests(3, start=3), template=huge)
    pair.client.encode(pair.owner, TEMPLATE, requests(1, start=6), 0, 1, 0.0)
    octets = pair.client.outgoing()
    assert b"apns-topic" not in octets
    pair.server.feed(octets)
    assert pair.server.headers[13]["apns-topic"] == "a.b"


def test_an_answer_like_one_before_is_read_as_it_is():
    pair = Pair()
    pair.send(requests(8))

    def block(ident, more=b""):
        return OK + text(b"apns-id", ident) + more + text(b"server", b"x")

    data = forge(1, 5, 1, block(b"a" * 36)) + forge(1, 5, 3, block(b"b" * 36)) + forge(1, 5, 5, block(b"c" * 20))
    pair.take(pair.client.feed(data))
    assert [pair.fates[key] for key in range(3)] == [(200, b"")] * 3
    # The same from both ends, with something else between.
    pair.take(pair.client.feed(forge(1, 5, 7, block(b"d" * 36, text(b":status", b"500")))))
    pair.take(pair.client.feed(forge(1, 5, 9, block(b"d" * 36, text(b"content-length", b"7")))))
    assert [pair.fates[key] for key in (3, 4)] == [(UNANSWERED, b"")] * 2
    pair.take(pair.client.feed(forge(1, 5, 11, block(b""))))
    pair.take(pair.client.feed(forge(1, 5, 13, block(b"e" * 9)[:-1])))
    assert pair.fates[5] == (200, b"")
    assert pair.client.error is not None
    assert "COMPRESSION_ERROR" in pair.client.error
