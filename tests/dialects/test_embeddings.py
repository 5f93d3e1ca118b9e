"""Embeddings on Workers AI: what is sent to which model, and what is made of the answers."""

import math
from array import array

import pytest

from app.catalog.catalogue import build, generic
from app.catalog.facts import bundled
from app.core.embedding import EmbeddingsRequest
from app.core.errors import BadRequest, UpstreamBroken
from app.core.task import Given
from app.dialects.embeddings import EmbeddingsDialect

DIALECT = EmbeddingsDialect()
MODELS = build(bundled())
M3 = MODELS.resolve("bge-m3")
GEMMA = MODELS.resolve("embeddinggemma-300m")
UNKNOWN = generic("@cf/some/new-embedding", DIALECT.task)


def asking(count=1, **more):
    return EmbeddingsRequest("any", [f"text {number}" for number in range(count)], **more)


def given(*vectors, usage=None, native=False):
    rows = list(vectors)
    if not native:
        rows = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return Given("application/json", b"", {"data": rows, **({"usage": usage} if usage else {})})


def vector(*numbers):
    return array("d", numbers)


def understood(request, *answers, model=M3):
    condense = DIALECT.write(asking(), M3)[0].condense
    return DIALECT.read(request, model, [condense(answer) for answer in answers])


def test_it_serves_embedding_models_only():
    assert DIALECT.serves(M3)
    assert DIALECT.serves(UNKNOWN)
    assert not DIALECT.serves(MODELS.resolve("gpt-oss-20b"))


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_no_call_has_more_than_a_hundred_texts(count, sizes):
    calls = DIALECT.write(asking(count), M3)
    assert [len(call.request.json["input"]) for call in calls] == sizes
    assert [text for call in calls for text in call.request.json["input"]] == asking(count).texts
    assert {call.request.path for call in calls} == {"/v1/embeddings"}
    assert all(call.request.json["model"] == M3.id and not call.request.stream for call in calls)
    assert all(call.estimate.prompt_tokens > 0 and call.estimate.source == "estimated" for call in calls)


@pytest.mark.parametrize(
    ("name", "options", "body"),
    [
        ("bge-base-en-v1.5", {"pooling": "cls"}, {"text": ["text 0"], "pooling": "cls"}),
        ("bge-m3", {"truncate_inputs": True}, {"text": ["text 0"], "truncate_inputs": True}),
        ("qwen3-embedding-0.6b", {"instruction": "Find"}, {"queries": ["text 0"], "instruction": "Find"}),
    ],
)
def test_cloudflares_own_fields_go_by_the_native_route(name, options, body):
    model = MODELS.resolve(name)
    (call,) = DIALECT.write(asking(options=options), model)
    assert (call.request.path, call.request.json) == (f"/run/{model.id}", body)


@pytest.mark.parametrize(
    ("model", "options"), [(M3, {"pooling": "cls"}), (GEMMA, {"truncate_inputs": True}), (GEMMA, {"instruction": "x"})]
)
def test_a_field_that_the_model_does_not_know_is_refused(model, options):
    with pytest.raises(BadRequest) as refused:
        DIALECT.write(asking(options=options), model)
    assert (refused.value.param, refused.value.code) == (next(iter(options)), "unsupported_parameter")


def test_a_model_that_nobody_knows_is_sent_what_is_asked():
    (call,) = DIALECT.write(asking(options={"pooling": "cls"}), UNKNOWN)
    assert call.request.json["pooling"] == "cls"


@pytest.mark.parametrize(("model", "wanted"), [(M3, 1024), (GEMMA, 768), (GEMMA, 128), (GEMMA, 300)])
def test_dimensions_that_can_be_had(model, wanted):
    assert "dimensions" not in DIALECT.write(asking(dimensions=wanted), model)[0].request.json


@pytest.mark.parametrize(
    ("model", "wanted", "code"),
    [
        (M3, 512, "unsupported_parameter"),
        (M3, 2048, "unsupported_parameter"),
        (UNKNOWN, 256, "unsupported_parameter"),
        (MODELS.resolve("plamo-embedding-1b"), 256, "unsupported_parameter"),
        (GEMMA, 127, "integer_below_min_value"),
        (GEMMA, 769, "integer_above_max_value"),
    ],
)
def test_dimensions_that_cannot(model, wanted, code):
    with pytest.raises(BadRequest) as refused:
        DIALECT.write(asking(dimensions=wanted), model)
    assert (refused.value.param, refused.value.code) == ("dimensions", code)


def test_vectors_keep_the_order_of_the_calls_and_of_the_indices():
    answer = given([2.0], [3.0])
    answer.result["data"].reverse()
    found = understood(asking(3), given([1.0]), answer).result
    assert found.vectors == [vector(1.0), vector(2.0), vector(3.0)]


def test_native_rows_are_vectors_themselves():
    assert understood(asking(2), given([1, 2], [3, 4], native=True)).result.vectors == [vector(1, 2), vector(3, 4)]


def test_a_shorter_vector_is_the_beginning_brought_to_length_one():
    found = understood(asking(dimensions=2), given([3.0, 4.0, 12.0]), model=GEMMA).result
    assert list(found.vectors[0]) == pytest.approx([0.6, 0.8])
    assert math.hypot(*found.vectors[0]) == pytest.approx(1.0)
    assert understood(asking(dimensions=2), given([0.0, 0.0, 1.0]), model=GEMMA).result.vectors == [vector(0, 0)]


def test_the_models_own_length_changes_nothing():
    assert understood(asking(dimensions=3), given([3.0, 4.0, 12.0])).result.vectors == [vector(3, 4, 12)]


def test_usage_is_summed_where_every_call_tells_it():
    told = [given([1.0], usage={"prompt_tokens": tokens, "neurons": 0.5}) for tokens in (4, 5)]
    usage = understood(asking(2), *told).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.neurons, usage.source) == (9, 0, 1.0, "summed")


@pytest.mark.parametrize("silent", [None, {"prompt_tokens": 0}, {"prompt_tokens": "many"}])
def test_usage_is_estimated_where_one_does_not(silent):
    found = understood(asking(2), given([1.0], usage={"prompt_tokens": 4}), given([1.0], usage=silent))
    assert found.usage.source == "estimated"
    assert found.usage.prompt_tokens == found.result.tokens == 4
    assert found.usage.neurons is None


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        {},
        {"data": None},
        {"data": []},
        {"data": [[]]},
        {"data": [["a"]]},
        {"data": [[None]]},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 7, "embedding": [1.0]}]},
        {"data": [{"index": "0", "embedding": [1.0]}]},
        {"data": [[1.0], [2.0]]},
        {"data": [[1.0], {"index": 1, "embedding": [1.0]}]},
        {"data": [[10**400]]},
    ],
)
def test_what_is_no_vector_for_each_text_is_a_failure(result):
    with pytest.raises(UpstreamBroken):
        understood(asking(), Given("application/json", b"", result))


def test_vectors_of_different_lengths_are_a_failure():
    with pytest.raises(UpstreamBroken):
        understood(asking(2), given([1.0], [1.0, 2.0]))
    with pytest.raises(UpstreamBroken):
        understood(asking(dimensions=3), given([1.0, 2.0]), model=GEMMA)
