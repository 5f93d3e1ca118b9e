"""JSON that was asked for, and the schemas it is checked by."""

import pytest

from app.core.model import Model, ReasoningEfforts
from app.core.request import GenerationRequest, Message, ResponseFormat
from app.core.structured import MAX_NODES, mismatch, schema_problem
from app.dialects.chat import ChatDialect
from app.dialects.structured import problem, unfenced

DRAFT_7 = "http://json-schema.org/draft-07/schema#"
OBJECT = ResponseFormat("json_object")
SCHEMA = {
    "$schema": DRAFT_7,
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "tags"],
    "additionalProperties": False,
}
STRICT = ResponseFormat("json_schema", SCHEMA, "x", strict=True)
LOOSE = ResponseFormat("json_schema", SCHEMA, "x", strict=False)


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ('{"a":1}', OBJECT, None),
        ('```json\n{"a":1}\n```', OBJECT, None),
        ("[1]", OBJECT, "it is not a JSON object"),
        ("secret", OBJECT, "it is not JSON"),
        (" ", OBJECT, "it is empty"),
        ('{"a":NaN}', OBJECT, "it is not JSON"),
        ("7", LOOSE, None),
        ("{", LOOSE, "it is not JSON"),
        ("{}", ResponseFormat("json_schema", strict=True), None),
        ('{"name":"secret","tags":["a"],"next":{"name":"","tags":[],"next":null}}', STRICT, None),
        ('```\n{"name":"secret","tags":[]}```', STRICT, None),
        ('{"name":7,"tags":[]}', STRICT, "the answer.name is not of type string"),
        ('{"name":"secret"}', STRICT, "the answer lacks 'tags'"),
        ('{"name":"","tags":["secret"]}', STRICT, "the answer.tags[0] is not one of the values that the schema allows"),
        ('{"name":"","tags":[],"secret":1}', STRICT, "the answer has a property that the schema does not allow"),
        ('{"name":"","tags":[],"next":7}', STRICT, "the answer.next does not satisfy 'anyOf'"),
        ("7", STRICT, "the answer is not of type object"),
    ],
)
def test_problems_are_told_without_the_answer(text, wanted, expected) -> None:
    assert problem(text, wanted) == expected
    assert "secret" not in (expected or "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ("\n```JSON\n[1]\n``` \n", "[1]"),
        ("```\n7\n```", "7"),
        ('```{"a":1}```', '{"a":1}'),
        ('{"a":"```"}', '{"a":"```"}'),
        ("```jsonc \n[2]\n```", "[2]"),
        ('```json {"a":2}```', '{"a":2}'),
        ("```python\nx\n```", "```python\nx\n```"),
        ("Here:\n```json\n{}\n```", "Here:\n```json\n{}\n```"),
        ("```json\n{\n```", "```json\n{\n```"),
        ("```", "```"),
        ("`````", "`````"),
        (" {} ", " {} "),
    ],
)  # fmt: skip
def test_fences(text, expected) -> None:
    assert unfenced(text) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (SCHEMA, None),
        ({}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$anchor": "b", "pattern": "("}}}, None),
        ({"$ref": "#b", "$defs": {"a": {"$anchor": "b"}}}, None),
        ({"properties": {"$ref": {"type": "string"}, "$schema": {"type": "string"}}}, None),
        ({"properties": []}, "properties is not of type object"),
        ({"type": "text"}, "type does not satisfy 'anyOf'"),
        ({"properties": {"a": {"minimum": "3"}}}, "properties.a.minimum is not of type number"),
        ({"$ref": "#/$defs/none"}, "the reference '#/$defs/none' leads nowhere"),
        ({"$ref": "https://example.com/schema"}, "the reference 'https://example.com/schema' leads nowhere"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"},
         "the reference 'https://json-schema.org/draft/2020-12/schema' leads nowhere"),
    ],
)  # fmt: skip
def test_schemas(schema, expected) -> None:
    assert schema_problem(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"$schema": DRAFT_7, "pattern": "^(a+)+$"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$schema": DRAFT_7, "pattern": "^(a+)+$"}}},
        {"not": {"pattern": "^b"}},
        {"if": {"pattern": "^b"}, "then": {"type": "null"}},
        {"oneOf": [{"pattern": "^b"}, {"type": "string"}]},
        {"format": "date"},
    ],
)  # fmt: skip
def test_expressions_neither_run_nor_refuse(schema) -> None:
    assert mismatch("a" * 40 + "!", schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"^(a+)+$": {"type": "null"}}, "additionalProperties": False},
        {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False},
        {"allOf": [{"patternProperties": {"^(a+)+$": {}}}], "unevaluatedProperties": False},
        {"propertyNames": {"pattern": "^(a+)+$"}},
    ],
)
def test_expressions_for_names_neither_run_nor_refuse(schema) -> None:
    assert mismatch({"a" * 40 + "!": 1}, schema) is None


