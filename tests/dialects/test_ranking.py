"""Ranking on Workers AI: what is sent, and how the parts of a long list are put together."""

import pytest

from app.catalog.catalogue import build, generic
from app.catalog.facts import bundled
from app.core.errors import UpstreamBroken
from app.core.ranking import RankingRequest
from app.core.task import Given
from app.dialects.ranking import RankingDialect

DIALECT = RankingDialect()
MODELS = build(bundled())
RERANKER, M3 = MODELS.resolve("bge-reranker-base"), MODELS.resolve("bge-m3")


def asking(count, **more):
    return RankingRequest("any", "what", [f"text {number}" for number in range(count)], **more)


def given(*scores):
    return Given("application/json", b"", {"response": [{"id": place, "score": score} for place, score in scores]})


def test_it_serves_rerankers_only():
    assert DIALECT.serves(RERANKER)
    assert DIALECT.serves(M3)
    assert DIALECT.serves(generic("@cf/some/new-model", DIALECT.task))
    assert DIALECT.serves(generic("@cf/some/new-reranker"))
    assert not DIALECT.serves(generic("@cf/some/new-model"))
    assert not DIALECT.serves(MODELS.resolve("distilbert-sst-2-int8"))
    assert not DIALECT.serves(MODELS.resolve("bge-base-en-v1.5"))


def test_how_many_are_wanted_is_always_said_where_it_can_be():
    (call,) = DIALECT.write(asking(3, most=2), RERANKER)
    assert call.request.path == f"/run/{RERANKER.id}"
    contexts = [{"text": "text 0"}, {"text": "text 1"}, {"text": "text 2"}]
    assert call.request.json == {"query": "what", "contexts": contexts, "top_k": 2}
    assert DIALECT.write(asking(3), RERANKER)[0].request.json["top_k"] == 3
    assert DIALECT.write(asking(3, most=9), RERANKER)[0].request.json["top_k"] == 3
    assert "top_k" not in DIALECT.write(asking(3, most=2), M3)[0].request.json


def test_a_long_list_is_put_together_by_score():
    request = asking(150, most=3)
    first, second = DIALECT.write(request, RERANKER)
    assert (len(first.request.json["contexts"]), len(second.request.json["contexts"])) == (100, 50)
    answers = [given((7, 0.9), (3, 0.2), (4, 0.1)), given((49, 0.95), (0, 0.3), (1, 0.01))]
    ranks = DIALECT.read(request, RERANKER, answers).result.ranks
    assert [(rank.place, rank.score) for rank in ranks] == [(149, 0.95), (7, 0.9), (100, 0.3)]


def test_more_than_was_wanted_is_cut_and_equals_keep_their_order():
    ranks = DIALECT.read(asking(3, most=2), M3, [given((2, 0.5), (0, 0.5), (1, 0.9))]).result.ranks
    assert [rank.place for rank in ranks] == [1, 0]


def test_usage_is_an_estimate_that_counts_the_query_with_every_document():
    one, ten = (
        DIALECT.read(asking(count), M3, [given(*((place, 0.5) for place in range(count)))]) for count in (1, 10)
    )
    assert ten.usage.source == "estimated"
    assert ten.usage.prompt_tokens == ten.result.tokens == 10 * one.usage.prompt_tokens


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        {"response": None},
        {"response": []},
        {"response": [{"id": 0, "score": 0.1}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": 0, "score": 0.2}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": 2, "score": 0.2}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": -1, "score": 0.2}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": "1", "score": 0.2}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": 1, "score": None}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": 1, "score": True}]},
        {"response": [{"id": 0, "score": 0.1}, {"id": 1, "score": float("inf")}]},
        {"response": [{"id": 0, "score": 0.1}, "text 1"]},
    ],
)
def test_what_is_no_score_for_each_document_is_a_failure(result):
    with pytest.raises(UpstreamBroken):
        DIALECT.read(asking(2), RERANKER, [Given("application/json", b"", result)])
