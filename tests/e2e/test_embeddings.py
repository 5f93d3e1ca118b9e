"""Embeddings by the official SDK, in its default encoding and in the other."""

import base64
import math
import struct

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from app.emulator.embeddings import vector

MODEL = "@cf/baai/bge-m3"
CUT = "@cf/google/embeddinggemma-300m"
TEXTS = [f"text number {number}" for number in range(250)]


@pytest.fixture(scope="session")
def usual_sdk(proxy):
    """As programs make it. With strict validation the SDK looks at an answer before it decodes its own base64."""
    with OpenAI(base_url=f"{proxy}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def usual_async_sdk(proxy):
    async with AsyncOpenAI(base_url=f"{proxy}/v1", api_key="any", max_retries=0) as client:
        yield client


def received(control):
    return [record for record in control.get("/requests").json() if record["method"] == "POST"]


def test_the_default_encoding_is_the_same_as_float(usual_sdk, sdk):
    default = usual_sdk.embeddings.create(model=MODEL, input="a café — 日本")
    floats = sdk.embeddings.create(model=MODEL, input="a café — 日本", encoding_format="float")
    assert len(floats.data[0].embedding) == 1024
    assert default.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert default.usage == floats.usage
    assert default.usage.prompt_tokens == default.usage.total_tokens > 0
    assert (default.model, default.object, default.data[0].object) == (MODEL, "list", "embedding")


async def test_and_asynchronously(usual_async_sdk, async_sdk):
    default = await usual_async_sdk.embeddings.create(model="bge-m3", input=["one", "two"])
    floats = await async_sdk.embeddings.create(model="bge-m3", input=["one", "two"], encoding_format="float")
    for one, other in zip(default.data, floats.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert default.model == "bge-m3"


def test_the_sdk_asks_for_base64_and_the_bytes_are_little_endian_float32(http, sdk, control):
    body = {"model": MODEL, "input": ["a cat", "a dog"], "encoding_format": "base64"}
    rows = http.post("/v1/embeddings", json=body).json()["data"]
    whole = sdk.embeddings.create(model=MODEL, input=["a cat", "a dog"], encoding_format="float")
    for row, expected in zip(rows, whole.data, strict=True):
        raw = base64.b64decode(row["embedding"], validate=True)
        assert list(struct.unpack("<1024f", raw)) == pytest.approx(expected.embedding, abs=1e-6)
    assert all("encoding_format" not in record["body"] for record in received(control))


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_250_texts_come_back_in_their_order(usual_sdk, control, encoding):
    answer = usual_sdk.embeddings.with_raw_response.create(model=MODEL, input=TEXTS, encoding_format=encoding)
    rows = answer.http_response.json()["data"]
    assert [row["index"] for row in rows] == list(range(250))
    sent = received(control)
    assert sorted(len(record["body"]["input"]) for record in sent) == [50, 100, 100]
    for place in (0, 99, 100, 199, 200, 249):
        shown = rows[place]["embedding"]
        found = shown if encoding == "float" else struct.unpack("<1024f", base64.b64decode(shown))
        assert list(found) == pytest.approx(vector(TEXTS[place], 1024), abs=1e-6)
    assert answer.headers["x-flarelay-model"] == MODEL
    assert float(answer.headers["x-flarelay-neurons"]) == pytest.approx(
        sum(record["neurons"] for record in sent), abs=1e-3
    )


def test_dimensions_cut_and_bring_to_length_one(sdk, usual_sdk):
    whole = sdk.embeddings.create(model=CUT, input="a text", encoding_format="float").data[0].embedding
    short = sdk.embeddings.create(model=CUT, input="a text", encoding_format="float", dimensions=256).data[0].embedding
    length = math.hypot(*whole[:256])
    assert short == pytest.approx([part / length for part in whole[:256]], abs=1e-6)
    assert math.hypot(*short) == pytest.approx(1.0, abs=1e-6)
    default = usual_sdk.embeddings.create(model=CUT, input="a text", dimensions=256).data[0].embedding
    assert default == pytest.approx(short, abs=1e-6)


def test_dimensions_are_refused_where_the_model_was_not_trained_for_them(sdk):
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(model=MODEL, input="a text", dimensions=256)
    assert (refused.value.param, refused.value.code) == ("dimensions", "unsupported_parameter")
    assert len(sdk.embeddings.create(model=MODEL, input="x", encoding_format="float", dimensions=1024).data) == 1


def test_cloudflares_own_fields_do_what_they_say(sdk, control):
    def embedded(model, text="a text", **more):
        answer = sdk.embeddings.create(model=model, input=text, encoding_format="float", extra_body=more)
        assert answer.usage.prompt_tokens > 0
        return answer.data[0].embedding

    for model, more in (
        ("@cf/baai/bge-base-en-v1.5", {"pooling": "cls"}),
        ("@cf/qwen/qwen3-embedding-0.6b", {"instruction": "Find what answers this."}),
    ):
        assert embedded(model, **more) != embedded(model)
        assert received(control)[-2]["path"].endswith(f"/run/{model}")
    long = "word " * 60_001
    with pytest.raises(openai.BadRequestError) as refused:
        embedded(MODEL, long)
    assert (refused.value.param, refused.value.code) == ("input", "context_length_exceeded")
    assert len(embedded(MODEL, long, truncate_inputs=True)) == 1024


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": ""}, "input", "empty_string"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": [1, 2, 3]}, "input", "unsupported_value"),
        ({"input": [[1], [2]]}, "input[0]", "unsupported_value"),
        ({"input": "word " * 600, "model": "bge-small-en-v1.5"}, "input", "context_length_exceeded"),
        ({"input": "a", "model": "bge-m3", "extra_body": {"pooling": "cls"}}, "pooling", "unsupported_parameter"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ],
)
def test_what_is_wrong_is_refused_by_name(sdk, fields, param, code):
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.embeddings.create(**{"model": MODEL, **fields})
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("model", ["no-such-model", "@cf/openai/gpt-oss-20b"])
def test_a_model_that_makes_no_embeddings_is_not_found(sdk, model):
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.embeddings.create(model=model, input="a")
    assert refused.value.param == "model"


def test_the_user_goes_no_further(sdk, control):
    sdk.embeddings.create(model=MODEL, input="a", encoding_format="float", user="somebody")
    (record,) = received(control)
    assert record["body"] == {"model": MODEL, "input": ["a"]}


def test_a_form_is_refused(http):
    answer = http.post("/v1/embeddings", files={"file": b"x"}, data={"model": MODEL})
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("quota", 429, "insufficient_quota"),
        ("capacity", 429, "rate_limit_exceeded"),
        ("cut", 502, "upstream_truncated"),
        ("empty-stream", 502, "upstream_error"),
    ],
)
def test_the_upstreams_failures_are_told(http, control, fault, status, code):
    control.post("/faults", json={"fault": fault, "times": None}).raise_for_status()
    answer = http.post("/v1/embeddings", json={"model": MODEL, "input": TEXTS})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-flarelay-model"] == MODEL
