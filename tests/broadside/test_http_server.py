"""The API's server at a real port: whatever a stranger sends, the console's first incarnation goes on answering."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import structlog.testing
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from broadside.api.api_client import Client
from broadside.config.http import Http
from broadside.console import http_server
from broadside.console.console import Console, contained
from broadside.console.door import Door
from broadside.newsroom.alarms import Setbacks
from storage.link import Endpoint, Link
from supervision import ChildExited, Parking, SupervisionEvent, Supervisor
from tests.broadside.test_api import KEY, api_over
from tests.draws import drawn

HELD = {"authorization": f"Bearer {KEY}"}
UPGRADE = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade%s\r\nUpgrade: %s\r\n%s\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def headers(method: bytes = b"GET", path: bytes = b"/healthz") -> bytes:
    return (
        literal(b":method", method)
        + literal(b":scheme", b"http")
        + literal(b":path", path)
        + literal(b":authority", b"x")
    )


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
SOCKETS = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
WAYS = {
    "h2c with bad settings": UPGRADE % (b"/healthz", b", HTTP2-Settings", b"h2c", b"HTTP2-Settings: !!!"),
    "h2c with short settings": UPGRADE % (b"/healthz", b", HTTP2-Settings", b"h2c", b"HTTP2-Settings: AAAA"),
    "HTTP/2 with a path that is no ASCII": PREFACE + frame(1, 5, 1, headers(path=b"/\xff")),
    "HTTP/2 with a method that is no ASCII": PREFACE + frame(1, 5, 1, headers(method=b"G\xffT")),
    "HTTP/2 CONNECT": PREFACE + frame(1, 5, 1, literal(b":method", b"CONNECT") + literal(b":authority", b"x")),
    "HTTP/2 with a body after the 401": PREFACE
    + frame(1, 4, 1, headers(b"POST", b"/v1/campaigns"))
    + frame(0, 0, 1, b"x" * 1000) * 2,
    "HTTP/2 pings": PREFACE + frame(6, 0, 0, b"12345678") * 4000,
    "WebSocket": UPGRADE % (b"/v1/status", b"", b"websocket", SOCKETS),
    "WebSocket with data": UPGRADE % (b"/v1/status", b"", b"websocket", SOCKETS) + b"\x81\x85\0\0\0\0hello",
    "two framings": b"POST /v1/tubes HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a large head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
    "a bad chunk": b"POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "a pipeline": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
    "a path of anything": b"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: [::::\r\n\r\n",
}


PLACES = 100
"""Connections at once at the port: fewer than at a node's, so that a test can afford more."""


