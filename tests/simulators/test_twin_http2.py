"""The twins' HTTP/2 server side, fed by a frame forge: what RFC 9113 allows is served, the rest gets its code."""

from __future__ import annotations

import itertools
import struct

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.http2.received_request import ReceivedRequest
from simulators.http2.server_connection import Http2Connection
from simulators.http2.server_streams import Limits
from tests.draws import drawn
from tests.simulators.conftest import PREFACE, frame, parse

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
START = PREFACE + frame(SETTINGS)
FIELDS = [(":method", "POST"), (":scheme", "https"), (":path", "/x"), (":authority", "localhost")]
BLOCK = hpack.Encoder().encode(FIELDS)
OK = ((b":status", b"200"),)


def block(*fields: tuple[str, str]) -> bytes:
    return hpack.Encoder().encode([*FIELDS, *fields])


def begun(limits: Limits | None = None, settings: bytes = b"") -> Http2Connection:
    server = Http2Connection(limits)
    server.feed(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(SETTINGS, 1))
    server.outgoing()
    return server


def setting(number: int, value: int) -> bytes:
    return struct.pack(">HI", number, value)


def word(value: int) -> bytes:
    return struct.pack(">I", value)


def last_error(server: Http2Connection) -> tuple[str, int]:
    """The kind and code of the last RST_STREAM or GOAWAY sent."""
    for kind, _, _, payload in reversed(parse(server.outgoing())):
        if kind == RST:
            return "stream", int.from_bytes(payload)
        if kind == GOAWAY:
            return "connection", struct.unpack(">II", payload[:8])[1]
    raise AssertionError("no error was sent")


def test_the_server_greets_and_acknowledges() -> None:
    server = Http2Connection(Limits(max_concurrent_streams=1, connection_window=100_000))
    server.feed(START)
    sent = parse(server.outgoing())
    assert [(kind, flags) for kind, flags, _, _ in sent] == [(SETTINGS, 0), (WINDOW, 0), (SETTINGS, 1)]
    assert setting(3, 1) in sent[0][3]
    assert int.from_bytes(sent[1][3]) == 100_000 - 65_535


REQUESTS = (
    frame(HEADERS, 0x4, 1, BLOCK)
    + frame(DATA, 0, 1, b"he")
    + frame(DATA, 0x9, 1, b"\x03llo\0\0\0")
    + frame(99, 0xFF, 7, b"unknown")
    + frame(HEADERS, 0x28, 3, b"\x02" + word(1) + b"\x10" + BLOCK[:2] + b"\0\0")
    + frame(CONTINUATION, 0, 3, BLOCK[2:3])
    + frame(CONTINUATION, 0x4, 3, BLOCK[3:])
    + frame(DATA, 0, 3, b"")
    + frame(HEADERS, 0x5, 3, hpack.Encoder().encode([("grpc", "trailer")]))
    + frame(HEADERS, 0x5, 5, BLOCK)
    + frame(PING, 0, 0, b"12345678")
    + frame(PRIORITY, 0, 9, word(1) + b"\x01")
)


@given(cuts=st.lists(st.integers(0, len(START + REQUESTS)), max_size=20))
@settings(max_examples=drawn(100), deadline=None)
def test_requests_are_the_same_however_the_bytes_are_split(cuts: list[int]) -> None:
    whole = START + REQUESTS
    server = Http2Connection()
    requests: list[ReceivedRequest] = []
    edges = [0, *sorted(cuts), len(whole)]
    for start, end in itertools.pairwise(edges):
        requests += server.feed(whole[start:end])
    assert [(request.stream, request.body) for request in requests] == [(1, b"hello"), (3, b""), (5, b"")]
    assert all(dict(request.fields)[b":path"] == b"/x" for request in requests)
    assert (PING, 1, 0, b"12345678") in parse(server.outgoing())
    assert not server.closed
    assert not server.faults


