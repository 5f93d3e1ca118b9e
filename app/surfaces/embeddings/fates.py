"""What becomes of each field of an embeddings request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate

FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model: its id, its short name or an alias."),
    "input": Fate(
        "mapped",
        "A text or up to 2,048; more than 100 are sent in several calls. Token ids and empty texts are refused.",
    ),
    "encoding_format": Fate("emulated", "`float`, or `base64` of 32-bit floats, little-endian, which is made here."),
    "dimensions": Fate(
        "emulated",
        "The vectors are cut and brought to length 1, on models that are trained for it; refused on others.",
    ),
    "user": Fate("ignored", "Goes no further."),
    "pooling": Fate("relayed", "Cloudflare's own: `mean` or `cls`; refused on models that do not know it."),
    "truncate_inputs": Fate("relayed", "Cloudflare's own: cut what is too long; refused likewise."),
    "instruction": Fate("relayed", "Cloudflare's own: what the texts are queries for; refused likewise."),
}
"""Every field of OpenAI's schema, and Cloudflare's own."""
