"""The sink that is far away: it counts as the other one does, and everything comes back when the network would."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from simulators import twin_credentials as keys
from simulators.distant_network import DistantNetwork
from simulators.distant_sink import Answers, DistantLink, alike, serve_distant_sink
from simulators.faults.latency import Latency
from simulators.serving.twin_server import server_context
from tests.simulators.conftest import PREFACE, frame, parse

NETWORK = DistantNetwork(round_trip=0.06, answers=Latency(constant=60.0))


def request(stream: int, block: int = 40, body: int = 20) -> bytes:
    """A request of these octets."""
    return frame(1, 4, stream, b"h" * block) + frame(0, 1, stream, b"b" * body)


@given(
    requests=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=20),
    cut=st.integers(0, 60),
    more=st.binary(max_size=30),
)
def test_requests_that_are_alike_are_read_as_one_by_one(requests: list[tuple[int, int]], cut: int, more: bytes) -> None:
    """What ``alike`` reads at once is what begins with requests of one shape, each whole."""
    data = b"".join(request(2 * n + 1, block, body) for n, (block, body) in enumerate(requests)) + more
    data = data[: max(0, len(data) - cut)]
    streams, end, octets = alike(data)
    same = requests[: len(streams)]
    assert streams == [(2 * n + 1).to_bytes(4, "big") for n in range(len(streams))]
    assert len(set(same)) <= 1
    assert end == sum(18 + block + body for block, body in same)
    assert octets == sum(body for _, body in same)
    whole = 18 + sum(requests[0]) if requests else 0
    if requests and len(data) >= whole:
        assert streams, "the first one is there"


@pytest.fixture
async def sink(folder: keys.Credentials) -> AsyncIterator[tuple[int, Answers, list[DistantLink]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answers, links = Answers(NETWORK), list[DistantLink]()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            context = server_context(folder.server, ("h2",))
            await serve_distant_sink(context, NETWORK, answers, port=port, opened=links.append)

        nursery.start_soon(serve)
        yield port, answers, links
        nursery.cancel_scope.cancel()


async def dialled(port: int, folder: keys.Credentials) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=folder.ca)
    context.set_alpn_protocols(["h2"])
    with trio.fail_after(5):
        while True:
            try:
                tcp = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)
            else:
                return trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)


async def test_it_answers_over_tls_and_stays_when_others_go(
    sink: tuple[int, Answers, list[DistantLink]], folder: keys.Credentials
) -> None:
    port, answers, links = sink
    gone, silent, other = [await dialled(port, folder) for _ in range(3)]
    await trio.aclose_forcefully(silent)  # before its handshake
    for client, count in ((gone, 1), (other, 500)):
        await client.send_all(PREFACE + frame(4) + b"".join(request(2 * n + 1) for n in range(count)))
        answered = b""
        with trio.fail_after(5):
            while sum(kind == 1 for kind, *_ in parse(answered)) < count:
                answered += await client.receive_some(65_536)
        await trio.aclose_forcefully(client)
    assert answers.asked == 501
    assert sorted(link.count for link in links) == [1, 500]
