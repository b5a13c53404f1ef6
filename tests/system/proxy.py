"""A proxy between two parts: it passes bytes on, and cuts, delays, drips, swallows or truncates them when told."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

Address = tuple[str, int] | Path


class Proxy:
    """Listens on a port or a Unix socket and passes everything on to ``target``. One task owns each direction."""

    def __init__(self, target: Address, listen: Path | None = None) -> None:
        self.target = target
        self.listen = listen
        self.port = 0
        self.delay = 0.0
        """Seconds that each read waits before it goes on."""
        self.most = 65_536
        """Bytes of one read."""
        self.silent = False
        """Half-open: bytes are read and lost."""
        self.refuse = False
        """New connections are hung up at once."""
        self._deafen: bytes | None = None
        self._deaf = False
        self._truncate = 0
        self._open: set[trio.SocketStream] = set()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        family = socket.AF_INET if self.listen is None else socket.AF_UNIX
        listening = trio.socket.socket(family, socket.SOCK_STREAM)
        if self.listen is None:
            await listening.bind(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
        else:
            await listening.bind(str(self.listen))
        listening.listen(64)
        task_status.started()
        async with trio.open_nursery() as nursery:
            while True:
                accepted, _ = await listening.accept()
                nursery.start_soon(self._serve, trio.SocketStream(accepted))

    def cut(self) -> int:
        """Reset every connection; answers how many there were."""
        streams = list(self._open)
        for stream in streams:
            _reset(stream)
        return len(streams)

    def truncate(self) -> None:
        """The next read of each connection is passed on by half, and then the connection is reset."""
        self._truncate += 1

    def deafen(self, word: bytes) -> None:
        """From the next request on that has ``word`` in it, no answer arrives any more."""
        self._deafen = word

    def hear(self) -> None:
        """Pass answers on again."""
        self._deafen = None
        self._deaf = False

    async def _serve(self, near: trio.SocketStream) -> None:
        if self.refuse:
            _reset(near)
            return
        try:
            if isinstance(self.target, Path):
                sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                await sock.connect(str(self.target))
                far = trio.SocketStream(sock)
            else:
                far = await trio.open_tcp_stream(*self.target)
        except OSError:
            _reset(near)
            return
        pair = {near, far}
        self._open |= pair

        def end() -> None:
            for stream in pair:
                _reset(stream)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, near, far, end)
                nursery.start_soon(self._pass, far, near, end, True)
        finally:
            self._open -= pair

    async def _pass(
        self, source: trio.SocketStream, sink: trio.SocketStream, end: Callable[[], None], answers: bool = False
    ) -> None:
        born = self._truncate
        try:
            while data := await source.receive_some(self.most):
                if self._truncate != born:
                    await sink.send_all(data[: len(data) // 2])
                    break
                if not answers and self._deafen is not None and self._deafen in data:
                    self._deaf = True
                if answers and self._deaf:
                    continue
                if self.delay:
                    await trio.sleep(self.delay)
                if not self.silent:
                    await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            pass
        end()


def _reset(stream: trio.SocketStream) -> None:
    """Hang up with RST, so that nothing that was on its way arrives."""
    with suppress(OSError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
