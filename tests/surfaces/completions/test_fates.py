"""Nothing that OpenAI's clients can send is forgotten: the SDK's own request type is the list."""

import pytest
from openai.types.completion_create_params import (
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from app.core.errors import BadRequest
from app.core.request import Message
from app.surfaces.completions.fates import FATES
from app.surfaces.completions.read import read_request
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.fates import fates_table

TYPES = (CompletionCreateParamsBase, CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)


def properties():
    return {name for kind in TYPES for name in kind.__annotations__}


def test_the_list_is_the_whole_list():
    assert {"model", "prompt", "stream", "suffix", "best_of"} <= properties()
    assert len(properties()) >= 18


def test_every_property_has_a_fate():
    assert properties() - set(FATES) == set()


def test_every_fate_is_of_a_property_that_the_sdk_knows():
    assert set(FATES) - properties() == set()


def test_the_table_tells_every_fate():
    _, _, *rows = fates_table(CompletionsSurface()).splitlines()
    assert [row.split(" | ")[:2] for row in rows] == [[f"| `{name}`", fate.kind] for name, fate in FATES.items()]


CHANGES = {
    "model": ("other", {"model": "other"}),
    "prompt": ("x", {"messages": (Message("user", "x"),)}),
    "max_tokens": (7, {"max_tokens": 7}),
    "stream": (True, {"stream": True}),
    "user": ("u", {"cache_key": "u"}),
    "stop": ("a", {"knobs": {"stop": ["a"]}}),
    "temperature": (0, {"knobs": {"temperature": 0}}),
    "top_p": (0.5, {"knobs": {"top_p": 0.5}}),
    "frequency_penalty": (-2, {"knobs": {"frequency_penalty": -2}}),
    "presence_penalty": (2, {"knobs": {"presence_penalty": 2}}),
    "seed": (0, {"knobs": {"seed": 0}}),
    "logit_bias": ({"1": 100}, {"knobs": {"logit_bias": {"1": 100}}}),
    "logprobs": (0, {"dropped": ("logprobs",)}),
}
REFUSED = {"best_of": 2, "suffix": "x"}


def differences(read):
    plain = read_request({"model": "m", "prompt": "Hi"})
    slots = set(plain.__slots__) - {"raw"}
    return {slot: getattr(read, slot) for slot in slots if getattr(read, slot) != getattr(plain, slot)}


def test_the_samples_are_complete():
    # What these do is seen in the answer.
    assert set(CHANGES) | set(REFUSED) | {"stream_options", "n", "echo"} == set(FATES)
    assert set(REFUSED) == {name for name, fate in FATES.items() if fate.kind == "refused"}


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_has_its_effect_and_no_other(name):
    value, read = CHANGES[name]
    assert differences(read_request({"model": "m", "prompt": "Hi", name: value})) == read


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_by_name(name):
    with pytest.raises(BadRequest) as caught:
        read_request({"model": "m", "prompt": "Hi", name: REFUSED[name]})
    assert caught.value.param == name


@pytest.mark.parametrize("name", sorted(FATES.keys() - {"model", "prompt"}))
def test_an_explicit_null_is_as_good_as_nothing(name):
    assert differences(read_request({"model": "m", "prompt": "Hi", name: None})) == {}