class Served:
    """A contained console in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.local = folder / "api.sock"
        self.url = ""
        self.events: list[SupervisionEvent] = []
        self.setbacks = Setbacks("the HTTP API")
        self.broken = False
        self.contained: Parking | None = None
        self._up = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        assert self._up.wait(20)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.contained = contained(self._start, self.setbacks, self.events.append, again=0.2)
        await self.contained.run(self._up.set)

    def _start(self) -> Console:
        if self.broken:
            raise OSError("no console today")
        return self._console()

    def _console(self) -> Console:
        link = Link(dict.fromkeys(("store", "queue"), Endpoint("unix/:/nowhere", "nobody", "")))  # it never runs
        app = api_over(link).app()
        app.routes.append(Route("/slow", slow))
        app.routes.append(Route("/large", large))
        app.routes.append(Route("/bug", bug))
        app.routes.append(Route("/cut", cut))
        app.routes.append(Mount("/mute", mute))
        return Console(app, "127.0.0.1", self.port, self.local, bound=self._bound, closing=lambda: None)

    def _bound(self, url: str) -> None:
        self.url = url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2]) if self.url else 0

    @property
    def crashes(self) -> list[SupervisionEvent]:
        return [event for event in self.events if isinstance(event, ChildExited) and event.reason.error is not None]

    def knock(self, data: bytes, seconds: float = 2.0) -> bytes:
        """Send ``data`` and read the answer to its end."""
        answer = bytearray()
        with socket.create_connection(("127.0.0.1", self.port), 5) as stranger, contextlib.suppress(OSError):
            stranger.settimeout(seconds)
            stranger.sendall(data)
            stranger.shutdown(socket.SHUT_WR)
            while part := stranger.recv(65536):
                answer += part
        return bytes(answer)

    def well(self) -> bool:
        """Whether it answers, and is the first incarnation."""
        answer = self.knock(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 10)
        return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"ok":true}') and not self.crashes

    @property
    def lives(self) -> bool:
        return self._thread.is_alive()

    def crash(self) -> None:
        """Let the present incarnation end by an error."""
        assert self.contained is not None
        assert isinstance(self.contained._actor, Supervisor)
        incarnation = self.contained._actor._children.records["http"].incarnation
        assert incarnation is not None
        assert isinstance(incarnation.actor, Console)
        assert incarnation.actor._server is not None
        for door in incarnation.actor._server._doors:
            door.listener.socket.close()

    def stop(self) -> float:
        """Stop it; answers how long that took."""
        began = time.monotonic()
        assert self._token is not None
        assert self.contained is not None
        self._token.run_sync_soon(self.contained.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        return time.monotonic() - began


async def slow(request: Request) -> Response:
    request.state.admitted = True
    await trio.sleep(60)
    return Response("late")


async def large(request: Request) -> Response:
    request.state.admitted = True
    return Response(b"x" * (32 << 20))


async def bug(request: Request) -> Response:
    raise KeyError("a bug")


async def cut(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        raise KeyError("a bug in mid-stream")

    return StreamingResponse(lines())


async def mute(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that does not answer."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("broadside.console.console.PLACES", PLACES)  # both ends of a connection are this process's
    served = Served(tmp_path)
    yield served
    if served.lives:
        served.stop()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("console"))
    yield served
    assert served.stop() < 3


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of connections are made here, as fast as they can be; one test is about their rate."""
    monkeypatch.setattr("broadside.console.door.RATE", 1e6)


@pytest.mark.parametrize("way", list(WAYS))
def test_no_way_of_speaking_other_than_http_1_1_breaks_the_console(lasting: Served, way: str) -> None:
    """S2."""
    answer = lasting.knock(WAYS[way])
    assert answer.startswith(b"HTTP/1.1 "), answer[:80]
    assert b" 101 " not in answer[:20], "no other protocol is agreed on"
    assert lasting.well()


LINES = st.sampled_from(
    [
        b"GET /healthz HTTP/1.1", b"POST /v1/campaigns HTTP/1.1", b"GET /readyz HTTP/1.0", b"PRI * HTTP/2.0", b"SM",
        b"Host: x", b"Content-Length: 5", b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
        b"Connection: close", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"Upgrade: websocket",
        b"HTTP2-Settings: AAAA", b"Authorization: Bearer \xff", b"", b"5", b"0", b"hello",
    ]
)  # fmt: skip
BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(st.one_of(LINES, st.binary(max_size=30)), max_size=12).map(b"\r\n".join),
    st.tuples(st.lists(LINES, max_size=8).map(b"\r\n".join), st.just(b"\r\n\r\n"), st.binary(max_size=60)).map(
        b"".join
    ),
    st.lists(st.sampled_from(list(WAYS.values())), min_size=1, max_size=2).map(b"".join),
)


@settings(max_examples=drawn(300))
@given(parts=st.lists(BYTES, min_size=1, max_size=3))
def test_any_bytes_at_the_port_end_with_their_own_connection(lasting: Served, parts: list[bytes]) -> None:
    """S2."""
    with socket.create_connection(("127.0.0.1", lasting.port), 5) as stranger, contextlib.suppress(OSError):
        for part in parts:
            stranger.sendall(part)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(5)
        while stranger.recv(65536):
            pass
    assert lasting.well()


