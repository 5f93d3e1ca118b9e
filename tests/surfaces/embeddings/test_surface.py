"""Embeddings as OpenAI's clients ask for them: what is read, what is refused and by which name, what is written."""

import base64
import math
import struct
from array import array

import orjson
import pytest
from openai.types import CreateEmbeddingResponse, EmbeddingCreateParams

from app.core.embedding import Embeddings
from app.core.errors import BadRequest
from app.core.model import Model
from app.surfaces.embeddings.fates import FATES
from app.surfaces.embeddings.surface import EmbeddingsSurface

SURFACE = EmbeddingsSurface()
OURS = {"pooling", "truncate_inputs", "instruction"}


def read(**fields):
    return SURFACE.read({"model": "bge-m3", "input": "a text", **fields})


def written(request, vectors, tokens=7):
    result = Embeddings([array("d", vector) for vector in vectors], tokens)
    reply = SURFACE.answer(request, result, Model("@cf/baai/bge-m3"), lambda prefix: prefix, 0.0)
    assert reply.content_type == "application/json"
    return orjson.loads(reply.body)


def test_every_property_of_the_sdk_has_a_fate_and_no_other():
    assert set(FATES) == set(EmbeddingCreateParams.__annotations__) | OURS


@pytest.mark.parametrize(
    ("given", "texts"), [("one", ["one"]), (["one"], ["one"]), (["b", "a", "b"], ["b", "a", "b"]), (" ", [" "])]
)
def test_texts_are_read_in_their_order(given, texts):
    assert read(input=given).texts == texts


def test_what_is_not_said_is_openais_default():
    request = read(user="somebody", unknown=1)
    assert (request.encoding, request.dimensions, request.options, request.dropped) == ("float", None, {}, ())


def test_what_is_said_is_kept():
    request = read(encoding_format="base64", dimensions=256, pooling="cls", truncate_inputs=False, instruction="Find")
    assert (request.encoding, request.dimensions) == ("base64", 256)
    assert request.options == {"pooling": "cls", "truncate_inputs": False, "instruction": "Find"}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ""}, "model", "empty_string"),
        ({"model": 7}, "model", "invalid_type"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": {"text": "a"}}, "input", "invalid_type"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": ["a", 1.5]}, "input[1]", "invalid_type"),
        ({"input": ["a", None]}, "input[1]", "invalid_type"),
        ({"input": [True]}, "input[0]", "invalid_type"),
        ({"input": [1, 2, 3]}, "input", "unsupported_value"),
        ({"input": [[1, 2], [3]]}, "input[0]", "unsupported_value"),
        ({"input": ["a", [3]]}, "input[1]", "unsupported_value"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"encoding_format": 1}, "encoding_format", "invalid_type"),
        ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"dimensions": "256"}, "dimensions", "invalid_type"),
        ({"pooling": "max"}, "pooling", "invalid_value"),
        ({"truncate_inputs": "yes"}, "truncate_inputs", "invalid_type"),
        ({"instruction": ["x"]}, "instruction", "invalid_type"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields, param, code):
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_floats_are_written_as_they_came():
    vectors = [[0.25, -0.1, 1e-9], [1.0, 0.0, 0.5]]
    body = written(read(), vectors)
    assert CreateEmbeddingResponse.model_validate(body, strict=True)
    assert [row["embedding"] for row in body["data"]] == vectors
    assert [row["index"] for row in body["data"]] == [0, 1]
    assert (body["model"], body["usage"]) == ("bge-m3", {"prompt_tokens": 7, "total_tokens": 7})


def test_base64_is_little_endian_float32():
    vector = [0.1, -2.5, 3e-8, math.pi]
    (row,) = written(read(encoding_format="base64"), [vector])["data"]
    raw = base64.b64decode(row["embedding"], validate=True)
    assert len(raw) == 16
    assert list(struct.unpack("<4f", raw)) == pytest.approx(vector, rel=1e-6)
