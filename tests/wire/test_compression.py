"""A compressed body is read in whatever pieces it comes, and takes no more memory than one that is not."""

import gzip
import random
import zlib

import pytest

from app.wire.compression import PIECE_BYTES, CompressionError, Decompressor

TEXT = b"data: " + bytes(random.Random(1).randbytes(3000)) + b"\n\n" + b"a" * 3000


def read(data, size=None):
    decompressor = Decompressor()
    size = size or len(data) or 1
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    pieces = [piece for block in blocks for piece in decompressor.feed(block)]
    decompressor.close()
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 7, 1000, None])
@pytest.mark.parametrize(
    "data", [gzip.compress(TEXT), zlib.compress(TEXT), gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])]
)
def test_it_is_read_however_it_is_cut(data, size):
    assert read(data, size) == TEXT


def test_what_is_flushed_comes_at_once():
    press, decompressor = zlib.compressobj(wbits=31), Decompressor()
    for frame in (b"data: 1\n\n", b"data: 2\n\n"):
        flushed = press.compress(frame) + press.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decompressor.feed(flushed)) == frame


def test_an_empty_body_is_empty():
    assert read(b"") == b""


def test_a_bomb_comes_in_pieces():
    pieces = [len(piece) for piece in Decompressor().feed(gzip.compress(b"0" * 5_000_000))]
    assert sum(pieces) == 5_000_000
    assert max(pieces) <= PIECE_BYTES


@pytest.mark.parametrize("data", [b"hello", gzip.compress(TEXT)[:-20], gzip.compress(TEXT) + b"more"])
def test_anything_else_is_an_error(data):
    with pytest.raises(CompressionError):
        read(data)
