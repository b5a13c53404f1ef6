"""HTTP/1.1 in HTTP/2's place: one request at a time, without I/O; then with the pool, against a twin that has no h2."""

from __future__ import annotations

from typing import Any

import h11
import pytest

from transports.http1_engine import Http1Engine
from transports.http2.growth import Bound
from transports.http2.messages import UNANSWERED, Row, Template

TEMPLATE = Template(b"push.example", b"/v1/send", ((b"authorization", b"Bearer x"),))
ROWS: list[Row] = [(7, b"", b"", b'{"a":1}', ()), (8, b"", b"", b'{"a":2}', ((b"push-type", b"0"),))]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def begun(engine: Http1Engine, start: int = 0) -> list[Any]:
    """Begin a request, and return what a server reads of it."""
    assert engine.encode("owner", TEMPLATE, ROWS, start, 2, 10.0) == 1
    server = h11.Connection(h11.SERVER)
    server.receive_data(engine.outgoing())
    return [server.next_event() for _ in range(3)]


def test_a_request_says_what_one_over_http2_says() -> None:
    head, data, _ = begun(Http1Engine(), 1)
    assert (head.method, head.target, bytes(data.data)) == (b"POST", b"/v1/send", b'{"a":2}')
    assert dict(head.headers) == {
        b"host": b"push.example",
        b"authorization": b"Bearer x",
        b"push-type": b"0",
        b"content-length": b"7",
    }


def test_a_connection_carries_one_request_at_a_time() -> None:
    engine = Http1Engine()
    assert (engine.room(), engine.bound) == (1, None)
    begun(engine)
    assert (engine.room(), engine.in_flight, engine.bound) == (0, 1, Bound.STREAMS)
    assert engine.encode("owner", TEMPLATE, ROWS, 1, 2, 10.0) == 0
    done = engine.feed(OK[:20])
    assert not done
    done = engine.feed(OK[20:])
    assert [(run.owner, run.key(1)) for run in done.accepted] == [("owner", 7)]
    assert (engine.room(), engine.accepted, engine.oldest()) == (1, 1, None)
    begun(engine, 1)
    assert len(engine.feed(OK).accepted) == 1


@pytest.mark.parametrize("parts", [1, 7, 1_000])
def test_a_refusal_comes_with_its_body_and_the_time_to_wait(parts: int) -> None:
    engine = Http1Engine()
    begun(engine)
    text = b"HTTP/1.1 429 No\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    found = [engine.feed(text[at : at + parts]) for at in range(0, len(text), parts)][-1]
    (answer,) = found.answers
    assert (answer.request.key, answer.status, answer.body, answer.retry_after) == (7, 429, b"abcde", b"7")


def test_where_successes_are_judged_too_their_body_comes_along() -> None:
    engine = Http1Engine(judge_all=True)
    begun(engine)
    done = engine.feed(OK)
    assert not done.accepted
    assert [(answer.status, answer.body) for answer in done.answers] == [(200, b"{}")]
    assert engine.accepted == 1


def test_a_peer_that_closes_after_its_answer_gets_no_more_requests() -> None:
    engine = Http1Engine()
    begun(engine)
    assert engine.feed(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").accepted
    assert engine.retiring
    assert engine.room() == 0


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [(b"", UNANSWERED), (b"HTTP/1.1 200", UNANSWERED), (b"HTTP/1.1 503 Busy\r\ncontent-length: 9\r\n\r\nabc", 503)],
)
def test_a_lost_connection_leaves_unknown_what_has_no_status(bytes_: bytes, status: int) -> None:
    engine = Http1Engine()
    begun(engine)
    if bytes_:
        assert not engine.feed(bytes_)
    (answer,) = engine.lost("gone").answers
    assert (answer.status, engine.error) == (status, "gone")
    assert not engine.lost("again")


def test_a_body_that_ends_with_the_connection_counts() -> None:
    engine = Http1Engine()
    begun(engine)
    assert not engine.feed(b"HTTP/1.1 200 OK\r\n\r\n{}")
    assert len(engine.lost("the peer closed the connection").accepted) == 1


def test_a_late_answer_ends_the_connection() -> None:
    """The next answer on it would be taken for another request's."""
    engine = Http1Engine()
    begun(engine)
    assert not engine.expire(10.0)
    (answer,) = engine.expire(10.1).answers
    assert answer.status == UNANSWERED
    assert engine.error
    assert engine.room() == 0


@pytest.mark.parametrize(
    "bytes_",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
        b"HTTP/1.1 101 Other\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
)
def test_a_peer_that_breaks_http_costs_one_request(bytes_: bytes) -> None:
    engine = Http1Engine()
    begun(engine)
    engine.feed(bytes_)
    assert engine.error
    (answer,) = engine.lost(engine.error).answers
    assert answer.status in (UNANSWERED, 101)


@pytest.mark.parametrize("before", [b"", OK])
def test_an_answer_to_no_request_ends_the_connection(before: bytes) -> None:
    engine = Http1Engine()
    if before:
        begun(engine)
    engine.feed(before + OK if before else OK)
    assert engine.error == "the peer spoke unasked"


def test_a_long_body_is_cut() -> None:
    engine = Http1Engine()
    begun(engine)
    engine.feed(b"HTTP/1.1 400 No\r\ncontent-length: 300000\r\n\r\n")
    done = [engine.feed(b"x" * 100_000) for _ in range(3)][-1]
    assert len(done.answers[0].body) == 65_536
