"""The twins' header compression against the `hpack` library, both ways."""

from __future__ import annotations

import hpack
import pytest
from hpack import huffman, huffman_constants, huffman_table
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.errors import HeaderBlockError
from simulators.http2.header_compression import Decoder, Encoder
from simulators.http2.huffman import decode_huffman
from tests.draws import drawn

HUFFMAN = huffman.HuffmanEncoder(huffman_constants.REQUEST_CODES, huffman_constants.REQUEST_CODES_LENGTH)

names = st.sampled_from([b":path", b":status", b"apns-id", b"apns-topic", b"content-type", b"retry-after", b"x" * 140])
values = st.one_of(st.binary(max_size=40), st.sampled_from([b"200", b"410", b"application/json", b"v" * 300]))
blocks = st.lists(st.lists(st.tuples(names, values), max_size=8), min_size=1, max_size=12)


@given(blocks=blocks, huffman=st.booleans(), size=st.sampled_from([0, 64, 200, 4096]), at=st.integers(0, 6))
@settings(max_examples=drawn(150), deadline=None)
def test_what_hpack_encodes_is_decoded_alike(
    blocks: list[list[tuple[bytes, bytes]]], huffman: bool, size: int, at: int
) -> None:
    encoder = hpack.Encoder()
    decoder = Decoder()
    for number, fields in enumerate(blocks):
        if number == at:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman)) == fields


@given(
    blocks=blocks, changes=st.lists(st.tuples(st.integers(0, 11), st.sampled_from([0, 100, 4096, 65_536])), max_size=4)
)
@settings(max_examples=drawn(150), deadline=None)
def test_what_is_encoded_hpack_decodes_alike(
    blocks: list[list[tuple[bytes, bytes]]], changes: list[tuple[int, int]]
) -> None:
    encoder = Encoder()
    decoder = hpack.Decoder()
    for number, fields in enumerate(blocks):
        for when, size in changes:
            if when == number:
                encoder.allow(size)
        assert [tuple(field) for field in decoder.decode(encoder.encode(tuple(fields)), raw=True)] == fields


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(lambda text: HUFFMAN.encode(text.encode()))))
@settings(max_examples=drawn(500), deadline=None)
def test_huffman_codes_mean_what_the_library_says(coded: bytes) -> None:
    try:
        wanted = bytes(huffman_table.decode_huffman(coded))
    except hpack.HPACKDecodingError:
        with pytest.raises(HeaderBlockError, match="Huffman"):
            decode_huffman(coded)
    else:
        assert decode_huffman(coded) == wanted


@given(st.binary(max_size=60))
@settings(max_examples=drawn(300), deadline=None)
def test_rubbish_is_decoded_or_refused_and_nothing_else(block: bytes) -> None:
    decoder = Decoder()
    try:
        decoder.decode(block)
    except HeaderBlockError:
        return


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\x80\x80\x80\x80\x80\x01",  # an endless integer
        b"\xbe",  # an index beyond the table
        b"\x82\x20",  # a size update after a field
        b"\x3f\xe2\x1f",  # a size update to 4097
        b"\x00\x03ab",  # a name cut short
        b"\x00\x01a\x05b",  # a value cut short
        b"\x00\x01a",  # no value
        b"\x00\x81\x00\x00",  # Huffman padding of zeros
    ],
)
def test_an_illegal_block_is_refused(block: bytes) -> None:
    with pytest.raises(HeaderBlockError):
        Decoder().decode(block)


def test_a_table_of_zero_is_confirmed_by_the_next_block() -> None:
    encoder = Encoder()
    encoder.encode(((b"content-type", b"a"),))
    encoder.allow(0)
    assert encoder.encode(((b":status", b"200"),)) == b"\x20\x88"
    assert encoder.encode(((b":status", b"200"),)) == b"\x88"


def test_repeated_fields_become_one_byte_and_ids_stay_out_of_the_table() -> None:
    encoder = Encoder()
    fields = ((b":status", b"410"), (b"apns-id", b"i" * 36), (b"content-type", b"application/json"))
    encoder.encode(fields)
    again = encoder.encode(fields)
    assert len(again) == 1 + (1 + 8 + 1 + 36) + 1
