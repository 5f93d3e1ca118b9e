"""Ranking as the clients of Jina and Cohere ask for it."""

import orjson
import pytest

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.ranking import Rank, Ranking
from app.surfaces.rerank.fates import DROPPED, FATES
from app.surfaces.rerank.surface import RerankSurface

SURFACE = RerankSurface()
DOCUMENTS = ["a dog", {"text": "a cat", "id": 7}]


def read(**fields):
    return SURFACE.read({"model": "bge-reranker-base", "query": "cats", "documents": DOCUMENTS, **fields})


def written(request):
    ranking = Ranking([Rank(1, 0.9), Rank(0, 0.1)], 12)
    reply = SURFACE.answer(request, ranking, Model("@cf/baai/bge-reranker-base"), lambda prefix: f"{prefix}1", 0.0)
    return orjson.loads(reply.body)


def test_documents_are_texts_or_objects_with_one():
    request = read(top_n=1)
    assert (request.query, request.texts, request.most) == ("cats", ["a dog", "a cat"], 1)


def test_the_answer_has_the_shape_of_both():
    assert written(read()) == {
        "id": "rerank-1",
        "object": "list",
        "model": "bge-reranker-base",
        "results": [
            {"index": 1, "relevance_score": 0.9, "document": {"text": "a cat", "id": 7}},
            {"index": 0, "relevance_score": 0.1, "document": {"text": "a dog"}},
        ],
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
    }


def test_documents_are_left_out_when_they_are_not_wanted():
    assert written(read(return_documents=False))["results"] == [
        {"index": 1, "relevance_score": 0.9},
        {"index": 0, "relevance_score": 0.1},
    ]


@pytest.mark.parametrize("name", DROPPED)
def test_what_cannot_be_done_is_told(name):
    assert read(**{name: 1}).dropped == (name,)
    assert read(**{name: None}).dropped == ()
    assert FATES[name].kind == "dropped"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"query": None}, "query", "missing_required_parameter"),
        ({"query": ""}, "query", "empty_string"),
        ({"query": {"text": "cats"}}, "query", "invalid_type"),
        ({"documents": None}, "documents", "missing_required_parameter"),
        ({"documents": "a dog"}, "documents", "invalid_type"),
        ({"documents": []}, "documents", "empty_array"),
        ({"documents": ["a"] * 1001}, "documents", "array_above_max_length"),
        ({"documents": ["a", 7]}, "documents[1]", "invalid_type"),
        ({"documents": ["a", ""]}, "documents[1]", "empty_string"),
        ({"documents": [{"title": "a"}]}, "documents[0].text", "missing_required_parameter"),
        ({"documents": [{"text": 7}]}, "documents[0].text", "invalid_type"),
        ({"documents": [{"text": ""}]}, "documents[0].text", "empty_string"),
        ({"top_n": 0}, "top_n", "integer_below_min_value"),
        ({"top_n": "2"}, "top_n", "invalid_type"),
        ({"return_documents": "no"}, "return_documents", "invalid_type"),
        ({"rank_fields": ["title"]}, "rank_fields", "unsupported_value"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields, param, code):
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_the_only_field_that_is_ranked_by_may_be_named():
    assert read(rank_fields=["text"]).texts == ["a dog", "a cat"]
