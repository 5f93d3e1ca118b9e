"""Taking the compression off a body that comes in pieces: gzip and deflate, whichever it turns out to be."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
"""The values of ``content-encoding`` that can be read."""

PIECE_BYTES: Final = 64 * 1024
"""The largest piece that is given at once: a small block may hold a very large one."""

_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


class CompressionError(ValueError):
    """The body is not what its ``content-encoding`` says, or not whole."""


class Decompressor:
    """Reads one compressed body."""

    __slots__ = ("_begun", "_member")

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._begun = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Take the bytes of one read; give what they hold, in pieces, as far as it can be known yet.

        Raises:
            CompressionError: It is not compressed as it has to be.
        """
        self._begun = self._begun or bool(block)
        full = False
        # What was kept back for want of room may come out without any more bytes going in.
        while block or full:
            if self._member.eof:
                # A body may be several compressed ones, one after the other.
                self._member = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                piece = self._member.decompress(block, PIECE_BYTES)
            except zlib.error as error:
                raise CompressionError(str(error)) from None
            if piece:
                yield piece
            block = self._member.unused_data or self._member.unconsumed_tail
            full = len(piece) == PIECE_BYTES and not self._member.eof

    def close(self) -> None:
        """Take the end of the body.

        Raises:
            CompressionError: It is not the end.
        """
        if self._begun and not self._member.eof:
            raise CompressionError("the compressed data ends too soon")
