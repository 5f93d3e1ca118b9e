"""Moderations as OpenAI's clients ask for them: what is read, what is refused, and hazards as categories."""

import orjson
import pytest
from openai.types import ModerationCreateParams, ModerationCreateResponse
from openai.types.moderation import Categories

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.moderation import Verdict
from app.surfaces.moderations.fates import FATES
from app.surfaces.moderations.hazards import CATEGORIES, HAZARDS, hazards_table
from app.surfaces.moderations.surface import ModerationsSurface

SURFACE = ModerationsSurface()
GUARD = "@cf/meta/llama-guard-3-8b"


def written(*verdicts, model=GUARD):
    request = SURFACE.read({"input": ["x"] * len(verdicts), "model": model})
    reply = SURFACE.answer(request, verdicts, Model(GUARD), lambda prefix: f"{prefix}1", 0.0)
    body = orjson.loads(reply.body)
    ModerationCreateResponse.model_validate(body, strict=True)
    return body


def flagged(result):
    return {name for name, value in result["categories"].items() if value}


def test_every_property_of_the_sdk_has_a_fate_and_no_other():
    assert set(FATES) == set(ModerationCreateParams.__annotations__)


def test_the_categories_are_those_of_the_sdk():
    names = {field.alias or name for name, field in Categories.model_fields.items()}
    assert set(CATEGORIES) == names
    assert {name for _, shown in HAZARDS.values() for name in shown} <= names


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([{"type": "text", "text": "one"}], ["one"]),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], ["one\ntwo"]),
    ],
)
def test_every_text_is_read_and_parts_belong_together(given, texts):
    request = SURFACE.read({"input": given})
    assert (request.texts, request.model) == (texts, GUARD)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": 7}, "input", "invalid_type"),
        ({"input": {"text": "x"}}, "input", "invalid_type"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["x"] * 101}, "input", "array_above_max_length"),
        ({"input": ["x", ""]}, "input[1]", "empty_string"),
        ({"input": ["x", {"type": "text", "text": "y"}]}, "input[1]", "invalid_type"),
        ({"input": [{"type": "text", "text": "y"}, "x"]}, "input[1]", "invalid_type"),
        ({"input": [{"text": "y"}]}, "input[0].type", "missing_required_parameter"),
        ({"input": [{"type": "text"}]}, "input[0].text", "missing_required_parameter"),
        ({"input": [{"type": "text", "text": 1}]}, "input[0].text", "invalid_type"),
        ({"input": [{"type": "text", "text": ""}]}, "input[0].text", "empty_string"),
        ({"input": [{"type": "audio"}]}, "input[0].type", "invalid_value"),
        ({"input": "x", "model": 7}, "model", "invalid_type"),
        ({"input": "x", "model": ""}, "model", "empty_string"),
    ],
)
def test_what_is_wrong_is_refused_by_name(body, param, code):
    with pytest.raises(BadRequest) as refused:
        SURFACE.read(body)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_images_are_refused_clearly():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    with pytest.raises(BadRequest, match="reads texts only") as refused:
        SURFACE.read({"input": [{"type": "text", "text": "x"}, image]})
    assert (refused.value.param, refused.value.code) == ("input[1].type", "unsupported_value")


def test_openais_own_models_have_a_stand_in_and_others_do_not():
    assert SURFACE.stand_in("omni-moderation-latest") == SURFACE.stand_in("text-moderation-007") == GUARD
    assert SURFACE.stand_in("gpt-4o") is None


def test_what_is_safe_has_no_category():
    (result,) = written(Verdict(safe=True), model="omni-moderation-latest")["results"]
    assert result["flagged"] is False
    assert flagged(result) == set()
    assert set(result["category_scores"].values()) == {0.0}
    assert set(map(tuple, result["category_applied_input_types"].values())) == {("text",)}


@pytest.mark.parametrize(("code", "shown"), [(code, names) for code, (_, names) in HAZARDS.items()])
def test_every_hazard_is_flagged_in_its_categories(code, shown):
    (result,) = written(Verdict(safe=False, hazards=(code,)))["results"]
    assert result["flagged"] is True
    assert flagged(result) == set(shown)
    assert {name for name, score in result["category_scores"].items() if score == 1.0} == set(shown)
    assert result["hazards"] == [code]


@pytest.mark.parametrize("hazards", [(), ("S99",)])
def test_what_is_unsafe_is_flagged_whatever_the_model_calls_it(hazards):
    (result,) = written(Verdict(safe=False, hazards=hazards))["results"]
    assert (result["flagged"], flagged(result)) == (True, set())


def test_each_text_has_its_result():
    body = written(Verdict(safe=True), Verdict(safe=False, hazards=("S1", "S10")))
    assert [result["flagged"] for result in body["results"]] == [False, True]
    assert flagged(body["results"][1]) == {"violence", "illicit/violent", "hate"}
    assert (body["id"], body["model"]) == ("modr-1", GUARD)


def test_the_table_tells_every_hazard():
    _, _, *rows = hazards_table().splitlines()
    assert [row.split("`")[1] for row in rows] == [f"S{number}" for number in range(1, 15)]
