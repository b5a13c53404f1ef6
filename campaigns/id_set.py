"""A set of subscribers' ids, as a line of the outbox tells it and the ledger keeps it: bits in blocks of 64 ids.

It is a flat list of block, bits, block, bits …: bit *b* stands for the id ``64 * block + b``. A block may come twice:
then the bits of both count, so that two sets are joined by writing one after the other. 500 ids in a row take 8 or 9
blocks, some 120 octets; ids that lie far apart take 14 octets each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

_BITS = 64
_BLOCK = (1 << _BITS) - 1
_APART = 8
"""Ids that lie farther apart than this, on average, are written one by one."""


def pack_ids(ids: Sequence[int]) -> list[int]:
    """Write ids, each once, in any order. A batch of neighbours takes 0.1 µs an id."""
    if not ids:
        return []
    block, high = min(ids) // _BITS, max(ids)
    width = high - block * _BITS + 1
    if width > _APART * len(ids) + _BITS:
        return _pack_far_apart(ids)
    digits = bytearray(b"0") * width
    for id in ids:
        digits[high - id] = 49  # ASCII for 1
    bits = int(digits, 2)
    packed: list[int] = []
    while bits:
        packed += (block, bits & _BLOCK)
        bits >>= _BITS
        block += 1
    return packed


def _pack_far_apart(ids: Sequence[int]) -> list[int]:
    blocks: defaultdict[int, int] = defaultdict(int)
    for id in ids:
        blocks[id // _BITS] |= 1 << id % _BITS
    return [number for pair in blocks.items() for number in pair]


def unpack_ids(packed: Iterable[int]) -> frozenset[int]:
    """Read them back."""
    numbers = iter(packed)
    pairs = zip(numbers, numbers, strict=True)
    return frozenset(_BITS * block + bit for block, bits in pairs for bit in range(_BITS) if bits >> bit & 1)
