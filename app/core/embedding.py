"""What is to be embedded and what came of it, in words that belong to no surface and no dialect."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from app.core.quiet import Quiet

Vector: TypeAlias = "array[float]"
"""Doubles, or singles where they are written as such: as Python's own numbers they would take four times the memory."""


class Embedding(Struct, frozen=True):
    """The facts about an embedding model on which its requests depend.

    Attributes:
        options: Which of Cloudflare's own fields it takes.
        least_dimensions: It was trained so that a vector's beginning is a vector too (Matryoshka); this is the shortest
            one. ``None`` when its vectors cannot be cut.
    """

    options: frozenset[str] = frozenset()
    least_dimensions: int | None = None


class EmbeddingsRequest(Quiet, frozen=True):
    """Texts to be embedded.

    Attributes:
        model: As the client named it.
        texts: The texts; none of them is empty.
        encoding: How the vectors are written.
        dimensions: How long the vectors are to be; ``None`` for as long as they are.
        options: Cloudflare's own fields: ``pooling``, ``truncate_inputs``, ``instruction``.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"texts"})

    model: str
    texts: Sequence[str]
    encoding: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


class Embeddings(Quiet, frozen=True):
    """The vectors of texts, in their order, all of one length.

    Attributes:
        vectors: The vectors.
        tokens: How many tokens the texts have.
    """

    hidden = frozenset({"vectors"})

    vectors: Sequence[Vector]
    tokens: int
