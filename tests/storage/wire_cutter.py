"""A wire that can be cut: a TCP proxy before an instance's Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import trio

from storage.link import Endpoint
from tests.conftest import Server


class Wire:
    def __init__(self, server: Server) -> None:
        self._path = server.embedded.endpoint.address()[1]
        self._endpoint = server.embedded.endpoint
        self._clients: set[trio.SocketStream] = set()
        self._instances: set[trio.SocketStream] = set()
        self.port = 0
        self.deaf = False
        """The instance's answers are lost."""

    @property
    def endpoint(self) -> Endpoint:
        return replace(self._endpoint, uri=f"127.0.0.1:{self.port}")

    async def cut(self, *, instance_too: bool = True) -> None:
        """Cut every connection; without ``instance_too`` the instance does not notice, as with a pulled cable."""
        for stream in [*self._clients, *(self._instances if instance_too else ())]:
            await trio.aclose_forcefully(stream)

    async def serve(self, client: trio.SocketStream) -> None:
        instance = trio.SocketStream(trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM))
        await instance.socket.connect(self._path)
        self._clients.add(client)
        self._instances.add(instance)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, client, instance)
                nursery.start_soon(self._carry, instance, client)
        finally:
            self._clients.discard(client)
            self._instances.discard(instance)
            await trio.aclose_forcefully(instance)

    async def _carry(self, source: trio.SocketStream, to: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if not (self.deaf and source in self._instances):
                    await to.send_all(data)
            await to.send_eof()


@asynccontextmanager
async def wire_to(server: Server) -> AsyncIterator[Wire]:
    wire = Wire(server)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, wire.serve, 0)
        wire.port = listeners[0].socket.getsockname()[1]
        yield wire
        nursery.cancel_scope.cancel()
