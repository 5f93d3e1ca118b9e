"""What becomes of each field of a moderation request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate

FATES: Final[Mapping[str, Fate]] = {
    "input": Fate(
        "mapped",
        "A text, a list of up to 100 texts with a result each, or a list of text parts with one result. Images are "
        "refused: the model does not see.",
    ),
    "model": Fate("mapped", "The model; where it is absent or one of OpenAI's moderation models, `llama-guard-3-8b`."),
}
"""Every field of OpenAI's schema."""
