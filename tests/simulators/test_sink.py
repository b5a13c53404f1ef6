"""The counting sink of the benchmarks: what it counts is what was asked, whoever asks."""

from __future__ import annotations

import contextlib
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from simulators import twin_credentials as keys
from simulators.serving.twin_server import server_context
from simulators.sink import serve_sink
from tests.simulators.conftest import PREFACE, Client, frame, parse


class Sink:
    """A running sink, and what it said of connections that ended."""

    def __init__(self, port: int, counts: list[int], folder: keys.Credentials) -> None:
        self.port = port
        self.counts = counts
        self._folder = folder

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
        context = ssl.create_default_context(cafile=self._folder.ca)
        context.set_alpn_protocols(["h2"])
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", self.port, ssl_context=context, https_compatible=True)
        try:
            yield stream
        finally:
            await trio.aclose_forcefully(stream)

    async def counted(self, connections: int) -> int:
        """Wait for the end of so many connections; return the sum of their requests."""
        with trio.fail_after(5):
            while len(self.counts) < connections:  # noqa: ASYNC110
                await trio.sleep(0.005)
        return sum(self.counts)


StartSink = Callable[..., AbstractAsyncContextManager[Sink]]


@pytest.fixture
def start_sink(folder: keys.Credentials) -> StartSink:
    @contextlib.asynccontextmanager
    async def start(**options: float) -> AsyncIterator[Sink]:
        counts: list[int] = []
        context = server_context(folder.server, ("h2",))

        async def serve(task_status: trio.TaskStatus[int]) -> None:
            await serve_sink(context, announce=task_status.started, counted=counts.append, **options)  # type: ignore[arg-type]

        async with trio.open_nursery() as nursery:
            yield Sink(await nursery.start(serve), counts, folder)
            nursery.cancel_scope.cancel()

    return start


async def test_h2load_hears_an_answer_to_each_request_that_is_counted(start_sink: StartSink) -> None:
    h2load = shutil.which("h2load")
    assert h2load, "h2load is missing: ./dev setup installs it"
    async with start_sink() as sink:
        command = [h2load, "-n", "6000", "-c", "3", "-m", "100", f"https://127.0.0.1:{sink.port}/3/device/ab"]
        with trio.fail_after(30):
            told = await trio.run_process(command, capture_stdout=True)
        said = told.stdout.decode()
        assert re.search(r"6000 total, 6000 started, 6000 done, 6000 succeeded, 0 failed, 0 errored", said), said
        assert "6000 2xx" in said
        assert await sink.counted(3) == 6000


async def test_requests_with_bodies_are_answered_and_counted_once(start_sink: StartSink) -> None:
    """h2 keeps the windows' books and faults an answer that no request asked for."""
    async with start_sink(streams=50) as sink:
        async with sink.raw() as stream:
            client = Client(stream)
            await client.open()
            assert client.limits == [50]
            for _ in range(20):
                streams = [client.request("/3/device/ab", {}, bytes(300)) for _ in range(50)]
                await client.flush()
                assert {(await client.answer(asked)).status for asked in streams} == {200}
        assert await sink.counted(1) == 1000


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_frames_may_come_in_any_pieces(start_sink: StartSink, size: int) -> None:
    sent = PREFACE + frame(4) + frame(6, 0, 0, b"12345678")
    for of in (1, 3, 5):
        sent += frame(1, 0x4, of, b"\x83") + frame(0, 0x1, of, b"body")
    sent += frame(1, 0x5, 7, b"\x83")
    async with start_sink() as sink:
        received = b""
        async with sink.raw() as stream:
            for at in range(0, len(sent), size):
                await stream.send_all(sent[at : at + size])
            with trio.fail_after(5):
                while received.count(b"\x01\x01\x05\0\0\0") < 4:
                    received += await stream.receive_some()
        frames = parse(received)
        assert [(of, payload) for kind, _, of, payload in frames if kind == 1] == [(of, b"\x88") for of in (1, 3, 5, 7)]
        assert (6, 1, 0, b"12345678") in frames
        assert (4, 1, 0, b"") in frames
        assert await sink.counted(1) == 4


async def test_answers_come_after_the_latency_and_in_order(start_sink: StartSink) -> None:
    async with start_sink(latency=0.1) as sink, sink.raw() as stream:
        client = Client(stream)
        await client.open()
        began = trio.current_time()
        streams = [client.request("/", {}, b"x") for _ in range(100)]
        await client.flush()
        for asked in streams:
            assert (await client.answer(asked)).status == 200
        assert 0.1 <= trio.current_time() - began < 2
        assert list(client.answers) == streams


async def test_what_is_no_http2_is_not_counted(start_sink: StartSink) -> None:
    async with start_sink() as sink:
        async with sink.raw() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        assert await sink.counted(1) == 0
