"""Ranking on Workers AI: a query and contexts in, scores out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.errors import UpstreamBroken
from app.core.model import Model
from app.core.ranking import Rank, Ranking, RankingRequest
from app.core.task import Call, Given, Understood
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage, estimate_tokens

MOST_CONTEXTS: Final = 100
"""Of one call. A document's score does not depend on the others, so the parts can be put together."""


class RankingDialect:
    """What is spoken to reranking models."""

    name = "ranking"
    task = "Text Classification"
    verb = "rank documents"
    fields: Mapping[str, str] = {"query": "query", "contexts": "documents", "top_k": "top_n"}

    def serves(self, model: Model) -> bool:
        """This is spoken to a model."""
        return model.reranks

    def write(self, request: RankingRequest, model: Model) -> Sequence[Call]:
        """Translate a request: one call for every hundred documents."""
        calls = []
        for texts in _parts(request):
            body: dict[str, Any] = {"query": request.query, "contexts": [{"text": text} for text in texts]}
            if model.task == self.task:
                # Embedding models, which rank as well, do not take it; they tell all scores.
                body["top_k"] = _wanted(request, texts)
            calls.append(Call(UpstreamRequest(f"/run/{model.id}", body, stream=False), _estimated(request, texts)))
        return calls

    def read(self, request: RankingRequest, model: Model, answers: Sequence[Given]) -> Understood[Ranking]:  # noqa: ARG002
        """Understand the answers.

        Raises:
            UpstreamBroken: They do not hold a score for each document that is wanted.
        """
        ranks: list[Rank] = []
        start = 0
        for given, texts in zip(answers, _parts(request), strict=True):
            found = _ranks(given.result, len(texts))
            if len(found) < _wanted(request, texts):
                raise _unreadable()
            ranks += [Rank(start + rank.place, rank.score) for rank in found]
            start += len(texts)
        ranks.sort(key=lambda rank: (-rank.score, rank.place))
        tokens = _estimated(request, request.texts).prompt_tokens
        return Understood(Ranking(ranks[: request.most], tokens), Usage(tokens, 0, source="estimated"))


def _parts(request: RankingRequest) -> list[Sequence[str]]:
    return [request.texts[start : start + MOST_CONTEXTS] for start in range(0, len(request.texts), MOST_CONTEXTS)]


def _wanted(request: RankingRequest, texts: Sequence[str]) -> int:
    return len(texts) if request.most is None else min(request.most, len(texts))


def _estimated(request: RankingRequest, texts: Sequence[str]) -> Usage:
    """The model reads the query once with each document; Cloudflare does not tell its tokens."""
    tokens = estimate_tokens(request.query) * len(texts) + sum(map(estimate_tokens, texts))
    return Usage(tokens, 0, source="estimated")


def _ranks(result: Any, count: int) -> list[Rank]:  # noqa: ANN401 - whatever the upstream sent
    rows = result.get("response") if isinstance(result, dict) else None
    if not isinstance(rows, list):
        raise _unreadable()
    ranks: dict[int, Rank] = {}
    for row in rows:
        index, score = (row.get("id"), row.get("score")) if isinstance(row, dict) else (None, None)
        if type(index) is not int or not 0 <= index < count or index in ranks:
            raise _unreadable()
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise _unreadable()
        ranks[index] = Rank(index, float(score))
    return list(ranks.values())


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken("Workers AI sent a ranking that cannot be read.")
