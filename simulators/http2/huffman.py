"""Huffman decoding (RFC 7541 §5.2), a byte a step: the `hpack` library's half-byte steps cost half of a twin's time.

The library's table has a step for each half byte; steps for whole bytes are computed on first use, and cached.
"""

from __future__ import annotations

from hpack.huffman_table import HUFFMAN_COMPLETE, HUFFMAN_EMIT_SYMBOL, HUFFMAN_FAIL, HUFFMAN_TABLE

from simulators.errors import HeaderBlockError

_Step = tuple[int, bytes, bool]
#: By ``state << 8 | byte``: the next ``state << 8``, the symbols it ends, and whether the text may end there.
_steps: list[_Step | None] = [None] * 65_536
#: Cache of long texts: a client that never indexes ``authorization`` sends it with every request.
_long: dict[bytes, bytes] = {}
_LONG = 64
_REMEMBERED = 256


def decode_huffman(data: bytes) -> bytes:
    """Return the text of a Huffman-coded string (raises ``HeaderBlockError``)."""
    if len(data) < _LONG:
        return _decode(data)
    text = _long.get(data)
    if text is None:
        if len(_long) >= _REMEMBERED:
            _long.clear()
        text = _long[data] = _decode(data)
    return text


def _decode(data: bytes) -> bytes:
    steps = _steps
    at = 0
    may_end = True
    parts = []
    for byte in data:
        step = steps[at | byte]
        if step is None:
            step = steps[at | byte] = _step(at | byte)
        at, text, may_end = step
        parts.append(text)
    if not may_end:
        raise HeaderBlockError("bad Huffman code: it ends in mid-symbol")
    return b"".join(parts)


def _step(key: int) -> _Step:
    state = key >> 8
    text = b""
    flags = 0
    for half in (key >> 4 & 0xF, key & 0xF):
        state, flags, symbol = HUFFMAN_TABLE[state << 4 | half]
        if flags & HUFFMAN_FAIL:
            raise HeaderBlockError("bad Huffman code: no symbol has it")
        if flags & HUFFMAN_EMIT_SYMBOL:
            text += bytes((symbol,))
    return state << 8, text, bool(flags & HUFFMAN_COMPLETE)
