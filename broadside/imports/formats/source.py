"""Reads a file or pipe as UTF-8 text, block by block: gzip is unpacked, UTF-16 is recoded."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from broadside.errors import UsageError

_BLOCK = 256 * 1024


class Source:
    """The bytes of a file. Iterate over the blocks once."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Read ``file``, called ``name`` in errors. Raises ``UsageError`` if it is no text."""
        self.name = name
        self._counted = _Counted(file)
        buffered = io.BufferedReader(self._counted, _BLOCK)
        packed = self._guarded(lambda: buffered.peek(2))[:2] == b"\x1f\x8b"
        self._file: io.BufferedIOBase = gzip.GzipFile(fileobj=buffered) if packed else buffered
        self._first = self._read()
        self._decoder = self._recoder()
        self._recoded_first = self._recoded(self._first)

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file so far (packed, if it is packed), for a progress bar."""
        return self._counted.taken

    @property
    def first(self) -> bytes:
        """The first block, to recognise the format by."""
        return self._recoded_first

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks of UTF-8, without a byte order mark. Raises ``UsageError`` if the file cannot be read on."""
        yield self._recoded_first
        while block := self._read():
            yield self._recoded(block)
        if self._decoder is not None:
            yield self._decoder.decode(b"", final=True).encode()

    def _recoded(self, block: bytes) -> bytes:
        return block if self._decoder is None else self._decoder.decode(block).encode(errors="replace")

    def _recoder(self) -> codecs.IncrementalDecoder | None:
        first = self._first = self._first.removeprefix(codecs.BOM_UTF8)
        if first.startswith(b"PK\x03\x04"):
            raise UsageError(f"{self.name}: is a spreadsheet or ZIP archive (export it as CSV, UTF-8)")
        name = ""
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            name = "utf-16"
        elif first[1:16:2] and not any(first[1:16:2]):  # every second byte of ASCII in UTF-16 is zero
            name = "utf-16-le"
        elif first[0:16:2] and not any(first[0:16:2]):
            name = "utf-16-be"
        # what cannot be decoded becomes U+FFFD, which costs its own line at most
        return codecs.getincrementaldecoder(name)(errors="replace") if name else None

    def _read(self) -> bytes:
        return self._guarded(lambda: self._file.read(_BLOCK))

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            what = f"the gzip data is damaged or cut off: {error}"
            raise UsageError(f"{self.name}: {what} (every row before that place was read)") from None
        except OSError as error:
            raise UsageError(f"{self.name}: cannot be read: {error.strerror}") from None


class _Counted(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        block = self._file.read(len(view))
        view[: len(block)] = block
        self.taken += len(block)
        return len(block)
