"""The event stream at a real port: one task writes to all, and a slow client loses no byte and holds nobody up."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import h11
import pytest
import structlog.testing
import trio
import trio.testing
import trustme

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.console import http_server
from broadside.console.door import Door
from broadside.console.http_server import HttpServer
from broadside.newsroom import event_feed
from tests.broadside.test_api import KEY
from tests.broadside.test_events import House, Told, house, read, until

__all__ = ["house"]

ASKED = "%s /v1/events HTTP/%s\r\nHost: node\r\nAuthorization: Bearer %s\r\n\r\n"
SMALL, LONG = 1 << 15, 1 << 17
"""Bytes of a socket's buffer, and of an event that is longer than both ends' buffers."""


def wrong(text: str) -> list[Alarm]:
    return [Alarm(name=AlarmName.WORKER_AWAY, severity=Severity.WARNING, text=text, remedy="")]


class Reader:
    """A client that reads when it is asked to. What is no HTTP fails the test."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.CLIENT)
        self.text = ""
        self.ended = False

    async def ask(self, version: str, method: str, key: str) -> None:
        self._h11.send(h11.Request(method=method, target="/v1/events", headers=[("host", "node")]))
        await self._stream.send_all((ASKED % (method, version, key)).encode())

    async def some(self) -> None:
        """Read what has come, and wait for it."""
        while not self.ended:
            event = self._h11.next_event()
            if isinstance(event, h11.Data):
                self.text += bytes(event.data).decode()
                return
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                self.ended = True
            elif event is h11.NEED_DATA:
                self._h11.receive_data(await self._stream.receive_some(1 << 16))

    async def to_end(self) -> None:
        """Read to the end of the answer."""
        while not self.ended:
            await self.some()

    async def until(self, text: str) -> list[Told]:
        """Read until this text has come."""
        with trio.fail_after(20):
            while text not in self.text:
                assert not self.ended, self.text[-200:]
                await self.some()
            while not self.text.endswith("\n\n"):
                await self.some()
        return read(self.text)


class Port(HttpServer):
    """The API at a port of its own."""

    def __init__(self, house: House, listeners: list[trio.SocketListener], tls: ssl.SSLContext | None) -> None:
        super().__init__(house.app, [Door(each, tls=tls, connections=400) for each in listeners])
        self.address = listeners[0].socket.getsockname()[:2]

    @property
    def listeners(self) -> int:
        """Connections that are open."""
        return sum(map(len, self._open.values()))

    @asynccontextmanager
    async def reader(
        self,
        version: str = "1.1",
        trust: ssl.SSLContext | None = None,
        *,
        method: str = "GET",
        key: str = KEY,
        buffer: int | None = None,
    ) -> AsyncIterator[Reader]:
        """A client that has asked. ``buffer``: bytes that its socket holds."""
        with socket.socket() as plain:
            if buffer is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            plain.connect(self.address)
            stream: Any = trio.SocketStream(trio.socket.from_stdlib_socket(plain))
            if trust is not None:
                stream = trio.SSLStream(stream, trust, server_hostname="localhost", https_compatible=True)
            reader = Reader(stream)
            await reader.ask(version, method, key)
            yield reader
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def at_a_port(house: House, tls: ssl.SSLContext | None = None) -> AsyncIterator[Port]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # connections inherit it
    port = Port(house, listeners, tls)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(port.run)
        yield port
        nursery.cancel_scope.cancel()


class Steps(trio.abc.Instrument):
    """Counts how often the tasks of connections run."""

    count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.endswith("HttpServer._serve")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "RING_EVERY", 0.02)
    monkeypatch.setattr("broadside.console.door.RATE", 1e6)