@pytest.mark.parametrize("path", ["/bug", "/mute/x"])
def test_a_failing_request_is_answered_and_ends_nothing(served: Served, path: str) -> None:
    """S2, S15: the answer was plain text, and had no id that the log knows."""
    with structlog.testing.capture_logs() as lines:
        answer = httpx.get(served.url + path)
    assert answer.status_code == 500
    (line,) = (line for line in lines if line["event"] == "a request failed")
    error = answer.json()
    assert (line["id"], line["path"]) == (error["id"], path)
    assert error["id"] in error["remedy"]
    assert line["exc_info"] is not None
    assert served.well()


def test_an_answer_that_fails_on_its_way_is_cut_and_in_the_log_with_an_id(served: Served) -> None:
    """S15."""
    with structlog.testing.capture_logs() as lines, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(served.url + "/cut")
    (line,) = (line for line in lines if line["event"] == "a request failed")
    assert (line["path"], len(line["id"])) == ("/cut", 8)
    assert served.well()


def test_an_address_that_is_too_long_is_refused_in_words(served: Served) -> None:
    """It said "Receive buffer too long", and to write HTTP as RFC 9112 does."""
    answer = httpx.get(served.url + "/v1/campaigns", headers={"x-long": "a" * 70_000})
    assert answer.status_code == 431
    assert answer.json()["detail"] == "the path and the header fields are too long"
    assert served.well()


def test_what_is_no_route_is_answered_in_json_with_a_remedy(served: Served) -> None:
    """D4: 404 and 405 were plain text, and a slash at the end led to http:// whatever stood before the node."""
    for path in ("/", "/api/campaigns", "/v1/campaigns/", "/v1/a%0ab"):
        answer = httpx.get(served.url + path)
        assert (answer.status_code, answer.json()["field"]) == (404, "path")
        assert answer.json()["remedy"]
    answer = httpx.delete(served.url + "/v1/campaigns")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Method Not Allowed",
        "status": 405,
        "detail": "/v1/campaigns does not take DELETE",
        "field": "method",
        "value": "DELETE",
        "remedy": "send GET, HEAD, POST",
    }


@pytest.mark.parametrize("way", ["a large head", "two framings", "HTTP/2 pings"])
def test_what_is_no_http_is_answered_with_a_problem_too(served: Served, way: str) -> None:
    """D4, issue 22.1: the parser's own answers had another form."""
    head, _, body = served.knock(WAYS[way]).partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    told = json.loads(body)
    assert head.startswith(b"HTTP/1.1 %d " % told["status"])
    assert (told["type"], told["field"]) == ("about:blank", "request")
    assert all(told[name] for name in ("title", "detail", "remedy"))