@given(st.binary(max_size=80))
@settings(max_examples=drawn(300), deadline=None)
def test_rubbish_never_raises(rubbish: bytes) -> None:
    begun().feed(rubbish)
    server = begun()
    for kind in range(12):
        for flags in (0, 0x1, 0x4, 0x8, 0x2D):
            server.feed(frame(kind, flags, 1, rubbish))
    Http2Connection().feed(rubbish)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(SETTINGS, 0, 1), 1),
        (frame(SETTINGS, 1, 0, b"\0"), 6),
        (frame(SETTINGS, 0, 0, b"\0"), 6),
        (frame(SETTINGS, 0, 0, setting(2, 2)), 1),
        (frame(SETTINGS, 0, 0, setting(4, 2**31)), 3),
        (frame(SETTINGS, 0, 0, setting(5, 16_383)), 1),
        (frame(SETTINGS, 0, 0, setting(5, 2**24)), 1),
        (frame(DATA, 0, 0, b"x"), 1),
        (frame(DATA, 0, 1, b"x"), 1),
        (frame(HEADERS, 0x5, 0, BLOCK), 1),
        (frame(HEADERS, 0x5, 2, BLOCK), 1),
        (frame(HEADERS, 0x5, 1, b"\x80"), 9),
        (frame(HEADERS, 0xD, 1, b"\x09123"), 1),
        (frame(HEADERS, 0x25, 1, b"123"), 6),
        (frame(HEADERS, 0x1, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), 1),
        (frame(HEADERS, 0x1, 1, BLOCK) + frame(CONTINUATION, 0x4, 3), 1),
        (frame(CONTINUATION, 0x4, 1), 1),
        (frame(HEADERS, 0x1, 1, BLOCK) + 5 * frame(CONTINUATION, 0, 1, bytes(16_384)), 11),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(DATA, 0x8, 1, b"\x05123"), 1),
        (frame(RST, 0, 1, word(8)), 1),
        (frame(RST, 0, 0, word(8)), 1),
        (frame(RST, 0, 1, b"x"), 6),
        (frame(PUSH, 0x4, 1, word(2) + BLOCK), 1),
        (frame(PING, 0, 1, bytes(8)), 1),
        (frame(PING, 0, 0, bytes(7)), 6),
        (frame(GOAWAY, 0, 1, bytes(8)), 1),
        (frame(GOAWAY, 0, 0, bytes(7)), 6),
        (frame(WINDOW, 0, 0, word(0)), 1),
        (frame(WINDOW, 0, 0, b"x"), 6),
        (frame(WINDOW, 0, 0, word(2**31 - 1)), 3),
        (frame(WINDOW, 0, 1, word(1)), 1),
        (frame(PRIORITY, 0, 0, bytes(5)), 1),
        (b"\x00\x40\x01" + bytes(6), 6),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(HEADERS, 0x5, 5, BLOCK) + frame(HEADERS, 0x5, 3, BLOCK), 5),
    ],
)
def test_a_connection_error_is_a_goaway_with_its_code(sent: bytes, code: int) -> None:
    server = begun()
    server.feed(sent)
    assert server.closed
    assert server.fault is not None
    assert last_error(server) == ("connection", code)
    assert server.faults.total() == 1


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n\r\n", PREFACE + frame(PING, 0, 0, bytes(8)), PREFACE + frame(SETTINGS, 1)]
)
def test_a_connection_that_starts_otherwise_is_refused(start: bytes) -> None:
    server = Http2Connection()
    server.feed(start)
    assert last_error(server) == ("connection", 1)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(HEADERS, 0x5, 1, block(("content-length", "3"))), 1),
        (frame(HEADERS, 0x4, 1, block(("content-length", "x"))), 1),
        (frame(HEADERS, 0x5, 1, block(("Upper", "x"))), 1),
        (frame(HEADERS, 0x5, 1, block(("connection", "close"))), 1),
        (frame(HEADERS, 0x5, 1, block(("te", "gzip"))), 1),
        (frame(HEADERS, 0x5, 1, block(("bad", "a\r\nb"))), 1),
        (frame(HEADERS, 0x5, 1, block(("bad", "a\0b"))), 1),
        (frame(HEADERS, 0x5, 1, hpack.Encoder().encode([*FIELDS, (b"bad", b" a")])), 1),
        (frame(HEADERS, 0x5, 1, hpack.Encoder().encode([*FIELDS, (b"bad", b"a\t")])), 1),
        (frame(HEADERS, 0x5, 1, block(("content-length", "0"), ("content-length", "0"))), 1),
        (frame(HEADERS, 0x5, 1), 1),
        (frame(HEADERS, 0x5, 1, block((":path", "/y"))), 1),
        (frame(HEADERS, 0x5, 1, block(("a", "b"), (":extra", "y"))), 1),
        (frame(HEADERS, 0x5, 1, hpack.Encoder().encode(FIELDS[1:])), 1),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(HEADERS, 0x4, 1, BLOCK), 1),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(HEADERS, 0x5, 1, BLOCK), 1),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(WINDOW, 0, 1, word(0)), 1),
        (frame(HEADERS, 0x4, 1, BLOCK) + frame(WINDOW, 0, 1, word(2**31 - 1)), 3),
        (frame(HEADERS, 0x5, 1, BLOCK) + frame(DATA, 0, 1, b"x"), 5),
        (frame(PRIORITY, 0, 1, bytes(4)), 6),
    ],
)
def test_a_stream_error_is_a_reset_with_its_code(sent: bytes, code: int) -> None:
    server = begun()
    requests = server.feed(sent)
    assert last_error(server) == ("stream", code)
    assert not server.closed
    assert len(requests) == (1 if code == 5 else 0)
    assert server.feed(frame(HEADERS, 0x5, 7, BLOCK))[0].stream == 7


