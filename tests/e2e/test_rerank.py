"""Ranking over HTTP; no SDK of OpenAI's knows it, though its client can post anything."""

import pytest

DOCUMENTS = ["the sea is blue", "when do cats sleep", {"text": "cats sleep all day", "id": 7}]


def ranked(http, **fields):
    body = {"model": "bge-reranker-base", "query": "when do cats sleep", "documents": DOCUMENTS, **fields}
    return http.post("/v1/rerank", json=body)


@pytest.mark.parametrize("model", ["bge-reranker-base", "bge-m3"])
def test_the_best_document_comes_first(http, model):
    answer = ranked(http, model=model)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [row["index"] for row in body["results"]] == [1, 2, 0]
    scores = [row["relevance_score"] for row in body["results"]]
    assert scores == sorted(scores, reverse=True)
    assert [row["document"] for row in body["results"]] == [
        {"text": DOCUMENTS[1]},
        DOCUMENTS[2],
        {"text": DOCUMENTS[0]},
    ]
    assert body["model"] == model
    assert body["usage"]["total_tokens"] > 0
    assert float(answer.headers["x-flarelay-neurons"]) > 0


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (2, 2), (3, 3), (50, 3)])
def test_only_so_many_are_told(http, top_n, count):
    rows = ranked(http, top_n=top_n, return_documents=False).json()["results"]
    assert [row["index"] for row in rows] == [1, 2, 0][:count]
    assert all("document" not in row for row in rows)


def test_a_long_list_is_ranked_in_parts_and_put_together(http, control):
    documents = [f"nothing in common, number {number}" for number in range(240)]
    documents[150], documents[30] = "when do cats sleep", "cats sleep"
    rows = ranked(http, documents=documents, top_n=3).json()["results"]
    assert [row["index"] for row in rows][:2] == [150, 30]
    assert len(rows) == 3
    sent = [record["body"] for record in control.get("/requests").json() if record["method"] == "POST"]
    assert sorted(len(body["contexts"]) for body in sent) == [40, 100, 100]
    assert {body["top_k"] for body in sent} == {3}


def test_the_sdk_can_post_it_too(sdk):
    body = {"model": "bge-reranker-base", "query": "cats", "documents": ["a dog", "cats"]}
    answer = sdk.post("/rerank", cast_to=object, body=body)
    assert answer["results"][0]["index"] == 1


def test_what_cannot_be_done_is_told(http):
    answer = ranked(http, max_tokens_per_doc=512)
    assert (answer.status_code, answer.headers["x-flarelay-dropped"]) == (200, "max_tokens_per_doc")


@pytest.mark.parametrize("model", ["distilbert-sst-2-int8", "gpt-oss-20b", "bge-base-en-v1.5"])
def test_a_model_that_does_not_rank_is_not_found(http, model):
    answer = ranked(http, model=model)
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "model")