def test_no_body_is_read_for_somebody_who_has_not_shown_the_key(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2."""
    monkeypatch.setattr(http_server, "LINGER_BYTES", 0)
    head = b"POST /v1/subscribers HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\nExpect: 100-continue\r\n\r\n"
    answer = served.knock(head)
    assert answer.startswith(b"HTTP/1.1 401"), "not 100: the body is not wanted"
    assert b"connection: close" in answer.lower()
    with socket.create_connection(("127.0.0.1", served.port), 5) as stranger:
        sent = 0
        stranger.settimeout(5)
        stranger.sendall(head.replace(b"Expect: 100-continue\r\n", b""))
        with contextlib.suppress(OSError):
            while sent < 32 << 20:
                sent += stranger.send(b"x" * 65536)
    assert sent < 16 << 20, "what the kernels' buffers hold"


def test_a_head_a_body_and_an_answer_have_a_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """S2, S9."""
    for name in ("HEAD_WITHIN", "BODY_WITHIN", "SEND_WITHIN", "LINGER"):
        monkeypatch.setattr(http_server, name, 0.3)
    authorization = f"Authorization: Bearer {KEY}\r\n".encode()
    for start in (
        b"",
        b"GET /healthz HTTP/1.1\r\n",
        b"POST /v1/subscribers HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n" + authorization + b"\r\n[",
    ):
        with socket.create_connection(("127.0.0.1", served.port), 5) as stranger:
            stranger.settimeout(5)
            stranger.sendall(start)
            while stranger.recv(65536):
                pass
    with socket.socket() as stranger:  # asks for much, and reads nothing
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stranger.connect(("127.0.0.1", served.port))
        stranger.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2)
        got = 0
        stranger.settimeout(5)
        with contextlib.suppress(OSError):
            while part := stranger.recv(1 << 20):
                got += len(part)
    assert got < 32 << 20
    assert served.well()


LOGIN = b"POST /v1/session HTTP/1.1\r\nHost: node\r\nContent-Length: 400\r\n\r\n{"


def test_a_strangers_body_has_a_time_as_a_whole(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22: a log-in's body is read without a key, and a byte every 19 s kept its connection for a day."""
    monkeypatch.setattr(http_server, "BODY_WITHIN", 1.0)
    with socket.create_connection(("127.0.0.1", served.port), 5) as stranger:
        stranger.sendall(LOGIN)
        stranger.settimeout(0.2)
        sent, closed = 0, False
        while not closed and sent < 200:
            try:
                closed = not stranger.recv(100)
            except TimeoutError:
                with contextlib.suppress(ConnectionError):
                    stranger.sendall(b" ")
            except ConnectionError:
                closed = True
            sent += 1
    assert closed
    assert served.well()


def test_half_sent_log_ins_take_no_clients_place(served: Served) -> None:
    """Issue 22."""
    half = []
    try:
        for _ in range(150):
            half.append(socket.create_connection(("127.0.0.1", served.port), 5))
            half[-1].sendall(LOGIN)
        assert httpx.get(served.url + "/healthz", timeout=15).status_code == 200
        assert httpx.get(served.url + "/v1/campaigns", headers=HELD, timeout=15).status_code == 503
    finally:
        for each in half:
            each.close()
    assert served.well()


def test_idle_strangers_take_neither_the_place_of_a_client_nor_many_descriptors(served: Served) -> None:
    """S2."""
    idle = []
    try:
        with httpx.Client(base_url=served.url, headers=HELD) as client:
            for number in range(400):
                idle.append(socket.create_connection(("127.0.0.1", served.port), 5))
                if number % 100 == 99:
                    assert httpx.get(served.url + "/healthz", timeout=10).status_code == 200
                    assert client.get("/v1/campaigns").status_code == 503, "let in; there is no Tarantool"
        assert sum(map(still_open, idle)) <= PLACES + 1
    finally:
        for each in idle:
            each.close()
    assert served.well()


def still_open(stranger: socket.socket) -> bool:
    stranger.setblocking(False)
    try:
        return bool(stranger.recv(1))
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_strangers_may_knock_at_a_rate_and_the_folders_owner_is_not_slowed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2."""
    monkeypatch.setattr("broadside.console.door.RATE", 100.0)
    served.stop()
    again = Served(served.local.parent)
    stop = threading.Event()
    counts = [0, 0]

    def knock() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", again.port), 1) as stranger:
                stranger.settimeout(1)
                stranger.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                counts[0] += bool(stranger.recv(100))

    knockers = [threading.Thread(target=knock, daemon=True) for _ in range(4)]
    for knocker in knockers:
        knocker.start()
    transport = httpx.HTTPTransport(uds=str(again.local))
    with httpx.Client(transport=transport, base_url="http://node", headers=HELD) as owner:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            assert owner.get("/v1/campaigns", timeout=1).status_code == 503
            counts[1] += 1
    stop.set()
    for knocker in knockers:
        knocker.join()
    again.stop()
    assert counts[0] <= 100 * 3 + 150, "a burst, and then 100 a second"
    assert counts[1] > 30


def test_who_shows_the_key_is_not_limited_and_keeps_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2."""
    monkeypatch.setattr("broadside.console.door.RATE", 2.0)
    served.stop()
    again = Served(served.local.parent)
    began = time.monotonic()
    for _ in range(40):
        answer = again.knock(f"GET /v1/campaigns HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 503 ")
    with httpx.Client(base_url=again.url, headers=HELD) as client:
        client.get("/v1/campaigns")
        assert client.get("/v1/campaigns").headers.get("connection") != "close"
    assert time.monotonic() - began < 10
    again.stop()


def test_a_stop_waits_for_no_client(served: Served) -> None:
    """S9."""
    waiting = []
    for data in (
        b"",
        b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
        PREFACE + frame(6, 0, 0, b"12345678") * 400,
        b"POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
    ):
        stranger = socket.create_connection(("127.0.0.1", served.port), 5)
        stranger.sendall(data)
        waiting.append(stranger)
    time.sleep(0.3)
    assert served.stop() < 3
    for stranger in waiting:
        stranger.close()
    assert not served.crashes


def test_a_console_that_fails_too_often_is_an_alarm_and_is_tried_again(served: Served) -> None:
    """S2."""
    assert served.setbacks.alarms() == []
    served.broken = True
    assert served._token is not None
    served._token.run_sync_soon(served.crash)
    deadline = time.monotonic() + 10
    while not served.setbacks.down:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "it is down and retried" in served.setbacks.alarms()[0].text
    served.broken = False
    while served.setbacks.down:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert httpx.get(served.url + "/healthz").status_code == 200
    (alarm,) = served.setbacks.alarms()
    assert "the HTTP API has failed 1 times since the start" in alarm.text
    assert "it was restarted, campaigns went on" in alarm.text


def test_a_taken_port_fails_the_first_start(served: Served, tmp_path: Path) -> None:
    async def second() -> None:
        console = Console(None, "127.0.0.1", served.port, tmp_path / "b.sock", bound=print, closing=lambda: None)  # type: ignore[arg-type]
        await contained(lambda: console, Setbacks("x"), lambda event: None).run(lambda: None)

    with pytest.raises(Exception, match="Address already in use") as raised:
        trio.run(second)
    assert "set [http] bind" in str(raised.value.__cause__)


def test_a_request_with_two_framings_is_refused_and_nothing_after_it_is_read(lasting: Served) -> None:
    """S23: a proxy in front may end such a request elsewhere than this server does, and smuggle another one in."""
    answer = lasting.knock(WAYS["two framings"] + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"OPTIONS"])
