"""WAV: reading what is in it, and putting a head before plain samples."""

from __future__ import annotations

import struct
from typing import Final

from msgspec import Struct

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE


class Wave(Struct, frozen=True):
    """The sound in a WAV file.

    Attributes:
        rate: Samples a second.
        channels: How many sound at once.
        bits: Of each sample.
        pcm: The samples are plain whole numbers.
        offset: Where in the file the samples begin.
        size: How many bytes of samples there are.
    """

    rate: int
    channels: int
    bits: int
    pcm: bool
    offset: int
    size: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.size / max(self.rate * self.channels * self.bits // 8, 1)


def read_wave(data: bytes) -> Wave | None:
    """Read a WAV file; ``None`` when it is none.

    What was written as a stream states no length, or one that is too large: it ends where the bytes end.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    form: tuple[int, int, int, int] | None = None
    place = 12
    while place + 8 <= len(data):
        kind, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        place += 8
        if kind == b"fmt " and size >= 16 and place + 16 <= len(data):
            code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, place)
            form = code, channels, rate, bits
        if kind == b"data" and form is not None:
            code, channels, rate, bits = form
            there = len(data) - place
            return Wave(rate, channels, bits, code in {_PCM, _EXTENSIBLE}, place, min(size, there) or there)
        place += size + (size & 1)
    return None


def wave_head(rate: int, size: int | None) -> bytes:
    """What stands before 16-bit samples of one channel in a WAV file.

    Args:
        rate: Samples a second.
        size: How many bytes of samples follow; ``None`` where nobody knows yet.
    """
    most = 0xFFFFFFFF
    whole, samples = (most, most) if size is None else (36 + size, size)
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", whole, b"WAVE", b"fmt ", 16, _PCM, 1, rate, 2 * rate, 2, 16)
    return head + struct.pack("<4sI", b"data", samples)
