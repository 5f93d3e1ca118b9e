"""What is to be ranked and how it was, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from app.core.quiet import Quiet


class RankingRequest(Quiet, frozen=True):
    """Documents to be ranked by how well they answer a query.

    Attributes:
        model: As the client named it.
        query: The query.
        texts: The documents' texts, in the client's order.
        documents: The documents as the client wrote them, to be given back; empty where they are not wanted.
        most: How many of the best are wanted; ``None`` for all.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"query", "texts", "documents"})

    model: str
    query: str
    texts: Sequence[str]
    documents: Sequence[Mapping[str, Any]] = ()
    most: int | None = None
    dropped: tuple[str, ...] = ()


class Rank(NamedTuple):
    """One document's place.

    Attributes:
        place: The document's, in the request.
        score: How well it answers the query, from 0 to 1.
    """

    place: int
    score: float


class Ranking(Struct, frozen=True):
    """The best documents, best first.

    Attributes:
        ranks: The documents.
        tokens: How many tokens were read.
    """

    ranks: Sequence[Rank]
    tokens: int