def test_nothing_of_a_request_becomes_a_header_of_its_answer(lasting: Served, method: bytes) -> None:
    """Issue 22: nor may another site's page read an answer, nor a browser take one for a page."""
    evil = b"%0d%0aSet-Cookie:%20a=b%0d%0a%0d%0a<script>alert(1)</script>"
    authorization = f"Authorization: Bearer {KEY}\r\n".encode()
    for path in (b"/%s", b"/v1/campaigns?limit=%s", b"/v1/campaigns/%s", b"/v1/tubes/%s/buried", b"/v1/keys/%s/revoke"):
        for more in (authorization, b"", b"Idempotency-Key: a\tb\r\n", b"X: a\rSet-Cookie: a=b\r\n"):
            head, _, body = lasting.knock(
                b"%s %s HTTP/1.1\r\nHost: node\r\nOrigin: https://evil.example\r\n%s\r\n" % (method, path % evil, more)
            ).partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["content-type"] == "application/problem+json"
            assert not [name for name in fields if name.startswith("access-control") or name == "set-cookie"]
            assert json.loads(body)["remedy"]


@contextlib.asynccontextmanager
async def served_by_tls(folder: Path) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """A console's address, and a client that trusts its certificate."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.configure_cert(context)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    link = Link(dict.fromkeys(("store", "queue"), Endpoint("unix/:/nowhere", "nobody", "")))
    up = trio.Event()
    urls: list[str] = []
    app, local = api_over(link).app(), folder / "t.sock"
    console = Console(app, "127.0.0.1", 0, local, tls=context, bound=urls.append, closing=lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run, up.set)
        with trio.fail_after(60):
            await up.wait()
            async with httpx.AsyncClient(verify=trusted, timeout=30) as client:
                yield urls[0], client
        nursery.cancel_scope.cancel()


async def test_the_command_line_reaches_a_node_that_serves_tls(tmp_path: Path) -> None:
    """Issue 22.5: it spoke TLS to the data folder's socket, which has none, and said that nothing listens."""
    async with served_by_tls(tmp_path) as (url, _):
        with Client(url, tmp_path / "t.sock", KEY) as client:
            ready, detail = await trio.to_thread.run_sync(client.ready)
        assert not ready
        assert detail["alarms"][0]["name"] == "tarantool-away"


