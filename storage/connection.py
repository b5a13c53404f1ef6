"""One connection to a Tarantool: the driver's, with its traps avoided (docs/adr/0004-the-link.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asynctnt
import trio
import trio_asyncio
from asynctnt.exceptions import TarantoolNotConnectedError
from asynctnt.iproto.protocol import Protocol

from storage.endpoint import Endpoint

CONNECT_TIMEOUT = 5.0
"""Seconds to connect and log in."""
CONNECT_TIMEOUT_EACH = 2.0
"""The same where there is another address to try: a server without power answers nothing."""


class _Protocol(Protocol):  # type: ignore[misc]  # asynctnt is untyped
    """Hands the connection its socket as soon as it is open, and ends a log-in that nobody will answer."""

    opened: Callable[[Any], None]
    logged_in: Any
    """The driver's future. The driver waits for it even if the peer has hung up, for half of the connect timeout."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.opened(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if not self.logged_in.done():
            self.logged_in.set_exception(TarantoolNotConnectedError("hung up before the log-in"))
            self.logged_in.exception()  # retrieved, in case its waiter is gone (trap 8)


class Connection(asynctnt.Connection):  # type: ignore[misc]  # asynctnt is untyped
    """A connection that reports when it is lost: the driver's own reconnect hides a new queue session (trap 6)."""

    def __init__(self, endpoint: Endpoint, number: int, lost: trio.Event) -> None:
        host, port = endpoint.address(number)
        super().__init__(
            host=host,
            port=port,
            username=endpoint.user,
            password=endpoint.password,
            fetch_schema=False,  # trap 2: a refetch after DDL livelocks
            auto_refetch_schema=False,
            reconnect_timeout=0,  # trap 1: leaving the loop while it reconnects may hang
            ping_timeout=0,
            connect_timeout=CONNECT_TIMEOUT if endpoint.addresses == 1 else CONNECT_TIMEOUT_EACH,
        )
        self._lost = lost
        self._opened: Any = None

    def protocol_factory(self, logged_in: Any, *args: Any, **options: Any) -> Any:
        made = super().protocol_factory(logged_in, *args, **options, cls=_Protocol)
        made.opened = self._open
        made.logged_in = logged_in
        return made

    def _open(self, transport: Any) -> None:
        self._opened = transport

    def unsent(self) -> int:
        """Bytes that the instance has not read yet, not counting those in the kernel."""
        return 0 if self._transport is None else int(self._transport.get_write_buffer_size())

    def give_up(self) -> None:
        """Close at once: a plain close would first wait for unsent bytes. The driver itself forgets the socket of a
        log-in that is cancelled.
        """
        transport = self._transport or self._opened
        self.close()
        if transport is not None:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._lost.set()


async def connect(connection: Connection) -> None:
    """Open the connection and log in."""
    try:
        await trio_asyncio.aio_as_trio(connection.connect)()
    except TypeError as error:
        # cut just after the log-in: the driver looks at the version of a connection that is gone, and finds None
        raise TarantoolNotConnectedError("lost while connecting") from error
