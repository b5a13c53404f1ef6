"""What Google's token endpoint may cost us: bytes and seconds (``post_form``)."""

from __future__ import annotations

import gc
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from transports.errors import ConnectionLost
from transports.http1 import LARGEST_ANSWER, post_form

Answer = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def endpoint(context: ssl.SSLContext, answer: Answer, asked: list[bytes]) -> AsyncIterator[str]:
    """An HTTPS server that answers each request as the test says."""

    async def serve(tcp: trio.SocketStream) -> None:
        stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
        try:
            request = b""
            while b"grant_type=" not in request:
                request += await stream.receive_some(65536)
            asked.append(request)
            await answer(stream)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client has left: that is its right

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            serve,
            0,
        )
        yield f"https://localhost:{listeners[0].socket.getsockname()[1]}/token"
        nursery.cancel_scope.cancel()


async def posted(context: ssl.SSLContext, ca: Path, answer: Answer, seconds: float = 20.0) -> tuple[int, bytes, bytes]:
    asked: list[bytes] = []
    async with endpoint(context, answer, asked) as url:
        status, body = await post_form(url, {"grant_type": "x"}, ca, seconds)
    return status, body, asked[0]


async def lost(context: ssl.SSLContext, ca: Path, answer: Answer, seconds: float = 20.0) -> str:
    async with endpoint(context, answer, []) as url:
        with pytest.raises(ConnectionLost) as caught:
            await post_form(url, {"grant_type": "x"}, ca, seconds)
    return str(caught.value)


async def test_an_answer_of_64_kb_is_taken_and_nothing_compressed_is_asked_for(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % LARGEST_ANSWER + b"x" * LARGEST_ANSWER)

    status, body, asked = await posted(server_context, ca_file, answer)
    assert (status, len(body)) == (200, LARGEST_ANSWER)
    assert b"\r\naccept-encoding: identity\r\n" in asked.lower()


async def test_an_answer_that_is_larger_is_not_read_to_its_end(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """S17: there was no bound."""
    sent = 0

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal sent
        await stream.send_all(HEAD + b"\r\n")
        while sent < 64 << 20:
            await stream.send_all(b"x" * 65536)
            sent += 65536

    assert "the answer is larger than 64 KB" in await lost(server_context, ca_file, answer)
    assert sent < 32 << 20


async def test_a_compressed_answer_is_not_unpacked(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """S17: 298 KB of gzip became 655 MB."""
    bomb = gzip.compress(bytes(32 << 20))
    assert len(bomb) < LARGEST_ANSWER

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)

    assert "the answer is compressed ('gzip'), which was not asked for" in await lost(server_context, ca_file, answer)


async def test_one_deadline_bounds_the_whole_exchange(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """S17: an endpoint that sends a byte now and then was listened to for ever."""

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(HEAD + b"Content-Length: 60000\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.2)

    with trio.fail_after(30):
        assert "did not answer within 2 s" in await lost(server_context, ca_file, answer, 2.0)


@pytest.mark.parametrize("deadline", [True, False], ids=["our deadline", "a stop"])
async def test_a_handshake_that_never_ends_leaves_no_socket(deadline: bool) -> None:
    """21: a token is tried again and again, and the collector that would close its sockets runs seldom."""
    left = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal left
        while await stream.receive_some(65536):
            begun.set()  # its hello; it gets no answer
        left += 1

    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/token"
            for n in range(3):
                begun = trio.Event()
                if deadline:
                    with pytest.raises(ConnectionLost, match="did not answer"):
                        await post_form(url, {"grant_type": "x"}, None, 0.3)
                else:
                    async with trio.open_nursery() as fetching:
                        fetching.start_soon(post_form, url, {"grant_type": "x"}, None, 20.0)
                        await begun.wait()
                        fetching.cancel_scope.cancel()
                with trio.fail_after(10):
                    while left <= n:  # noqa: ASYNC110 - the server tells nobody
                        await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    finally:
        gc.enable()
