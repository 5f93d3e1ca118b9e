"""The size of pictures, and masks made of what is transparent."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.emulator import media
from app.wire.pictures import MAX_PIXELS, PictureError, mask_of, size_of

HEAD = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, colour=6, depth=8, interlaced=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    packed = zlib.compress(rows)
    half = len(packed) // 2
    pixels = chunk(b"IDAT", packed[:half]) + chunk(b"IDAT", packed[half:])
    return HEAD + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def filtered(kind, row, above, pixel):
    """A row as PNG's filters write it, by the letter of the standard."""
    out = bytearray([kind])
    for place, value in enumerate(row):
        left = row[place - pixel] if place >= pixel else 0
        up = above[place]
        corner = above[place - pixel] if place >= pixel else 0
        guess = left + up - corner
        nearest = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
        out.append((value - (0, left, up, (left + up) // 2, nearest)[kind]) % 256)
    return bytes(out)


def rows_of(grey):
    place = grey.index(b"IDAT")
    size = struct.unpack(">I", grey[place - 4 : place])[0]
    return zlib.decompress(grey[place + 4 : place + 4 + size])


@given(st.data(), st.sampled_from([(4, 2), (6, 4)]), st.integers(1, 5), st.integers(1, 5))
def test_a_mask_is_what_is_transparent_whatever_the_filters(data, form, width, height):
    colour, pixel = form
    rows = [data.draw(st.binary(min_size=width * pixel, max_size=width * pixel)) for _ in range(height)]
    kinds = [data.draw(st.integers(0, 4)) for _ in range(height)]
    above = bytes(width * pixel)
    packed = b""
    for kind, row in zip(kinds, rows, strict=True):
        packed += filtered(kind, row, above, pixel)
        above = row
    grey = mask_of(png(width, height, packed, colour))
    assert size_of(grey) == (width, height)
    wanted = b"".join(b"\0" + bytes(255 - value for value in row[pixel - 1 :: pixel]) for row in rows)
    assert rows_of(grey) == wanted


@pytest.mark.parametrize("data", [media.png(4, 4, 9), media.jpeg(), b"", b"\x89PNG"])
def test_what_has_no_alpha_channel_is_left_alone(data):
    assert mask_of(data) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(1, 1, b"\0\1\2\3\4", depth=16), "16 bits"),
        (png(1, 1, b"\0\1\2\3\4", interlaced=1), "interlaced"),
        (png(1, 1, b"\0\1"), "damaged"),
        (png(1, 1, b"\7\1\2\3\4"), "damaged"),
        (png(0, 4, b""), "larger"),
        (png(MAX_PIXELS, 2, b""), "larger"),
        (HEAD + chunk(b"IHDR", b""), "damaged"),
        (HEAD + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 6, 0, 0, 0)) + chunk(b"IDAT", b"x"), "damaged"),
    ],
)
def test_what_cannot_be_read_says_why(data, reason):
    with pytest.raises(PictureError, match=reason):
        mask_of(data)


def test_a_bomb_is_not_unpacked():
    huge = png(2, 2, bytes(50_000_000))
    assert len(rows_of(mask_of(huge))) == 6


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (media.png(3, 5, 0), (3, 5)),
        (media.jpeg(), (1, 1)),
        (b"\xff\xd8\xff\xe0\0\4ab\xff\xc2\0\x11\x08\0\x05\0\x07\3", (7, 5)),
        (b"GIF89a", None),
        (b"\xff\xd8\xff\xe0", None),
        (b"\xff\xd8\xff\xe0\0\0" * 3, None),
        (b"", None),
    ],
)
def test_sizes(data, size):
    assert size_of(data) == size


@given(st.binary(max_size=200))
def test_any_bytes_have_a_size_or_none(tail):
    for head in (b"", HEAD, b"\xff\xd8\xff"):
        found = size_of(head + tail)
        assert found is None or found.width >= 0
