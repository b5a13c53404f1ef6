"""What the node and its workers say to each other survives any cut, and nonsense is told by name."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from broadside import wire
from campaigns.channel_state import ChannelState

HELLO = wire.Hello(
    node="n",
    worker="n/worker-1",
    store=wire.TarantoolLogin("unix/:/s", "u", "secret"),
    queue=wire.TarantoolLogin("h:1", "u", "secret"),
    peers={},
    channels=[],
    reports=True,
    tokens=[wire.SharedToken("apns T K", "eyJ.secret", 1_700_000_000, 5000.25)],
)
MESSAGES: list[wire.Frame] = [
    HELLO,
    wire.WorkerReady(),
    wire.SharedToken("apns T K", "eyJ.secret", 1_700_000_000, 5000.25),
    wire.Beat(),
    wire.Stats(rss=1, cpu=0.5, states=[ChannelState(channel="ios", reason="breaker", sentence="why", since=1)]),
    wire.Tree({"id": "x", "children": []}),
    wire.Stop(),
]


class Trickle(trio.abc.ReceiveStream):
    """Gives ``data`` in pieces of the given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        size = self.sizes.pop() if self.sizes else len(self.data)
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    async def aclose(self) -> None: ...


async def said(*messages: wire.Frame) -> bytes:
    ours, theirs = trio.testing.memory_stream_one_way_pair()
    whole = trio.StapledStream(ours, theirs)
    await wire.MessageStream(whole).send(*messages)
    return bytes(await theirs.receive_some())


@given(st.lists(st.integers(1, 40), max_size=60))
def test_messages_arrive_whole_however_they_are_cut(sizes: list[int]) -> None:
    async def main() -> None:
        stream = Trickle(await said(*MESSAGES), sizes)
        unused, _ = trio.testing.memory_stream_one_way_pair()
        line = wire.MessageStream(trio.StapledStream(unused, stream))
        heard = []
        while (message := await line.receive()) is not None:
            heard.append(message)
        assert heard == MESSAGES

    trio.run(main)


@pytest.mark.parametrize(
    "noise", [b"\xff\xff\xff\xff", b"\0\0\0\x02{}", b'\0\0\0\x10{"type":"nobody"}', b"\0\0\0\x01\xff"]
)
async def test_nonsense_is_an_error_with_a_name(noise: bytes) -> None:
    unused, _ = trio.testing.memory_stream_one_way_pair()
    line = wire.MessageStream(trio.StapledStream(unused, Trickle(noise, [])))
    with pytest.raises(wire.WireError):
        await line.receive()


def test_no_repr_tells_a_password() -> None:
    assert "secret" not in repr(HELLO)
