"""What is read from a completion request, and what is refused with the name of the field at fault."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadRequest
from app.core.events import Finished, Started
from app.core.request import GenerationRequest, Message
from app.surfaces.completions.fates import FATES
from app.surfaces.completions.read import read_request
from app.surfaces.completions.surface import CompletionsSurface
from app.wire.codec import decode, encode

SURFACE = CompletionsSurface()


def body(prompt="Hi", **more):
    return {"model": "m", "prompt": prompt, **more}


def user(text):
    return (Message("user", text),)


def test_the_smallest_request():
    raw = body()
    assert read_request(raw) == GenerationRequest("m", user("Hi"), max_tokens=16, raw=raw)
    assert SURFACE.read(raw) == read_request(raw)
    assert SURFACE.name == "completions"


def test_one_prompt_in_a_list_is_one_prompt():
    read = read_request(body(["Hi"]))
    assert (read.messages, read.branches) == (user("Hi"), ())


def test_each_prompt_has_its_choices_side_by_side():
    raw = body(["a", "b"], n=2, seed=5, temperature=1, stream=True)
    read = read_request(raw)
    assert read.messages == user("a")
    assert read.stream
    assert [(branch.messages, branch.knobs["seed"]) for branch in read.branches] == [
        (user("a"), 5),
        (user("a"), 6),
        (user("b"), 5),
        (user("b"), 6),
    ]
    assert all(branch.branches == () and branch.raw is raw for branch in read.branches)
    assert all(branch.knobs["temperature"] == 1 for branch in read.branches)


def test_the_upstreams_own_fields_travel_on():
    read = read_request(body(raw=True, lora="my-lora", top_k=40, nothing=None))
    assert read.extra == {"raw": True, "lora": "my-lora", "top_k": 40}


@pytest.mark.parametrize(
    "more", [{"suffix": ""}, {"best_of": 1}, {"n": 2, "best_of": 2}, {"stop": []}, {"echo": False}]
)
def test_what_asks_for_nothing_is_no_trouble(more):
    read = read_request(body(**more))
    assert (read.knobs, read.extra, read.dropped) == ({}, {}, ())


MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"

CASES = [
    ({}, "model", MISSING),
    ({"prompt": "Hi"}, "model", MISSING),
    (body(model=None), "model", MISSING),
    (body(model=""), "model", "empty_string"),
    (body(model=1), "model", TYPE),
    (body(model=["m"]), "model", TYPE),
    ({"model": "m"}, "prompt", MISSING),
    ({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}, "prompt", MISSING),
    (body(None), "prompt", MISSING),
    (body([]), "prompt", "empty_array"),
    (body(1), "prompt", TYPE),
    (body(True), "prompt", TYPE),
    (body({"text": "Hi"}), "prompt", TYPE),
    (body([1, 2]), "prompt", "unsupported_value"),
    (body([[1, 2], [3]]), "prompt", "unsupported_value"),
    (body([[]]), "prompt", "unsupported_value"),
    (body(["Hi", 1]), "prompt[1]", TYPE),
    (body([1, "Hi"]), "prompt[0]", TYPE),
    (body(["Hi", None]), "prompt[1]", TYPE),
    (body([True]), "prompt[0]", TYPE),
    (body([1.5]), "prompt[0]", TYPE),
    (body([{}]), "prompt[0]", TYPE),
    (body(["Hi"] * 17), "prompt", "array_above_max_length"),
    (body(["Hi"] * 5, n=4), "prompt", "array_above_max_length"),
    (body(["Hi"] * 2048), "prompt", "array_above_max_length"),
    (body(suffix="x"), "suffix", "unsupported_parameter"),
    (body(suffix=1), "suffix", TYPE),
    (body(max_tokens=0), "max_tokens", "integer_below_min_value"),
    (body(max_tokens=-1), "max_tokens", "integer_below_min_value"),
    (body(max_tokens="9"), "max_tokens", TYPE),
    (body(max_tokens=1.5), "max_tokens", TYPE),
    (body(max_tokens=True), "max_tokens", TYPE),
    (body(max_tokens=1e30), "max_tokens", "integer_above_max_value"),
    (body(n=0), "n", "integer_below_min_value"),
    (body(n=17), "n", "integer_above_max_value"),
    (body(n=129), "n", "integer_above_max_value"),
    (body(n="2"), "n", TYPE),
    (body(n=[2]), "n", TYPE),
    (body(best_of=0), "best_of", "integer_below_min_value"),
    (body(best_of=21), "best_of", "integer_above_max_value"),
    (body(best_of=2), "best_of", "unsupported_value"),
    (body(n=3, best_of=2), "best_of", VALUE),
    (body(best_of="2"), "best_of", TYPE),
    (body(echo="yes"), "echo", TYPE),
    (body(echo=1), "echo", TYPE),
    (body(stream="true"), "stream", TYPE),
    (body(stream=1), "stream", TYPE),
    (body(stream_options=True), "stream_options", TYPE),
    (body(stream_options={"include_usage": "yes"}), "stream_options.include_usage", TYPE),
    (body(stream_options={"include_obfuscation": 1}), "stream_options.include_obfuscation", TYPE),
    (body(logprobs=-1), "logprobs", "integer_below_min_value"),
    (body(logprobs=6), "logprobs", "integer_above_max_value"),
    (body(logprobs=True), "logprobs", TYPE),
    (body(logprobs="1"), "logprobs", TYPE),
    (body(temperature=2.1), "temperature", "decimal_above_max_value"),
    (body(temperature=-0.1), "temperature", "decimal_below_min_value"),
    (body(temperature="1"), "temperature", TYPE),
    (body(top_p=1.1), "top_p", "decimal_above_max_value"),
    (body(top_p=[]), "top_p", TYPE),
    (body(frequency_penalty=3), "frequency_penalty", "decimal_above_max_value"),
    (body(presence_penalty=-3), "presence_penalty", "decimal_below_min_value"),
    (body(seed=1.5), "seed", TYPE),
    (body(seed=2**70), "seed", "integer_above_max_value"),
    (body(stop=list("abcde")), "stop", "array_above_max_length"),
    (body(stop=["a", 1]), "stop[1]", TYPE),
    (body(stop=1), "stop", TYPE),
    (body(logit_bias=[]), "logit_bias", TYPE),
    (body(logit_bias={"1": 101}), "logit_bias.1", "decimal_above_max_value"),
    (body(logit_bias={"1": None}), "logit_bias.1", MISSING),
    (body(user=1), "user", TYPE),
]


def test_there_are_enough_of_them():
    assert len(CASES) >= 60


@pytest.mark.parametrize(("raw", "param", "code"), CASES)
def test_malformed_bodies(raw, param, code):
    with pytest.raises(BadRequest) as caught:
        read_request(raw)
    error = caught.value
    assert (error.param, error.code, error.status) == (param, code, 400)
    assert error.type == "invalid_request_error"
    assert len(error.message) < 300


def test_an_unknown_field_may_not_be_too_deep_to_be_sent():
    value = 1
    for _ in range(300):
        value = [value]
    with pytest.raises(BadRequest) as caught:
        read_request(body(x=value))
    assert caught.value.param == "x"


def test_the_bound_on_prompts_is_told():
    with pytest.raises(BadRequest, match=r"5 prompts with 4 choices each\. Expected at most 16 choices in all\.$"):
        read_request(body(["Hi"] * 5, n=4))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-3, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["\ud83d", "\x00", 1e300, -0.0]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*FATES, "include_usage"]), inner),
    max_leaves=6,
)
VALID = {
    "model": "m",
    "prompt": ["a", "b"],
    "n": 2,
    "best_of": 2,
    "echo": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "stop": ["x"],
    "logit_bias": {"1": 1},
    "seed": 1,
    "user": "u",
    "raw": True,
}


@settings(max_examples=250, deadline=None)
@given(st.dictionaries(st.sampled_from([*FATES, "unknown"]), JSON, max_size=4))
def test_whatever_is_sent_is_refused_by_name_or_answered(more):
    raw = {**copy.deepcopy(VALID), **more}
    request = refusal = None
    try:
        request = read_request(raw)
    except BadRequest as error:
        refusal = error
    if refusal is not None:
        assert refusal.param
        assert decode(encode(refusal.body()))["message"]
        return
    assert decode(encode([request.max_tokens, request.knobs, request.extra])) is not None
    writer = SURFACE.writer(request, "m", lambda prefix: prefix + "1", 0.0)
    for choice in range(len(request.branches) or 1):
        writer.feed(Started(), choice)
        last = writer.feed(Finished("stop"), choice)
    assert last.endswith(b"data: [DONE]\n\n")