def test_streams_over_the_limit_are_refused_and_their_headers_still_decoded() -> None:
    server = begun(Limits(max_concurrent_streams=1))
    encoder = hpack.Encoder()
    first, second, third = (encoder.encode([*FIELDS, ("topic", "t"), ("second", word)]) for word in ("a", "b", "b"))
    assert len(server.feed(frame(HEADERS, 0x5, 1, first))) == 1
    assert not server.feed(frame(HEADERS, 0x4, 3, second) + frame(DATA, 1, 3, b"body"))
    assert last_error(server) == ("stream", 7)
    server.respond(1, OK)
    (request,) = server.feed(frame(HEADERS, 0x5, 5, third))
    assert dict(request.fields)[b"second"] == b"b"


def test_a_lowered_limit_spares_open_streams() -> None:
    server = begun()
    server.feed(frame(HEADERS, 0x5, 1, BLOCK) + frame(HEADERS, 0x5, 3, BLOCK))
    server.settings({3: 1})
    assert not server.feed(frame(HEADERS, 0x5, 5, BLOCK))
    assert last_error(server) == ("stream", 7)
    assert server.respond(1, OK)
    assert server.respond(3, OK)
    assert server.feed(frame(HEADERS, 0x5, 7, BLOCK))


def body_of(frames: list[tuple[int, int, int, bytes]], stream: int) -> bytes:
    return b"".join(payload for kind, _, of, payload in frames if kind == DATA and of == stream)


def test_answers_wait_for_the_stream_window() -> None:
    server = begun(settings=setting(4, 3))
    server.feed(frame(HEADERS, 0x5, 1, BLOCK))
    server.respond(1, OK, b"0123456789")
    assert body_of(parse(server.outgoing()), 1) == b"012"
    server.feed(frame(SETTINGS, 0, 0, setting(4, 5)))
    assert body_of(parse(server.outgoing()), 1) == b"34"
    server.feed(frame(SETTINGS, 0, 0, setting(4, 0)) + frame(WINDOW, 0, 1, word(4)))
    assert body_of(parse(server.outgoing()), 1) == b""
    server.feed(frame(WINDOW, 0, 1, word(50)))
    kind, flags, _, payload = parse(server.outgoing())[-1]
    assert (kind, flags, payload) == (DATA, 1, b"56789")
    assert not server.open_streams


def test_answers_wait_for_the_connection_window_and_keep_to_the_frame_size() -> None:
    server = begun(settings=setting(4, 200_000))
    server.feed(frame(HEADERS, 0x5, 1, BLOCK) + frame(HEADERS, 0x5, 3, BLOCK))
    server.respond(1, OK, bytes(60_000))
    server.respond(3, OK, b"y" * 10_000)
    sent = parse(server.outgoing())
    assert max(len(payload) for _, _, _, payload in sent) == 16_384
    assert (len(body_of(sent, 1)), len(body_of(sent, 3))) == (60_000, 5535)
    server.feed(frame(WINDOW, 0, 0, word(100)))
    assert len(body_of(parse(server.outgoing()), 3)) == 100
    server.feed(frame(WINDOW, 0, 0, word(100_000)))
    assert len(body_of(parse(server.outgoing()), 3)) == 10_000 - 5635
    assert not server.open_streams


def test_data_beyond_a_window_is_a_flow_control_error() -> None:
    server = begun(Limits(initial_window=100, connection_window=65_535))
    server.topping_up = False
    server.feed(frame(HEADERS, 0x4, 1, BLOCK) + frame(DATA, 0, 1, bytes(101)))
    assert last_error(server) == ("stream", 3)
    server = begun(Limits(initial_window=100_000, connection_window=65_535))
    server.topping_up = False
    server.feed(frame(HEADERS, 0x4, 1, BLOCK) + 5 * frame(DATA, 0, 1, bytes(16_000)))
    assert last_error(server) == ("connection", 3)


def test_windows_are_topped_up_in_time() -> None:
    server = begun(Limits(connection_window=65_535))
    sent = 0
    connection = stream = 65_535
    for number in range(12):
        assert min(connection, stream) >= 16_000
        flags = 1 if number == 11 else 0
        server.feed((frame(HEADERS, 0x4, 1, BLOCK) if not number else b"") + frame(DATA, flags, 1, bytes(16_000)))
        sent += 16_000
        connection -= 16_000
        stream -= 16_000
        for kind, _, of, payload in parse(server.outgoing()):
            if kind == WINDOW and of:
                stream += int.from_bytes(payload)
            elif kind == WINDOW:
                connection += int.from_bytes(payload)
    assert not server.faults


