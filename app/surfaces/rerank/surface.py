"""``POST /v1/rerank``, which OpenAI does not have: in the form of Jina, and of Cohere as far as the two agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.model import Model
from app.core.ranking import Ranking, RankingRequest
from app.core.surface import NewId
from app.core.task import TaskReply
from app.surfaces.fields import array, boolean, integer, invalid, need, string, strings, unsupported_value, wrong_type
from app.surfaces.rerank.fates import DROPPED, FATES
from app.wire.codec import encode

MOST_DOCUMENTS: Final = 1_000


class RerankSurface:
    """``POST /v1/rerank``."""

    name = "rerank"
    main_field = "documents"
    form = None
    fates = FATES

    def stand_in(self, name: str) -> None:
        """None: scores of another model than the one that was meant are of no use."""

    def read(self, body: Mapping[str, Any]) -> RankingRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        fields = strings(body, "rank_fields")
        if fields and list(fields) != ["text"]:
            raise unsupported_value(("rank_fields",), ", ".join(fields), "Documents are ranked by their 'text'.")
        model = need(string(body, "model", min_length=1), "model")
        query = need(string(body, "query", min_length=1), "query")
        documents = _documents(body)
        return RankingRequest(
            model=model,
            query=query,
            texts=[document["text"] for document in documents],
            documents=documents if boolean(body, "return_documents") is not False else (),
            most=integer(body, "top_n", minimum=1),
            dropped=tuple(name for name in DROPPED if body.get(name) is not None),
        )

    def answer(
        self,
        request: RankingRequest,
        result: Ranking,
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,
        now: float,  # noqa: ARG002 - the object has no time
    ) -> TaskReply:
        """Write the best documents, best first."""
        results: list[dict[str, Any]] = [{"index": rank.place, "relevance_score": rank.score} for rank in result.ranks]
        for shown in results if request.documents else ():
            shown["document"] = request.documents[shown["index"]]
        body = {
            "id": new_id("rerank-"),
            "object": "list",
            "model": request.model,
            "results": results,
            "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        }
        return TaskReply(encode(body))


def _documents(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    values = need(array(body, "documents", min_length=1, max_length=MOST_DOCUMENTS), "documents")
    documents: list[Mapping[str, Any]] = []
    for index, value in enumerate(values):
        path = ("documents", index)
        if isinstance(value, dict):
            need(string(value, "text", path, min_length=1), "text", path)
            documents.append(value)
        elif isinstance(value, str):
            if not value:
                raise invalid(path, "empty string. Expected a text to rank.", "empty_string")
            documents.append({"text": value})
        else:
            raise wrong_type(path, "a string or an object with a text", value)
    return documents