def test_what_stands_beside_an_expression_counts() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}, "additionalProperties": False}
    assert mismatch({"a": "y"}, schema) is None
    assert mismatch({"b": "y"}, schema) == "the answer has a property that the schema does not allow"
    assert mismatch(["x", "y"], {"contains": {"pattern": "x"}, "maxContains": 1}) is None
    assert (
        mismatch(["x"], {"contains": {"pattern": "x"}, "minContains": 2}) == "the answer does not satisfy 'minContains'"
    )


def test_a_schema_that_multiplies_is_given_up() -> None:
    definitions = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**definitions, "d40": {}}}
    assert schema_problem(schema) is None
    assert mismatch({}, schema) == "the schema is too complex to be checked"
    assert mismatch({}, {"$ref": "#"}) == "the schema is too complex to be checked"


def test_uniqueness_does_not_compare_each_with_each() -> None:
    items = [{"a": number} for number in range(20_000)]
    assert mismatch(items, {"uniqueItems": True}) is None
    assert mismatch([*items, {"a": 7}], {"uniqueItems": True}) == "the answer does not satisfy 'uniqueItems'"
    assert mismatch([1, 1], {"uniqueItems": False}) is None


def test_a_large_schema_is_taken_at_its_word() -> None:
    large = {"properties": {f"p{number}": {"type": 7} for number in range(MAX_NODES)}}
    assert schema_problem(large) is None
    assert mismatch({"p1": 1}, large) == "the schema is not valid"
    assert mismatch({}, {"$ref": "https://example.com/x"}) == "a reference in the schema leads nowhere"


def test_a_long_name_is_cut() -> None:
    assert len(mismatch({"x" * 900: 1}, {"additionalProperties": {"type": "string"}}) or "") == 300


OFF = {"enable_thinking": False, "thinking": False}
KIMI = Model(
    "kimi", shape="openai", reasoning=True, json_schema="envelope",
    reasoning_efforts=ReasoningEfforts(("high", "none"), "high"), context_window=8000,
)  # fmt: skip
GLM = Model("glm", shape="openai", reasoning=True, json_schema="envelope")
OSS = Model(
    "oss", shape="hybrid", reasoning=True, reasoning_efforts=ReasoningEfforts(("low", "medium"), mandatory=True)
)
PLAIN = Model("plain", shape="openai", json_schema="envelope")


def sent(model, **fields):
    request = GenerationRequest("m", (Message("user", "Hi"),), **{"response_format": OBJECT, **fields})
    return ChatDialect().write(request, model, stream=False)


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        (KIMI, {}, {"reasoning_effort": "none", "chat_template_kwargs": OFF}),
        (GLM, {}, {"chat_template_kwargs": OFF}),
        (GLM, {"reasoning_effort": "none"}, {"chat_template_kwargs": OFF}),
        (GLM, {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (KIMI, {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        (KIMI, {"extra": {"chat_template_kwargs": {"thinking": True}}}, {"chat_template_kwargs": {"thinking": True}}),
        (KIMI, {"response_format": None}, {}),
        (OSS, {}, {}),
        (PLAIN, {}, {}),
    ],
)
def test_q21_json_is_not_thought_about_unless_the_client_says_so(model, fields, expected) -> None:
    body = sent(model, **fields).json
    assert {key: body[key] for key in ("reasoning_effort", "chat_template_kwargs") if key in body} == expected


@pytest.mark.parametrize(
    ("model", "fields", "limit"),
    [
        (OSS, {"max_tokens": 300}, 2048),
        (OSS, {"max_tokens": 3000}, 3000),
        (OSS, {"max_tokens": 300, "raw": {"max_tokens": 300}}, 300),
        (OSS, {"max_tokens": 300, "response_format": None}, 300),
        (PLAIN, {"max_tokens": 300}, 300),
    ],
)
def test_q21_a_limit_that_is_not_the_clients_leaves_room_for_the_json(model, fields, limit) -> None:
    assert sent(model, **fields).max_tokens == limit