def secured() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server shows, and a client trusts."""
    authority = trustme.CA()
    served, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(served)
    authority.configure_trust(trust)
    return served, trust


PLAIN = None, None
both_ways = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


@both_ways
async def test_a_change_wakes_no_task_of_a_listener(house: House, tls: bool) -> None:
    """Issue 22: a task switch, a frame and two cancel scopes for each listener at each change took 0.2 cores."""
    steps, text = Steps(), "worker-1 does not serve"
    served, trust = secured() if tls else PLAIN
    async with at_a_port(house, served) as port, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(port.reader(trust=trust)) for _ in range(40)]
        for reader in readers:
            await reader.until("event: channels")
        await trio.testing.wait_all_tasks_blocked(0.001)
        trio.lowlevel.add_instrument(steps)
        house.alarms[:] = wrong(text)
        for reader in readers:
            await reader.until(text)
        trio.lowlevel.remove_instrument(steps)
    assert steps.count == 0


@pytest.mark.parametrize("version", ["1.1", "1.0", "TLS"])
async def test_every_client_gets_the_same_events(house: House, version: str) -> None:
    """Issue 22: events that are written straight to the socket have the frame that HTTP wants there."""
    served, trust = secured() if version == "TLS" else PLAIN
    async with at_a_port(house, served) as port, port.reader("1.0" if version == "1.0" else "1.1", trust) as reader:
        await reader.until("event: channels")
        for n in range(3):
            text = f"worker-{n} does not serve"
            house.alarms[:] = wrong(text)
            told = (await reader.until(text))[-1]
            assert told.data["items"][0]["text"] == text


@both_ways
async def test_a_client_that_does_not_read_misses_states_but_no_bytes_and_holds_nobody_up(
    house: House, tls: bool
) -> None:
    """Issue 22: what its socket does not take is written to its end later, and then comes the newest state."""
    changes, long = 12, "x" * LONG
    served, trust = secured() if tls else PLAIN
    async with (
        at_a_port(house, served) as port,
        port.reader(trust=trust, buffer=SMALL) as slow,
        port.reader(trust=trust) as quick,
    ):
        await slow.until("event: channels")
        await quick.until("event: channels")
        for n in range(changes):
            house.alarms[:] = wrong(f"{n} {long}")
            await quick.until(f'"{n} {long[:10]}')
        events = await slow.until(f'"{changes - 1} {long[:10]}')
        told = [alarm["text"] for each in events if each.name == "alarms" for alarm in each.data["items"]]
        assert 1 <= len(told) < changes
        assert all(text.endswith(long) for text in told)
        numbers = [int(each.id.partition("-")[2]) for each in events]
        assert numbers == sorted(set(numbers)), "no event comes twice"


async def test_a_client_that_takes_nothing_is_left_without_an_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22: a stream that was not taken within `SEND_WITHIN` was in the log as the node's failure."""
    monkeypatch.setattr(http_server, "SEND_WITHIN", 0.2)
    with structlog.testing.capture_logs() as lines:
        async with at_a_port(house) as port, port.reader(buffer=SMALL) as stuck:
            await stuck.until("event: channels")
            n = 0
            while port.listeners:
                n += 1
                house.alarms[:] = wrong(f"{n} {'x' * LONG}")
                await trio.sleep(0.02)
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_stream_that_ends_while_its_client_is_slow_is_cut_and_not_garbled(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22: the end of a stream was written into the middle of an event."""
    monkeypatch.setattr("broadside.console.calls.LOOK_EVERY", 0.05)
    made = (await house.api.post("/v1/keys", json={"name": "tv", "role": "viewer"})).json()
    async with at_a_port(house) as port, port.reader(buffer=SMALL, key=made["key"]) as slow:
        await slow.until("event: channels")
        for n in range(12):
            house.alarms[:] = wrong(f"{n} {'x' * LONG}")
            await trio.sleep(0.05)
        await house.api.post(f"/v1/keys/{made['record']['id']}/revoke")
        await until(lambda: not port.listeners)
        with trio.fail_after(20), pytest.raises(h11.RemoteProtocolError, match="complete message body"):
            await slow.to_end()


async def test_a_head_of_the_stream_ends(house: House) -> None:
    """Issue 22: it stayed open as the stream does, and its client waited."""
    async with at_a_port(house) as port, port.reader(method="HEAD") as reader:
        with trio.fail_after(20):
            await reader.to_end()
