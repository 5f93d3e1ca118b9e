"""Small valid pictures and sounds."""

import base64
import math
import struct
import zlib

# The smallest baseline JPEG most decoders take: one grey 8x8 block.
_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////"
    "////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8A"
    "N//Z"
)


def jpeg() -> bytes:
    """Return a JPEG of one grey pixel."""
    return _JPEG


def png(width: int, height: int, shade: int) -> bytes:
    """Return a PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\x00" + bytes([shade]) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pcm(seconds: float, rate: int) -> bytes:
    """Return a soft tone as 16-bit mono samples."""
    step = 2 * math.pi * 440 / rate
    return b"".join(struct.pack("<h", int(3000 * math.sin(step * n))) for n in range(int(seconds * rate)))


def wav(seconds: float = 0.1, rate: int = 24_000) -> bytes:
    """Return a tone as WAV."""
    data = pcm(seconds, rate)
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def mp3(frames: int = 8) -> bytes:
    """Return silent MPEG layer III frames behind an ID3 tag."""
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x00"
    frame = b"\xff\xf3\x44\xc4" + b"\x00" * 140  # MPEG-2 layer III, 32 kbit/s, 24 kHz, mono: 144 bytes wide
    return tag + frame * frames
