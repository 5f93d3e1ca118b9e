"""Nothing that OpenAI's clients can send is forgotten: the SDK's own request type is the list."""

import typing

import pytest
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsBase,
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from app.surfaces.chat.read import FATES, Fate, read_request

TYPES = (CompletionCreateParamsBase, CompletionCreateParamsNonStreaming, CompletionCreateParamsStreaming)


def properties():
    # A TypedDict's own __mro__ does not know what it inherits; its annotations do.
    return {name for kind in TYPES for name in kind.__annotations__}


def test_the_list_is_the_whole_list():
    assert {"model", "messages", "stream", "temperature", "tools", "functions"} <= properties()
    assert len(properties()) >= 35


def test_every_property_has_a_fate():
    assert properties() - set(FATES) == set()


def test_every_fate_is_of_a_property_that_the_sdk_knows():
    assert set(FATES) - properties() == set()


def test_every_fate_is_one_of_the_four():
    assert set(FATES.values()) == set(typing.get_args(Fate))


VALUES = {
    "temperature": 0,
    "top_p": 0,
    "frequency_penalty": -2,
    "presence_penalty": 2,
    "seed": 0,
    "stop": ["a"],
    "logit_bias": {"1": -100},
    "logprobs": True,
    "top_logprobs": 0,
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
}

REFUSED = {
    "n": 2,
    "audio": {"voice": "alloy", "format": "mp3"},
    "modalities": ["text", "audio"],
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "web_search_options": {},
}


def body(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **more}


def test_the_samples_below_are_complete():
    assert set(VALUES) == {name for name, fate in FATES.items() if fate == "knob"}
    assert set(REFUSED) == {name for name, fate in FATES.items() if fate == "refused"}


@pytest.mark.parametrize("name", VALUES)
def test_a_knob_arrives_as_a_knob(name):
    assert read_request(body(**{name: VALUES[name]})).knobs == {name: VALUES[name]}


@pytest.mark.parametrize("name", sorted(name for name, fate in FATES.items() if fate == "ignored"))
def test_what_is_ignored_changes_nothing_but_the_record(name):
    value = {"k": "v"} if name == "metadata" else "x"
    plain, read = read_request(body()), read_request(body(**{name: value}))
    assert (read.knobs, read.extra, read.dropped, read.messages) == ({}, {}, (), plain.messages)
    assert read.raw[name] == value
    assert read.cache_key == ("x" if name == "user" else None)


@pytest.mark.parametrize("name", sorted(FATES.keys() - {"model", "messages"}))
def test_an_explicit_null_is_as_good_as_nothing(name):
    read, plain = read_request(body(**{name: None})), read_request(body())
    for slot in set(plain.__slots__) - {"raw"}:
        assert getattr(read, slot) == getattr(plain, slot)
