"""Nothing that OpenAI's clients can send is forgotten: the SDK's own request type is the list."""

import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsBase,
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from app.surfaces.fates import fates_table
from app.surfaces.responses.fates import FATES
from app.surfaces.responses.read import read_request
from app.surfaces.responses.surface import ResponsesSurface

TYPES = (ResponseCreateParamsBase, ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming)


def named(kind):
    return {name for name, fate in FATES.items() if fate.kind == kind}


def read(**more):
    return read_request({"model": "m", "input": "hi", **more})


def test_every_property_has_a_fate():
    properties = {name for kind in TYPES for name in kind.__annotations__}
    assert len(properties) >= 25
    assert properties - set(FATES) == set()


def test_the_table_tells_every_fate():
    _, _, *rows = fates_table(ResponsesSurface()).splitlines()
    assert [row.split(" | ")[0] for row in rows] == [f"| `{name}`" for name in FATES]


DROPPED = {
    # What asks for something, and what asks for nothing.
    "store": (True, False),
    "service_tier": ("flex", "auto"),
    "top_logprobs": (1, 0),
    "truncation": ("auto", "disabled"),
}


@pytest.mark.parametrize("name", sorted(named("dropped")))
def test_what_is_dropped_is_told_when_it_asked_for_something(name):
    something, nothing = DROPPED.get(name, ([], None))
    assert read(**{name: something}).dropped == (name,)
    assert read(**{name: nothing}).dropped == ()


@pytest.mark.parametrize(("verbosity", "dropped"), [("low", ("text.verbosity",)), ("medium", ()), (None, ())])
def test_the_only_verbosity_is_the_middle_one(verbosity, dropped):
    assert read(text={"verbosity": verbosity}).dropped == dropped


@pytest.mark.parametrize("name", sorted(named("ignored") | named("echoed")))
def test_what_is_ignored_or_echoed_changes_nothing(name):
    samples = {"max_tool_calls": 3, "user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "stream_options": {}}
    request, plain = read(**{name: samples.get(name, "x")}), read()
    slots = set(plain.__slots__) - {"raw"}
    assert {slot for slot in slots if getattr(request, slot) != getattr(plain, slot)} == set()
