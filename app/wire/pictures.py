"""The size of a picture, and what is transparent in it: read from its bytes without a decoder of pictures."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_PIXELS: Final = 1024 * 1024
"""The largest picture whose transparency is read."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_ALPHA_AT: Final = {4: (2, 1), 6: (4, 3)}
"""Bytes of a pixel and the place of its alpha, by PNG's colour type."""

_NO_SIZE_MARKERS: Final = frozenset({0xC4, 0xC8, 0xCC})


class Size(NamedTuple):
    """In pixels."""

    width: int
    height: int


class PictureError(ValueError):
    """The picture cannot be read; the message completes the sentence ``The picture is …``."""


def size_of(data: bytes) -> Size | None:
    """The size of a PNG or JPEG; ``None`` when it cannot be told."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        return Size(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    if data.startswith(b"\xff\xd8"):
        return _size_of_jpeg(data)
    return None


def _size_of_jpeg(data: bytes) -> Size | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE_MARKERS:
            height, width = data[place + 5 : place + 7], data[place + 7 : place + 9]
            return Size(int.from_bytes(width, "big"), int.from_bytes(height, "big"))
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def mask_of(data: bytes) -> bytes | None:
    """A picture in grey that is white where a PNG is transparent and black where it is not.

    It takes up to a third of a second of computing. What has no alpha channel has no such places.

    Returns:
        A PNG; ``None`` when the picture has no alpha channel.

    Raises:
        PictureError: It is no PNG of the usual kind, damaged, or too large.
    """
    if not data.startswith(_PNG):
        return None
    chunks = dict(_chunks(data))
    head = chunks.get(b"IHDR", b"")
    if len(head) != 13:
        raise PictureError("a damaged PNG")
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    depth, colour, interlaced = head[8], head[9], head[12]
    if colour not in _ALPHA_AT:
        return None
    if depth != 8 or interlaced:
        raise PictureError("a PNG with 16 bits per channel, or interlaced; save it with 8 bits and without interlacing")
    if not 0 < width * height <= MAX_PIXELS:
        raise PictureError("larger than 1024 by 1024 pixels")
    pixel, place = _ALPHA_AT[colour]
    rows = _inflated(chunks.get(b"IDAT", b""), height * (1 + width * pixel))
    return _grey(width, height, _inverted_alpha(rows, width, pixel, place))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG by their kind; those of the pixels are joined."""
    pixels: list[bytes] = []
    place = len(_PNG)
    while place + 8 <= len(data):
        size, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        body = data[place + 8 : place + 8 + size]
        if kind == b"IDAT":
            pixels.append(body)
        else:
            yield kind, body
        place += 12 + size
    yield b"IDAT", b"".join(pixels)


def _inflated(packed: bytes, size: int) -> bytes:
    try:
        rows = zlib.decompressobj().decompress(packed, size)
    except zlib.error:
        raise PictureError("a damaged PNG") from None
    if len(rows) != size:
        raise PictureError("a damaged PNG")
    return rows


def _inverted_alpha(rows: bytes, width: int, pixel: int, place: int) -> Iterator[bytes]:
    """Each row's alpha, white for transparent. PNG's filters keep channels apart, so only this one is undone."""
    invert = bytes(255 - value for value in range(256))
    above = bytes(width)
    stride = 1 + width * pixel
    for start in range(0, len(rows), stride):
        above = _unfiltered(rows[start], rows[start + 1 + place : start + stride : pixel], above)
        yield above.translate(invert)


def _unfiltered(kind: int, row: bytes, above: bytes) -> bytes:
    if kind == 0:
        return row
    if kind == 2:
        return bytes([value + up & 255 for value, up in zip(row, above, strict=True)])
    plain = bytearray()
    left = corner = 0
    for value, up in zip(row, above, strict=True):
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) >> 1
        elif kind == 4:
            guess = _paeth(left, up, corner)
        else:
            raise PictureError("a damaged PNG")
        left = value + guess & 255
        corner = up
        plain.append(left)
    return bytes(plain)


def _paeth(left: int, up: int, corner: int) -> int:
    """Of three neighbours the one that is nearest to the plane through them, as PNG defines it."""
    by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    if by_left <= by_up and by_left <= by_corner:
        return left
    return up if by_up <= by_corner else corner


def _grey(width: int, height: int, rows: Iterator[bytes]) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    packed = zlib.compress(b"".join(b"\x00" + row for row in rows))
    return _PNG + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
