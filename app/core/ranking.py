"""What is to be ranked and how it was, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """Documents to be ranked by how well they answer a query.

    Attributes:
        model: As the client named it.
        query: The query.
        texts: The documents' texts, in the client's order.
        documents: The documents as the client wrote them, to be given back; empty where they are not wanted.
        most: How many of the best are wanted; ``None`` for all.
        dropped: Fields that nothing is done with.
    """

    model: str
    query: str = field(repr=False)
    texts: Sequence[str] = field(repr=False)
    documents: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
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


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents, best first.

    Attributes:
        ranks: The documents.
        tokens: How many tokens were read.
    """

    ranks: Sequence[Rank]
    tokens: int
