"""Bodies that are nearly right, by the hundred: each is served or refused as OpenAI would, and none is a defect."""

import copy
import json
import random

import pytest

CHAT = {
    "model": "@cf/openai/gpt-oss-20b",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Say exactly: ok"}], "name": "ada"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        {"role": "user", "content": "Say exactly: ok"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "d"}}},
                "strict": True,
            },
        },
        {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": True,
    "temperature": 0.5,
    "top_p": 0.5,
    "n": 1,
    "stop": ["x"],
    "max_completion_tokens": 64,
    "seed": 1,
    "logit_bias": {"1": 2},
    "metadata": {"a": "b"},
    "stream_options": {"include_usage": True},
    "reasoning_effort": "low",
    "user": "u",
}
STRUCTURED = {
    "model": "@cf/zai-org/glm-5.3-flash",
    "messages": [{"role": "user", "content": 'Say exactly: {"a": 1}'}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "n",
            "strict": True,
            "schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        },
    },
    "functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}],
    "function_call": "auto",
    "logprobs": True,
    "top_logprobs": 2,
    "service_tier": "auto",
    "modalities": ["text"],
}
RESPONSES = {
    "model": "@cf/openai/gpt-oss-20b",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Say exactly: ok"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "f",
            "arguments": "{}",
            "status": "completed",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "done"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}]},
        {"role": "user", "content": "Say exactly: ok"},
    ],
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}],
    "tool_choice": "auto",
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "max_output_tokens": 64,
    "metadata": {"a": "b"},
    "include": [],
    "store": False,
    "truncation": "disabled",
    "temperature": 1,
}
COMPLETION = {
    "model": "@cf/meta/llama-3.1-8b-instruct-fp8",
    "prompt": ["Say exactly: one", "Say exactly: two"],
    "max_tokens": 20,
    "n": 2,
    "echo": True,
    "stop": "x",
    "best_of": 2,
    "logprobs": 1,
    "user": "u",
    "temperature": 0,
}
BASES = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", STRUCTURED),
    ("/v1/responses", RESPONSES),
    ("/v1/completions", COMPLETION),
]

WRONG = [
    None,
    True,
    0,
    -1,
    1e300,
    10**18,
    0.5,
    "",
    "x",
    "\x00",
    "\ud83d\ude00",
    "auto",
    "a" * 5000,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"type": "x"},
    {"": ""},
    [1, "x", None],
    {"type": "function"},
]


def places(value, path=()):
    """Every place of a body."""
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


def holder(body, path):
    for step in path[:-1]:
        body = body[step]
    return body


def spoiled(base, rng):
    """The body with one to three things wrong: replaced, removed, doubled, or nested."""
    body = copy.deepcopy(base)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(list(places(body)))
        inner, step = holder(body, path), path[-1]
        match rng.randrange(8):
            case 0:
                del inner[step]
            case 1 if isinstance(inner, list):
                inner.insert(step, copy.deepcopy(inner[step]))
            case 2:
                deep = inner[step]
                for _ in range(rng.choice((1, 30, 400))):
                    deep = [deep] if rng.random() < 0.5 else {"a": deep}
                inner[step] = deep
            case 3 if isinstance(inner, dict):
                inner[rng.choice(("unknown", "raw", "type", "id", "prompt", "input", "messages"))] = rng.choice(WRONG)
            case _:
                inner[step] = copy.deepcopy(rng.choice(WRONG))
    return body


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("path", "base"), BASES, ids=["chat", "structured", "responses", "completions"])
def test_near_valid_bodies_are_served_or_refused_by_name(http, path, base, seed):
    rng = random.Random(f"{path} {seed} {len(base)}")
    for _ in range(10):
        body = spoiled(base, rng)
        if not isinstance(body, dict):
            continue
        if rng.random() < 0.3:
            body["stream"] = True
        content = json.dumps(body).encode()
        answer = http.post(path, content=content, headers={"content-type": "application/json"})
        shown = content[:3000].decode()
        assert answer.status_code in {200, 400, 404}, f"{answer.status_code} {answer.text}\n{shown}"
        if answer.status_code == 200:
            assert body.get("model"), shown
            continue
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, shown
        assert error["type"] == "invalid_request_error", shown
        assert error["message"], shown
        # Only what cannot be read at all has no place.
        assert error["param"], f"{error}\n{shown}"
        assert "AiError" not in error["message"]


@pytest.mark.parametrize(("path", "base"), BASES, ids=["chat", "structured", "responses", "completions"])
def test_the_bodies_themselves_are_good(http, path, base):
    answer = http.post(path, json=base)
    if base is STRUCTURED:
        base = {key: value for key, value in base.items() if key not in {"functions", "function_call"}}
        answer = http.post(path, json=base)
    assert answer.status_code == 200, answer.text
