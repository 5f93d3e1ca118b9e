"""Embeddings: Q28, Q29."""

import base64
import struct

import pytest

MODEL = "@cf/baai/bge-m3"


def test_q28_base64_is_made_here_because_the_upstream_ignores_it(http, upstream):
    body = {"model": MODEL, "input": "a text", "encoding_format": "base64"}
    ignored = upstream.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert isinstance(ignored[0], float)
    made = http.post("/v1/embeddings", json=body).json()["data"][0]["embedding"]
    assert list(struct.unpack("<1024f", base64.b64decode(made, validate=True))) == pytest.approx(ignored, abs=1e-6)


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
def test_q29_token_ids_are_refused_clearly_and_not_sent(http, upstream, sent, tokens):
    body = {"model": MODEL, "input": tokens}
    assert upstream.post("/v1/embeddings", json=body).status_code == 400
    before = len(sent())
    answer = http.post("/v1/embeddings", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_value")
    assert "token ids" in answer.json()["error"]["message"]
    assert len(sent()) == before


def test_q29_more_texts_than_the_upstream_takes_are_sent_in_parts(http, upstream, sent):
    body = {"model": MODEL, "input": [f"text {number}" for number in range(101)]}
    assert upstream.post("/v1/embeddings", json=body).status_code == 400
    rows = http.post("/v1/embeddings", json=body).json()["data"]
    assert [row["index"] for row in rows] == list(range(101))
    assert [len(record["body"]["input"]) for record in sent()[-2:]] in ([100, 1], [1, 100])


def test_q29_a_text_that_is_too_long_is_told_as_such(http, upstream):
    body = {"model": "@cf/baai/bge-small-en-v1.5", "input": "word " * 600}
    assert upstream.post("/v1/embeddings", json=body).status_code == 400
    error = http.post("/v1/embeddings", json=body).json()["error"]
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")
