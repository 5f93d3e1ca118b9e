"""Server-sent events: cutting a byte stream into frames, and writing frames.

The rules of the HTML standard's event stream: lines end at CR, LF or CRLF and nowhere else (a Unicode line separator
inside JSON is data), ``data`` lines of one frame are joined with LF, lines that begin with a colon are comments.
Field names other than ``data`` mean nothing to us: every payload we read names its own type.
"""

from __future__ import annotations

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""A frame larger than this is not read: memory per stream stays bounded."""

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class FrameTooLargeError(ValueError):
    """A frame went past ``MAX_FRAME_BYTES``."""


class Framer:
    """Cuts one byte stream into the payloads of its frames.

    Args:
        max_bytes: The largest payload or line that is read.
    """

    __slots__ = ("_after_cr", "_bytes", "_data", "_first", "_max_bytes", "_pieces")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._bytes = 0
        self._after_cr = False
        self._first = True
        self._max_bytes = max_bytes

    def feed(self, block: bytes) -> list[bytes]:
        """Take the bytes of one read; return the payloads that are complete.

        Raises:
            FrameTooLargeError: A frame went past the bound.
        """
        if self._after_cr and block:
            self._after_cr = False
            block = block.removeprefix(b"\n")
        if b"\r" in block:
            self._after_cr = block.endswith(b"\r")
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._first and block:
            block = self._without_mark(block)
        if b"\n" not in block:
            if block:
                self._pieces.append(block)
                self._count(len(block))
            return []
        if self._pieces:
            self._pieces.append(block)
            block = b"".join(self._pieces)
            self._pieces.clear()
        lines = block.split(b"\n")
        rest = lines.pop()
        payloads: list[bytes] = []
        for line in lines:
            self._take(line, payloads)
        self._bytes = sum(map(len, self._data))
        if rest:
            self._pieces.append(rest)
        self._count(len(rest))
        return payloads

    def close(self) -> list[bytes]:
        """Say that no more bytes will come; return what the stream left unterminated, for the reader to judge."""
        payloads: list[bytes] = []
        self._take(b"".join(self._pieces), payloads)
        self._pieces.clear()
        self._take(b"", payloads)
        return payloads

    def _without_mark(self, block: bytes) -> bytes:
        mark = b"\xef\xbb\xbf"
        block = b"".join([*self._pieces, block])
        self._pieces.clear()
        if len(block) < len(mark) and mark.startswith(block):
            return block
        self._first = False
        return block.removeprefix(mark)

    def _take(self, line: bytes, payloads: list[bytes]) -> None:
        if not line:
            if self._data:
                payloads.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif line == b"data":
            self._data.append(b"")

    def _count(self, more: int) -> None:
        self._bytes += more
        if self._bytes > self._max_bytes:
            raise FrameTooLargeError(f"a frame is larger than {self._max_bytes} bytes")
