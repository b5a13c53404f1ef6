"""Http2Client against the server side of plain h2, in memory, bytes split anywhere."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, SettingsFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.draws import drawn
from tests.transports.http2_pair import TEMPLATE, Pair, Server, requests
from transports.http2.client import Http2Client
from transports.http2.messages import UNANSWERED, UNPROCESSED


def test_nothing_is_sent_before_the_peers_settings_are_known():
    client = Http2Client()
    assert client.room() == 0
    assert client.encode(object(), TEMPLATE, requests(1), 0, 1, 0.0) == 0


def test_requests_arrive_whole_and_the_constant_part_costs_a_byte_a_field():
    pair = Pair()
    pair.send(requests(1))
    assert pair.server.headers[1] == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": "localhost",
        ":path": "/3/device/" + "0" * 64,
        "authorization": "bearer x",
        "apns-topic": "a.b",
        "content-length": "102",
        "apns-id": "id-0",
    }
    pair.client.encode(pair.owner, TEMPLATE, requests(1, start=1), 0, 1, 0.0)
    assert len(pair.client.outgoing()) < 9 + 6 + 77 + 8 + 10 + 9 + 102 + 10


def test_templates_that_differ_in_unindexed_fields_leave_the_peers_table_alone():
    """As the window classes of a campaign do, each with an expiration of its own."""
    pair = Pair()
    pair.send(requests(1))
    entries = len(pair.server.h2.decoder.header_table.dynamic_entries)
    for n in range(1, 40):
        expires = (b"apns-expiration", b"%d" % n)
        pair.client.encode(pair.owner, replace(TEMPLATE, unindexed=(expires,)), requests(1, start=n), 0, 1, 0.0)
        pair.server.feed(pair.client.outgoing())
        assert pair.server.headers[1 + 2 * n]["apns-expiration"] == str(n)
        assert pair.server.headers[1 + 2 * n]["apns-topic"] == "a.b"
    assert len(pair.server.h2.decoder.header_table.dynamic_entries) == entries
    pair.client.encode(pair.owner, TEMPLATE, requests(1, start=40), 0, 1, 0.0)
    pair.server.feed(pair.client.outgoing())
    assert "apns-expiration" not in pair.server.headers[81]


def test_a_request_may_carry_fields_of_its_own():
    pair = Pair()
    request = requests(1)[0]._replace(fields=((b"apns-unusual", b"1"),))
    pair.send([request])
    assert pair.server.headers[1]["apns-unusual"] == "1"


def test_answers_carry_status_body_and_retry_after():
    pair = Pair()
    pair.send(requests(1))
    pair.server.h2.send_headers(1, [(":status", "103")])
    pair.server.h2.send_headers(1, [(":status", "429"), ("retry-after", "7")])
    pair.server.h2.send_data(1, b'{"reason":', pad_length=9)
    pair.server.h2.send_data(1, b'"X"}')
    pair.server.h2.send_headers(1, [("trailer", "t")], end_stream=True)
    done = pair.client.feed(pair.server.h2.data_to_send())
    assert [(a.status, a.body, a.retry_after) for a in done.answers] == [(429, b'{"reason":"X"}', b"7")]


def test_the_stream_limit_is_obeyed_as_it_rises_and_falls():
    pair = Pair(Server({SettingCodes.MAX_CONCURRENT_STREAMS: 1}))
    assert pair.send(requests(10)) == 1
    assert pair.client.room() == 0
    pair.server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 5})
    pair.pump()
    assert pair.client.room() == 4
    assert pair.send(requests(10, start=10)) == 4
    pair.server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
    pair.pump()
    for stream_id in list(pair.server.complete):
        pair.server.answer(stream_id)
    pair.pump()
    assert len(pair.fates) == 5
    assert pair.client.room() == 0


def test_a_full_connection_window_stops_before_headers_not_after_them():
    pair = Pair(Server(credit=False))
    n = pair.send(requests(1_000, size=1_000))
    assert 60 <= n <= 65
    assert len(pair.server.complete) == n == len(pair.server.headers)
    pair.server.pay()
    pair.pump()
    assert 0 < pair.send(requests(1_000, size=1_000, start=1_000)) <= n


def test_a_connection_whose_window_takes_no_request_like_the_last_has_no_room():
    """Or a pool whose windows are all full would try each of them for every batch."""
    pair = Pair(Server(credit=False))
    sent = pair.send(requests(1_000, size=1_000))
    assert 0 < pair.client.window < 1_000
    assert pair.client.room() == 0
    for n in range(sent):
        pair.server.answer(2 * n + 1)
    pair.pump()
    assert pair.client.in_flight == 0
    assert pair.client.room() > 0, "nothing will widen it any more, and a smaller one may fit"


def test_a_stream_window_smaller_than_a_body_is_filled_bit_by_bit():
    pair = Pair(Server({SettingCodes.INITIAL_WINDOW_SIZE: 10}, credit=False))
    assert pair.send(requests(3, size=30)) == 1
    for _ in range(4):
        pair.server.pay()
        pair.pump()
    assert pair.server.bodies[1] == b"0:" + b"x" * 30
    pair.server.answer(1)
    pair.pump()
    assert pair.fates == {0: (200, b"")}


def test_an_answer_before_the_request_is_fully_sent_counts():
    pair = Pair(Server({SettingCodes.INITIAL_WINDOW_SIZE: 10}, credit=False))
    pair.send(requests(1, size=30))
    pair.server.h2.send_headers(1, [(":status", "413")], end_stream=True)
    pair.pump()
    assert pair.fates[0][0] == 413
    assert pair.server.reset == {1}
    assert pair.client.room() > 0


def test_a_window_lowered_with_requests_open_is_respected():
    pair = Pair(Server(credit=False))
    pair.send(requests(2))
    pair.server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    pair.pump()
    assert pair.send(requests(2, start=2)) == 1  # begun, and waits for its own window
    assert pair.server.bodies[5] == b""
    pair.server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    pair.pump()
    assert pair.server.complete == [1, 3, 5]


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (ErrorCodes.REFUSED_STREAM, UNPROCESSED),
        (ErrorCodes.INTERNAL_ERROR, UNANSWERED),
        (ErrorCodes.NO_ERROR, UNANSWERED),
        (0xFEED, UNANSWERED),
    ],
)
def test_a_reset_tells_whether_the_request_was_processed(code, fate):
    pair = Pair()
    pair.send(requests(2))
    pair.server.h2.reset_stream(1, code)
    pair.server.complete.remove(1)
    pair.server.answer(3)
    pair.pump()
    assert pair.fates == {0: (fate, b""), 1: (200, b"")}


def test_after_goaway_what_lies_above_is_resent_and_what_lies_below_is_awaited():
    pair = Pair()
    pair.send(requests(4))
    pair.server.goaway(3, b'{"reason":"Shutdown"}')
    pair.pump()
    assert pair.fates == {2: (UNPROCESSED, b""), 3: (UNPROCESSED, b"")}
    assert pair.client.retiring is not None
    assert "Shutdown" in pair.client.retiring
    assert pair.client.room() == 0
    pair.server.answer(1)
    pair.server.h2.ping(b"12345678")
    pair.pump()
    assert pair.fates[0] == (200, b"")
    pair.take(pair.client.lost("closed"))
    assert pair.fates[1] == (UNANSWERED, b"")


def test_a_graceful_goaway_may_be_followed_by_a_lower_one():
    pair = Pair()
    pair.send(requests(2))
    pair.server.goaway(2**31 - 1)
    pair.pump()
    assert pair.fates == {}
    pair.server.goaway(1)
    pair.pump()
    assert pair.fates == {1: (UNPROCESSED, b"")}


def test_pings_go_both_ways():
    pair = Pair()
    payload = pair.client.ping()
    assert pair.client.pong is None
    pair.pump()
    assert pair.client.pong == payload
    pair.server.h2.ping(b"abcdefgh")
    pair.client.feed(pair.server.h2.data_to_send())
    assert b"abcdefgh" in pair.client.outgoing()


def test_a_connection_retires_when_its_stream_ids_are_used_up():
    pair = Pair(last_id=7)
    assert pair.send(requests(10)) == 4
    assert pair.client.retiring is not None
    assert pair.client.room() == 0
    for stream_id in list(pair.server.complete):
        pair.server.answer(stream_id)
    pair.pump()
    assert len(pair.fates) == 4


def test_the_sweep_gives_up_exactly_what_is_too_old():
    pair = Pair()
    pair.send(requests(2), now=1.0)
    pair.send(requests(2, start=2), now=2.0)
    pair.server.answer(1)
    pair.pump()
    assert pair.client.oldest() == 1.0
    pair.take(pair.client.expire(2.0))
    assert pair.fates == {0: (200, b""), 1: (UNANSWERED, b"")}
    assert pair.client.oldest() == 2.0
    pair.pump()
    assert pair.server.reset == {3}
    # A late answer of the given-up stream is ignored; the connection lives.
    late = HeadersFrame(3, pair.server.h2.encoder.encode([(":status", "200")]), flags=["END_HEADERS", "END_STREAM"])
    pair.server.inject(late)
    pair.server.answer(5)
    pair.pump()
    assert pair.client.error is None
    assert pair.fates[2] == (200, b"")
    assert 1 in pair.fates


def test_what_is_read_is_credited_so_that_answers_never_stall():
    pair = Pair()
    for start in range(0, 300, 10):
        pair.send(requests(10, start=start))
        for stream_id in list(pair.server.complete):
            pair.server.answer(stream_id, 400, b"e" * 1_000)
        pair.pump()
    assert len(pair.fates) == 300
    assert pair.server.h2.outbound_flow_control_window > 20_000


def test_a_request_whose_body_never_fitted_was_not_processed():
    pair = Pair(Server({SettingCodes.INITIAL_WINDOW_SIZE: 10}, credit=False))
    pair.send(requests(1, size=30), now=1.0)
    pair.take(pair.client.expire(2.0))
    assert pair.fates == {0: (UNPROCESSED, b"")}
    assert pair.client.retiring is not None


def test_nothing_of_a_stream_outlives_its_end():
    pair = Pair()
    for start in range(0, 200, 10):
        pair.send(requests(10, start=start))
        for stream_id in list(pair.server.complete):
            pair.server.answer(stream_id)
        pair.pump()
    client = pair.client
    assert client.in_flight == 0
    assert client.oldest() is None
    streams = client._streams
    kept = (client._control.streams, streams.live, streams.replies, streams.uploads, streams.given_up, streams.out)
    assert [len(each) for each in kept] == [0] * 6


@pytest.mark.parametrize("sizes", [(0, 4_096), (4_096, 0, 4_096), (0,), (64,), (1_000_000,), (50, 4_096, 50)])
def test_table_size_changes_keep_the_peers_table_in_step(sizes):
    pair = Pair()
    pair.send(requests(2))
    for size in sizes:
        pair.server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        pair.client.feed(pair.server.h2.data_to_send())
    pair.send(requests(3, start=2))
    assert pair.server.headers[9]["authorization"] == "bearer x"
    assert pair.server.headers[9]["apns-id"] == "id-4"


def test_an_error_of_the_peer_ends_the_connection_but_keeps_the_answers_before_it():
    pair = Pair()
    pair.send(requests(3))
    pair.server.answer(1)
    pair.server.inject(DataFrame(3, b"data before headers"))
    pair.server.inject(ContinuationFrame(5, b""))
    pair.pump()
    assert pair.fates[0] == (200, b"")
    assert pair.client.error is not None
    assert "HTTP/2" in pair.client.error
    pair.take(pair.client.lost("x"))
    assert pair.fates[1] == pair.fates[2] == (UNANSWERED, b"")


operation = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 12), st.sampled_from([0, 10, 900, 20_000])),
    st.tuples(st.just("answer"), st.integers(0, 30), st.sampled_from([200, 400, 410, 503]), st.booleans()),
    st.tuples(st.just("limit"), st.sampled_from([0, 1, 2, 100])),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 500, 65_535])),
    st.tuples(st.just("table"), st.sampled_from([0, 100, 4_096])),
    st.tuples(st.just("reset"), st.integers(0, 30), st.sampled_from([0, 2, 7])),
    st.tuples(st.just("pay")),
    st.tuples(st.just("ping")),
    st.tuples(st.just("goaway"), st.integers(0, 40)),
    st.tuples(st.just("expire")),
)


@settings(max_examples=drawn(150), deadline=None)
@given(st.lists(operation, max_size=30), st.booleans(), st.integers(0, 2**32))
def test_every_request_has_one_fate_and_it_is_the_true_one(operations, credit, seed):
    pair = Pair(Server(credit=credit), random.Random(seed))
    server, client = pair.server, pair.client
    answered, refused, made, clock = {}, set(), {}, 0.0
    for name, *args in operations:
        clock += 1
        match name, *args:
            case "send", n, size:
                items = requests(n, size, start=len(made))
                taken = pair.send(items, clock)
                made.update({request.key: request for request in items[:taken]})
            case "answer", k, status, body if server.complete:
                stream_id = server.complete[k % len(server.complete)]
                if stream_id <= server.last:
                    window = server.h2.local_flow_control_window(stream_id)
                    answered[server.key(stream_id)] = status
                    server.answer(stream_id, status, b"b" * min(50, window) if body else b"")
            case "limit", n:
                server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: n})
            case "window", n:
                server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: n})
            case "table", n:
                server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: n})
            case "reset", k, code if server.complete:
                stream_id = server.complete.pop(k % len(server.complete))
                server.h2.reset_stream(stream_id, code)
                if code == ErrorCodes.REFUSED_STREAM:
                    refused.add(server.key(stream_id))
            case "pay", *_:
                server.pay()
            case "ping", *_:
                client.ping()
            case "goaway", last:
                server.goaway(min(last, server.last))
                refused |= {server.key(s) for s in server.headers if s > last}
            case "expire", *_:
                pair.take(client.expire(clock - 3))
            case _:
                pass
        pair.pump()
        assert client.error is None
        assert client.in_flight + len(pair.fates) == len(made)
    pair.take(client.lost("the end"))
    assert set(pair.fates) == set(made)
    whole = {
        key for key in made if any(server.key(s) == key and server.bodies[s] == made[key].body for s in server.headers)
    }
    for key, (status, _) in pair.fates.items():
        if status > 0:
            assert answered[key] == status
        elif status == UNPROCESSED:
            assert key in refused or key not in whole
        else:
            assert key not in answered
    for stream_id in server.complete:
        assert server.bodies[stream_id] == made[server.key(stream_id)].body


frame = st.tuples(st.integers(0, 14), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))


@settings(max_examples=drawn(150), deadline=None)
@given(st.binary(max_size=200), st.lists(frame, max_size=6))
def test_garbage_ends_the_connection_with_a_reason_never_with_an_exception(tail, frames):
    pair = Pair()
    pair.send(requests(3))
    data = b"".join(
        len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + body
        for kind, flags, stream_id, body in frames
    )
    pair.take(pair.client.feed(data + tail))
    pair.client.outgoing()
    pair.take(pair.client.lost("the end"))
    assert len(pair.fates) == 3
    assert pair.client.error is not None


def test_an_impossible_setting_is_the_peers_error():
    pair = Pair()
    frame = SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 2**31})
    pair.take(pair.client.feed(frame.serialize()))
    assert pair.client.error is not None
    assert pair.client.outgoing() != b""
