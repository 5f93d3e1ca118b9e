"""What pictures and sounds are, by their first bytes; what anyone calls them is not asked."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 512
"""How much of the beginning is looked at."""

_EBML: Final = b"\x1a\x45\xdf\xa3"
_MPEG_SYNC: Final = 0xE0


def picture_kind(head: bytes) -> str | None:
    """The media type of a picture: PNG, JPEG, GIF or WebP; ``None`` for anything else."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def sound_kind(head: bytes) -> str | None:
    """The media type of a sound: WAV, FLAC, Ogg, WebM, MP4, AAC or MP3; ``None`` for anything else.

    A video with sound counts as one where its container is among these.
    """
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "audio/wav"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith(b"OggS"):
        return "audio/ogg"
    if head.startswith(_EBML):
        return "audio/webm"
    if head[4:8] == b"ftyp":
        return "audio/mp4"
    if head.startswith(b"ID3"):
        return "audio/mpeg"
    return _raw_mpeg(head)


def _raw_mpeg(head: bytes) -> str | None:
    """A sound that begins with a frame of MPEG audio, whose header has fields that cannot have every value."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & _MPEG_SYNC != _MPEG_SYNC:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if head[1] & 0xF6 == 0xF0:
        # No layer, and the twelve bits of the mark: AAC in ADTS frames.
        return "audio/aac" if head[2] >> 2 & 15 < 13 else None
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 0 or rate in {0, 15} or frequency == 3:
        return None
    return "audio/mpeg"
