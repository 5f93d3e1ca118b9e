"""What is paid for by other units than tokens: minutes of sound, characters, pieces and steps of pictures."""

from __future__ import annotations

import math
from typing import Final

TILE: Final = 512
"""The side of the square by which Cloudflare counts the size of pictures, in pixels."""

MEGAPIXEL: Final = 1024 * 1024


def sound_units(seconds: float) -> dict[str, float]:
    """The units of a sound."""
    return {"per audio minute": seconds / 60}


def text_units(text: str) -> dict[str, float]:
    """The units of a text that is spoken."""
    return {"per 1k characters": len(text) / 1000}


def picture_units(width: int, height: int, steps: int, sources: int = 0) -> dict[str, float]:
    """The units of one picture that is drawn.

    Args:
        width: In pixels.
        height: Likewise.
        steps: How many were taken.
        sources: How many pictures were given; each is counted as large as the one that is drawn.
    """
    tiles = math.ceil(width / TILE) * math.ceil(height / TILE)
    megapixels = max(math.ceil(width * height / MEGAPIXEL), 1)
    return {
        "per 512 by 512 tile": tiles,
        "per step": steps,
        "per output tile": tiles,
        "per output tile and step": tiles * steps,
        "per input tile": tiles * sources,
        "per input tile and step": tiles * steps * sources,
        "per first output megapixel": 1,
        "per next output megapixel": megapixels - 1,
        "per input megapixel": megapixels * sources,
    }