class Uploader:
    """A client's account of its windows, kept from what the server sends alone."""

    def __init__(self, server: Http2Connection) -> None:
        self.server = server
        self.initial = self.connection = 65_535
        self.streams: dict[int, int] = {}
        self.hear(server.outgoing())

    def hear(self, data: bytes) -> None:
        for kind, flags, of, payload in parse(data):
            assert kind not in (RST, GOAWAY)
            if kind == WINDOW and of:
                self.streams[of] = self.streams.get(of, 0) + int.from_bytes(payload)
            elif kind == WINDOW:
                self.connection += int.from_bytes(payload)
            elif kind == SETTINGS and not flags:
                held = dict(struct.iter_unpack(">HI", payload))
                grown = held.get(4, self.initial) - self.initial
                self.initial += grown
                self.streams = {stream: window + grown for stream, window in self.streams.items()}
                self.server.feed(frame(SETTINGS, 1))
                self.hear(self.server.outgoing())

    def upload(self, stream: int, size: int) -> list[ReceivedRequest]:
        """Send a body as the windows allow; fails where they stop it for ever."""
        self.streams[stream] = self.initial
        self.server.feed(frame(HEADERS, 0x4, stream, BLOCK))
        while True:
            room = min(size, self.connection, self.streams[stream], 16_384)
            assert room > 0, f"{size} bytes of stream {stream} are left and no window"
            size -= room
            self.connection -= room
            self.streams[stream] -= room
            done = self.server.feed(frame(DATA, 0 if size else 1, stream, bytes(room)))
            self.hear(self.server.outgoing())
            if not size:
                return done


@given(
    windows=st.lists(st.integers(1, 100_000), min_size=1, max_size=6),
    first=st.integers(1, 100_000),
)
@settings(max_examples=drawn(50), deadline=None)
def test_bodies_larger_than_every_window_get_through_as_it_changes(windows: list[int], first: int) -> None:
    server = Http2Connection(Limits(initial_window=first, connection_window=65_535))
    server.feed(START)
    client = Uploader(server)
    for number, window in enumerate(windows):
        (request,) = client.upload(4 * number + 1, min(3 * client.initial, 100_000))
        assert len(request.body) == min(3 * client.initial, 100_000)
        server.settings({4: window})
        client.hear(server.outgoing())
        assert client.initial == window
        server.respond(4 * number + 1, OK)
        client.hear(server.outgoing())
    assert not server.faults


def test_a_smaller_window_binds_from_its_acknowledgement_on() -> None:
    server = begun()
    server.feed(frame(HEADERS, 0x4, 1, BLOCK) + frame(HEADERS, 0x4, 3, BLOCK))
    server.settings({4: 10})
    server.feed(frame(DATA, 0, 1, bytes(16_384)))
    assert not server.faults
    server.outgoing()
    server.feed(frame(SETTINGS, 1))
    # Stream 1 has sent more than its window holds by now: it is told where it stands, lest it wait for ever.
    assert parse(server.outgoing()) == [(WINDOW, 0, 1, word(16_384))]
    server.feed(frame(DATA, 0, 1, bytes(10)))
    assert not server.faults
    server.feed(frame(DATA, 0, 3, bytes(11)))
    assert last_error(server) == ("stream", 3)


def test_goaway_forgets_the_streams_above_and_answers_those_below() -> None:
    server = begun()
    server.feed(b"".join(frame(HEADERS, 0x5, stream, BLOCK) for stream in (1, 3, 5)))
    server.go_away(last_stream=3)
    ((_, _, _, payload),) = parse(server.outgoing())
    assert struct.unpack(">II", payload) == (3, 0)
    assert not server.respond(5, OK)
    assert not server.feed(frame(HEADERS, 0x4, 7, BLOCK) + frame(DATA, 1, 7, b"late"))
    assert server.respond(1, OK)
    assert not server.closed
    assert server.respond(3, OK)
    assert server.closed


def test_a_clients_goaway_and_resets_are_obeyed() -> None:
    server = begun()
    server.feed(frame(HEADERS, 0x5, 1, BLOCK) + frame(HEADERS, 0x5, 3, BLOCK) + frame(GOAWAY, 0, 0, bytes(8)))
    server.feed(frame(RST, 0, 1, word(8)) + frame(WINDOW, 0, 1, word(1)))
    assert not server.respond(1, OK)
    assert not server.closed
    assert server.respond(3, OK)
    assert server.closed


def test_nothing_of_a_stream_outlives_its_end() -> None:
    server = begun()
    for stream in range(1, 20_001, 2):
        server.feed(frame(HEADERS, 0x4, stream, BLOCK) + frame(DATA, 1, stream, b"x"))
        server.respond(stream, OK, b"y")
        server.outgoing()
        if not stream % 1001:
            server.feed(frame(WINDOW, 0, 0, word(1000)))
    assert not server.open_streams
    assert not server._streams
    assert not server._reset