async def test_the_api_is_served_by_tls(tmp_path: Path) -> None:
    async with served_by_tls(tmp_path) as (url, client):
        assert (await client.get(f"{url}/healthz")).json() == {"ok": True}
        assert url.startswith("https://127.0.0.1:")
        with pytest.raises(httpx.TransportError):
            await client.get(f"{url.replace('https', 'http')}/healthz")
        assert (await client.get(f"{url}/healthz")).status_code == 200, "others are not disturbed"


async def test_a_handshake_has_a_time_and_takes_no_clients_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22: silent clients, some in mid-handshake."""
    async with served_by_tls(tmp_path) as (url, client), trio.open_nursery() as nursery:
        silent = [await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) for _ in range(150)]
        for stream in silent[::2]:
            await stream.send_all(b"\x16\x03\x01\x02\x00\x01")
        assert (await client.get(f"{url}/healthz")).status_code == 200
        monkeypatch.setattr(http_server, "HEAD_WITHIN", 0.3)
        late = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
        await late.send_all(b"\x16\x03\x01\x02\x00\x01")
        with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(8):
            assert await late.receive_some() == b""
        for stream in [*silent, late]:
            nursery.start_soon(trio.aclose_forcefully, stream)


@pytest.mark.parametrize(
    ("host", "admitted"),
    [("10.0.0.7", True), ("::ffff:10.0.0.7", True), ("10.1.2.3", True), ("127.0.0.1", True), ("::1", True),
     ("10.0.0.8", False), ("::ffff:10.0.0.8", False), ("2001:db8::1", False)],
)  # fmt: skip
def test_only_the_named_proxies_and_this_machine_may_connect(host: str, admitted: bool) -> None:
    """Issue 22: with behind_proxy whoever reached the port could pass the proxy by."""
    http = Http(bind="0.0.0.0:8765", behind_proxy=True, proxies=("10.0.0.7", "10.1.0.0/16"))

    class Peer:
        def getpeername(self) -> tuple[str, int]:
            return host, 1

    class Stream:
        socket = Peer()

    gate = Door(None, hosts=http.clients)  # type: ignore[arg-type]
    assert gate.admits(Stream()) is admitted  # type: ignore[arg-type]
    assert Door(None).admits(Stream())  # type: ignore[arg-type]


async def test_a_connection_of_nobody_named_gets_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22."""
    answers = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("here")(scope, receive, send)

    for allowed in (True, False):
        monkeypatch.setattr(Door, "admits", lambda door, stream, allowed=allowed: allowed)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(http_server.HttpServer(app, map(Door, listeners)).run)
            async with await trio.testing.open_stream_to_socket_listener(listeners[0]) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    answers.append(b"".join([part async for part in stream]))
            nursery.cancel_scope.cancel()
    assert answers[0].endswith(b"here")
    assert answers[1:] in ([], [b""])
