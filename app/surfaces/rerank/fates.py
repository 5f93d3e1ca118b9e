"""What becomes of each field of a rerank request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate

DROPPED: Final = ("max_chunks_per_doc", "max_tokens_per_doc", "overlap_tokens", "truncation", "priority")
"""Fields that say how to cut what is too long, and when to answer."""

FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model: its id, its short name or an alias."),
    "query": Fate("mapped", "What the documents are ranked by."),
    "documents": Fate(
        "mapped",
        "Up to 1,000 texts, or objects with a `text`; more than 100 are ranked in several calls and put together.",
    ),
    "top_n": Fate("mapped", "How many of the best are told; all where it is absent or larger."),
    "return_documents": Fate("mapped", "`false` leaves the documents out of the answer; they are in it otherwise."),
    "rank_fields": Fate("refused", "Other fields of a document than `text` are not ranked by."),
    **{name: Fate("dropped", "Told in the header; the model cuts what is too long.") for name in DROPPED},
}
"""Every field of Jina's and Cohere's schemas."""
