"""Cloudflare's own queue: what can go there, and what comes back."""

import pytest

from app.core.model import Model
from app.dialects.queued import finished, item, request_id, submission

GPT = Model("@cf/openai/gpt-oss-20b")
QWEN = Model("@cf/qwen/qwen3-30b-a3b-fp8")
LLAMA = Model("@cf/meta/llama-3.3-70b-instruct-fp8-fast")
BGE = Model("@cf/baai/bge-m3")
SAID = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
USER = SAID[1:]
CALL = [*USER, {"role": "assistant", "content": "", "tool_calls": []}]
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]


@pytest.mark.parametrize(
    ("model", "body", "made"),
    [
        (GPT, {"messages": SAID, "max_tokens": 99}, {"input": SAID}),
        (GPT, {"messages": USER, "reasoning_effort": "low"}, {"input": USER, "reasoning": {"effort": "low"}}),
        (QWEN, {"messages": SAID, "max_tokens": 9, "seed": 1}, {"messages": SAID, "max_tokens": 9, "seed": 1}),
        (LLAMA, {"messages": USER, "max_tokens": 9, "top_p": 0.5}, {"prompt": "u", "max_tokens": 9, "top_p": 0.5}),
        (BGE, {"input": ["a", "b"]}, {"text": ["a", "b"]}),
        (BGE, {"text": ["a"], "pooling": "cls"}, {"text": ["a"], "pooling": "cls"}),
    ],
)
def test_what_loses_nothing_goes(model, body, made):
    assert item(model, {"model": model.id, "stream": True, "stream_options": {}, **body}, limited=False) == made


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (GPT, {"messages": USER, "temperature": 0}),
        (GPT, {"messages": USER, "tools": []}),
        (GPT, {"messages": USER, "response_format": {}}),
        (GPT, {"messages": USER, "reasoning_effort": "xhigh"}),
        (GPT, {"messages": CALL}),
        (GPT, {"messages": PICTURE}),
        (QWEN, {"messages": USER, "tools": []}),
        (QWEN, {"messages": USER, "response_format": {}}),
        (QWEN, {"messages": CALL}),
        (LLAMA, {"messages": SAID}),
        (LLAMA, {"messages": [*USER, *USER]}),
        (LLAMA, {"messages": []}),
        (BGE, {"input": ["a"], "instruction": "x"}),
        (BGE, {"query": "a"}),
        (Model("@cf/meta/llama-3.1-8b-instruct-fp8"), {"messages": USER}),
    ],
)
def test_what_would_lose_something_stays(model, body):
    assert item(model, body, limited=False) is None


def test_a_limit_of_tokens_that_somebody_set_is_not_lost():
    assert item(GPT, {"messages": USER, "max_tokens": 9}, limited=True) is None
    assert item(QWEN, {"messages": USER, "max_tokens": 9}, limited=True) is not None


def test_a_submission_names_its_items():
    assert submission({"7": {"prompt": "a"}}) == {"requests": [{"prompt": "a", "external_reference": "7"}]}


@pytest.mark.parametrize(("said", "called"), [({"request_id": "x"}, "x"), ({"request_id": ""}, None), ([], None)])
def test_what_the_queue_calls_it(said, called):
    assert request_id(said) == called


def row(place, reference, result, *, success=True):
    return {"id": place, "result": result, "success": success, "external_reference": reference}


def test_answers_are_found_by_their_reference_in_any_order():
    rows = [row(1, "8", {"response": "b"}), row(0, "7", {"result": {"response": "a"}})]
    found = finished({"responses": rows, "usage": {}}, ["7", "8"])
    assert {name: one.result for name, one in found.items()} == {"7": {"response": "a"}, "8": {"response": "b"}}
    assert all(one.named for one in found.values())


def test_answers_are_not_found_by_their_number():
    rows = [row(1, None, {"response": "b"}), row(0, "7", {"response": "a"})]
    assert finished({"responses": rows}, ["7", "8"]).keys() == {"7"}


def test_a_refused_item_is_told_as_a_refused_request():
    rows = [
        row(0, "7", {"error": {"message": "too long", "code": 5006}}, success=False),
        row(1, "8", {}, success=False),
    ]
    found = finished({"responses": rows}, ["7", "8"])
    assert found["7"].failure["errors"] == [{"code": 5006, "message": "too long"}]
    assert found["8"].failure["success"] is False


@pytest.mark.parametrize("said", [None, [], {}, {"status": "queued", "request_id": "x"}, {"status": "running"}])
def test_what_is_not_finished(said):
    assert finished(said, ["7"]) is None


def test_answers_that_name_nothing_are_matched_only_where_nothing_can_be_confused():
    answer = {"object": "response", "id": "resp_1", "output": []}
    assert finished({"results": [answer]}, ["7"]) == {"7": (answer, None, False)}
    assert finished({"results": [answer, answer]}, ["7", "8"]) == {}
    assert finished({"results": [answer]}, ["7", "8"]) == {}


@pytest.mark.parametrize("odd", [None, 1, [], {"id": True}, {"id": 9}, {"external_reference": "9"}, {"id": -1}])
def test_answers_that_nobody_asked_for_are_left(odd):
    assert finished({"responses": [odd, row(0, "7", {"response": "a"})]}, ["7", "8"]).keys() == {"7"}
