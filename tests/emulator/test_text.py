"""The generator, the tokenizer, and values for schemas."""

import random

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from app.emulator.schema import Mismatch, check
from app.emulator.structured import Synthesiser
from app.emulator.text import compose
from app.emulator.tokens import tokenize


def answer(prompt):
    return compose([{"role": "user", "content": prompt}], random.Random(1))


@given(st.text())
def test_tokens_join_to_the_text(text):
    assert "".join(tokenize(text)) == text


def test_digits_stand_alone():
    assert tokenize("in 2026!") == ["in", " ", "2", "0", "2", "6", "!"]


def test_text_is_echoed_to_the_letter():
    assert answer("Say exactly: Zoë 👩‍👩‍👧  \n two") == "Zoë 👩‍👩‍👧  \n two"
    assert answer("Please repeat after me: ok") == "ok"
    assert answer("Reply exactly with: 0") == "0"
    assert answer("Answer the question: why?") != "why?"


def test_length_on_request():
    assert answer("Count to 50") == ", ".join(str(n) for n in range(1, 51))
    assert len(answer("Write 300 words about rain").split()) == 300


def test_plain_answers_name_the_subject():
    assert "What is rain" in answer("What is rain?")
    assert answer("What is rain?") == answer("What is rain?")


SCALARS = st.one_of(
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-5, 5)),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    st.builds(lambda options: {"enum": options}, st.lists(st.text(max_size=4) | st.integers(), min_size=1)),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.just({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
    st.just({"$ref": "#/$defs/name"}),
)


def nested(children):
    names = st.text("abcde", min_size=1, max_size=3)
    objects = st.dictionaries(names, children, max_size=4).map(
        lambda parts: {
            "type": "object",
            "properties": parts,
            "required": list(parts),
            "additionalProperties": False,
        }
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least}, children, st.integers(0, 3)
    )
    return objects | arrays


@settings(max_examples=150, deadline=None)
@given(st.recursive(SCALARS, nested, max_leaves=8), st.text(max_size=30))
def test_synthesised_values_fit_their_schema(schema, prompt):
    schema = {**schema, "$defs": {"name": {"type": "string", "enum": ["ada", "grace"]}}}
    value = Synthesiser(schema, prompt, random.Random(0)).whole()
    jsonschema.validate(value, schema)


def test_recursive_schemas_end():
    schema = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}},
        "required": ["name"],
    }
    jsonschema.validate(Synthesiser(schema, "", random.Random(0)).whole(), schema)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
CHECKED = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "minLength": 1},
            {"type": ["integer", "null"], "maximum": 5},
            {"type": "boolean"},
            {"enum": ["a", 1]},
            {"type": "object", "required": ["a"], "additionalProperties": False, "properties": {"a": {}}},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items, "maxItems": 2}, inner),
        st.builds(lambda part: {"type": "object", "properties": {"a": part}}, inner),
        st.builds(lambda one, two: {"oneOf": [one, two]}, inner, inner),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(JSON, CHECKED)
def test_the_checker_agrees_with_jsonschema(value, schema):
    try:
        check(value, schema)
    except Mismatch:
        fits = False
    else:
        fits = True
    assert fits is jsonschema.Draft202012Validator(schema).is_valid(value)
