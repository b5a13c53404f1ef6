"""Bytes of a pipe as lines of text."""

from __future__ import annotations

from collections import deque

import trio

LONGEST_LINE = 64 * 1024


class OutputLines:
    """The lines of a stream, without their ends, as UTF-8 with replacements; a line over 64 KiB comes in parts."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._ended = False

    def __aiter__(self) -> OutputLines:
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._lines.popleft().rstrip(b"\r").decode("utf-8", "replace")

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some(LONGEST_LINE)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(whole)
        if not data:
            self._ended = True
        if self._rest and (self._ended or len(self._rest) >= LONGEST_LINE):
            self._lines.append(self._rest)
            self._rest = b""
