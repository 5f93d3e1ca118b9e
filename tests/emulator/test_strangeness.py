"""Whatever is sent, the emulator answers; it never breaks by itself."""

import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.emulator.server import create_emulator

MODELS = st.sampled_from(
    [
        "@cf/openai/gpt-oss-20b",
        "@cf/meta/llama-3.3-70b-instruct-fp8-fast",
        "@cf/zai-org/glm-5.3-flash",
        "@cf/moonshotai/kimi-k2.6",
        "@cf/baai/bge-m3",
        "@cf/meta/llama-guard-3-8b",
        "@cf/deepgram/aura-1",
        "@cf/black-forest-labs/flux-1-schnell",
        "@cf/openai/whisper-large-v3-turbo",
        "@cf/meta/m2m100-1.2b",
    ]
)
KEYS = [
    "name", "type", "function", "custom", "parameters", "properties", "role", "content", "text", "image_url",
    "url", "schema", "json_schema", "effort", "format", "items", "anyOf", "description", "minimum", "enum",
    "required",
]  # fmt: skip
FIELDS = [
    "prompt", "input", "text", "query", "contexts", "stream", "max_tokens", "tools", "tool_choice", "stop",
    "response_format", "guided_json", "reasoning", "reasoning_effort", "chat_template_kwargs", "audio", "lang",
    "requests", "request_id", "instructions", "max_output_tokens", "image", "temperature", "steps", "width",
]  # fmt: skip
SCALAR = st.none() | st.booleans() | st.integers(-2, 300) | st.floats(0, 3) | st.text(max_size=5)
ANY = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "developer"]), "content": st.text(max_size=9)},
    optional={"tool_calls": ANY, "tool_call_id": ANY},
)
FUNCTION = st.fixed_dictionaries({"name": st.text("ab", min_size=1)}, optional={"parameters": ANY, "description": ANY})
TOOL = st.fixed_dictionaries({"type": st.just("function"), "function": FUNCTION}) | ANY
BODY = st.dictionaries(
    st.sampled_from(FIELDS),
    ANY,
    max_size=3,
)
TALK = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, min_size=1, max_size=3)},
    optional={
        "tools": st.lists(TOOL, max_size=3),
        "tool_choice": st.sampled_from(["auto", "none", "required", "any"]) | ANY,
        "stream": st.booleans(),
        "response_format": ANY,
        "parallel_tool_calls": ANY,
        "max_tokens": st.integers(-1, 60),
        "stop": ANY,
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=MODELS, body=BODY | TALK | ANY, route=st.sampled_from(["run", "chat", "responses", "embeddings"]))
async def test_no_body_breaks_it(client, ai, model, body, route):
    if route == "run":
        answer = await client.run(model, body)
    else:
        path = {"chat": "chat/completions"}.get(route, route)
        whole = {"model": model, **body} if isinstance(body, dict) else body
        answer = await client.post(f"{ai}/v1/{path}", json=whole)
    assert answer.status_code in {200, 400, 403, 500}
    if answer.status_code != 200:
        assert answer.json()["errors"][0]["code"]
    if answer.status_code == 500:
        assert answer.json()["errors"][0]["code"] == 8005


async def test_token_delay_spaces_the_chunks(ai):
    transport = httpx.ASGITransport(create_emulator(token_delay=0.005))
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as client:
        body = {"prompt": "Say exactly: a b c d", "stream": True}
        started = time.monotonic()
        url = f"{ai}/run/@cf/meta/llama-3.1-8b-instruct-fp8"
        answer = await client.post(url, json=body, headers={"authorization": "Bearer x"})
        assert answer.text.count("data:") == 6
        assert time.monotonic() - started >= 5 * 0.005


@pytest.mark.parametrize(
    ("model", "check"),
    [
        ("@cf/meta/llama-3.2-3b-instruct", lambda body, last: last["response"] is None),
        ("@cf/meta/llama-3.2-1b-instruct", lambda body, last: all(frame["tool_calls"] == [] for frame in body)),
        ("@cf/qwen/qwen2.5-coder-32b-instruct", lambda body, last: last["finish_reason"] == "stop"),
    ],
)
async def test_native_frames_vary(client, frames, model, check):
    *body, last, _ = frames(await client.run(model, {"prompt": "Hi", "stream": True}))
    assert check(body, last)
    assert last["usage"]["completion_tokens"] == len(body)


async def test_gateway_paths_are_served_with_gateway_headers(client, account):
    body = {"model": "@cf/openai/gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}
    answer = await client.post(f"/v1/{account}/default/workers-ai/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.headers["cf-aig-cache-status"] == "MISS"
    native = await client.post(f"/v1/{account}/default/workers-ai/run/@cf/openai/gpt-oss-20b", json={"prompt": "Hi"})
    assert native.json()["success"] is True


async def test_a_listing_does_not_eat_a_models_fault(client, ai):
    await client.fault("capacity")
    assert (await client.get(f"{ai}/models/search")).status_code == 200
    assert (await client.say("@cf/openai/gpt-oss-20b", "Hi")).status_code == 429
    await client.fault("html-502", path="/models/search")
    assert (await client.say("@cf/openai/gpt-oss-20b", "Hi")).status_code == 200
    assert (await client.get(f"{ai}/models/search")).status_code == 502
