"""What is refused, with which code and in which words."""

import pytest

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"
GLM = "@cf/zai-org/glm-5.2"
GEMMA = "@cf/google/gemma-4-26b-a4b-it"
USER = [{"role": "user", "content": "Hi"}]


def error_of(answer):
    body = answer.json()
    assert body["success"] is False
    assert set(body) == {"result", "success", "errors", "messages"}
    return answer.status_code, body["errors"][0]["code"], body["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt'"),
        ({"prompt": "a", "messages": USER}, "oneOf at '/' not met, 2 matches"),
        ({"prompt": ""}, "Length of '/prompt' must be >= 1"),
        ({"messages": [{"role": "user"}]}, "required properties at '/messages/0' are 'role,content'"),
        ({"messages": [{"role": "user", "content": None}]}, "Type mismatch of '/messages/0/content', 'null' not in"),
        ({"messages": [{"role": "user", "content": 3}]}, "Type mismatch of '/messages/0/content'"),
        ({"prompt": "a", "top_p": 0}, "'/top_p' must be >= 0.001"),
        ({"prompt": "a", "top_k": 51}, "'/top_k' must be <= 50"),
        ({"prompt": "a", "seed": 0}, "'/seed' must be >= 1"),
        ({"prompt": "a", "temperature": 5.5}, "'/temperature' must be <= 5"),
        ({"prompt": "a", "temperature": None}, "Type mismatch of '/temperature', 'null' not in 'number'"),
        ({"prompt": "a", "frequency_penalty": 3}, "'/frequency_penalty' must be <= 2"),
        ({"prompt": "a", "max_tokens": 1.5}, "Type mismatch of '/max_tokens', 'number' not in 'integer'"),
        ({"prompt": "a", "stream": "yes"}, "Type mismatch of '/stream', 'string' not in 'boolean'"),
        ({"messages": USER, "functions": [{"name": "f"}]}, "'/functions/0' are 'name,code'"),
    ],
)
@pytest.mark.parametrize("model", [LLAMA, GPT])
async def test_native_schema(client, model, body, words):
    status, code, message = error_of(await client.run(model, body))
    assert (status, code) == (400, 5006)
    assert message.startswith("AiError: Bad input: Error: ")
    assert words in message


async def test_gpt_oss_forms_exclude_each_other(client):
    assert error_of(await client.run(GPT, {"input": "Hi", "messages": USER}))[:2] == (400, 5006)
    assert (await client.run(LLAMA, {"input": "ignored", "messages": USER})).status_code == 200
    assert error_of(await client.run(GPT, {"requests": [{"input": "Hi"}]}))[:2] == (400, 5006)


async def test_unknown_properties_are_ignored(client):
    assert (await client.run(LLAMA, {"prompt": "a", "n": 3, "user": "u", "logit_bias": {}})).status_code == 200


async def test_null_content_beside_calls_is_taken_on_v1_only(client):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [*USER, {"role": "assistant", "content": None, "tool_calls": [call]}]
    messages.append({"role": "tool", "tool_call_id": "c", "content": "4"})
    assert (await client.chat(GPT, {"messages": messages})).status_code == 200
    assert error_of(await client.run(GPT, {"messages": messages}))[:2] == (400, 5006)
    del messages[1]["content"]
    assert error_of(await client.chat(GPT, {"messages": messages}))[:2] == (400, 5006)
    assert (await client.chat(GLM, {"messages": messages})).status_code == 200


async def test_null_content_of_a_user_is_refused_everywhere(client):
    for model in (LLAMA, GPT, GLM):
        assert error_of(await client.chat(model, {"messages": [{"role": "user", "content": None}]}))[1] == 5006


async def test_array_content_is_refused_by_old_templates(client):
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    _, code, message = error_of(await client.chat("@cf/google/gemma-7b-it-lora", {"messages": messages}))
    assert code == 5006
    assert "Type mismatch of '/messages/0/content', 'array' not in 'string'" in message
    assert (await client.chat(LLAMA, {"messages": messages})).status_code == 200


async def test_developer_role_is_unknown_to_legacy_templates(client):
    messages = [{"role": "developer", "content": "Be brief."}, *USER]
    assert error_of(await client.chat(LLAMA, {"messages": messages}))[:2] == (400, 8007)
    assert (await client.chat(GLM, {"messages": messages})).status_code == 200


async def test_openai_ranges_hold_on_openai_shaped_models(client):
    assert (await client.chat(GLM, {"messages": USER, "top_p": 0, "seed": -3, "temperature": None})).status_code == 200
    assert error_of(await client.chat(GLM, {"messages": USER, "temperature": 3}))[1] == 5006


@pytest.mark.parametrize(
    ("model", "effort", "allowed"),
    [
        (GPT, "minimal", "Input should be 'low', 'medium' or 'high'"),
        ("@cf/deepseek-ai/deepseek-v4-flash-0731", "xhigh", "Input should be 'max', 'high', 'low' or 'none'"),
        ("@cf/moonshotai/kimi-k2.7-code", "low", "Input should be 'high'"),
    ],
)
async def test_unknown_effort_is_refused_by_the_engine(client, model, effort, allowed):
    status, code, message = error_of(await client.say(model, "Hi", reasoning_effort=effort))
    assert (status, code, message) == (400, 8007, f"AiError: {allowed}")


async def test_effort_is_ignored_on_legacy_and_normalised_on_glm(client):
    assert (await client.say(LLAMA, "Hi", reasoning_effort="silly")).status_code == 200
    for model in ("@cf/zai-org/glm-5.3", "@cf/zai-org/glm-5.3-flash"):
        assert (await client.say(model, "Hi", reasoning_effort="minimal")).status_code == 200


@pytest.mark.parametrize(
    ("model", "limit", "words"),
    [
        (GPT, 128_000, "This model's maximum context length is 128000 tokens. However, you requested 128000 output"),
        ("@cf/meta/llama-3.3-70b-instruct-fp8-fast", 24_000, "exceeded this model context window limit (24000)"),
        (GEMMA, 200_000, "max_completion_tokens is too large: 200000"),
        (GEMMA, 131_070, "maximum context length is 131072 tokens"),
    ],
)
async def test_context_overflow(client, model, limit, words):
    status, code, message = error_of(await client.say(model, "Hi there", max_tokens=limit))
    assert (status, code) == (400, 8007)
    assert words in message


async def test_a_limit_that_fits_exactly_is_served(client):
    prompt = (await client.say(GPT, "Hi")).json()["usage"]["prompt_tokens"]
    assert (await client.say(GPT, "Hi", max_tokens=128_000 - prompt)).status_code == 200
    assert (await client.say(GPT, "Hi", max_tokens=128_001 - prompt)).status_code == 400


def image(url):
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


async def test_images(client):
    data = "data:image/png;base64,iVBORw0KGgo="
    assert (await client.chat(GEMMA, image(data))).status_code == 200
    assert (await client.chat("@cf/mistralai/mistral-small-3.1-24b-instruct", image(data))).status_code == 200
    assert error_of(await client.chat(GPT, image(data)))[:2] == (400, 8007)
    status, code, message = error_of(await client.chat(GEMMA, image("https://example.com/cat.png")))
    assert (status, code) == (400, 5004)
    assert "reason expected `;base64,`" in message
    assert error_of(await client.chat(GEMMA, image("data:image/svg+xml;base64,PHN2Zz4=")))[:2] == (500, 8005)


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ENVELOPE = {"name": "place", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize(
    ("model", "route", "schema", "status"),
    [
        (LLAMA, "run", SCHEMA, 200),
        (LLAMA, "run", ENVELOPE, 400),
        (LLAMA, "chat", SCHEMA, 200),
        (LLAMA, "chat", ENVELOPE, 400),
        (GPT, "run", ENVELOPE, 400),
        (GPT, "chat", SCHEMA, 200),
        (GPT, "chat", ENVELOPE, 200),
        (GLM, "chat", ENVELOPE, 200),
        (GLM, "chat", SCHEMA, 400),
    ],
)
async def test_response_format_is_bare_or_enveloped(client, model, route, schema, status):
    body = {"messages": USER, "response_format": {"type": "json_schema", "json_schema": schema}}
    send = client.run if route == "run" else client.chat
    assert (await send(model, body)).status_code == status


async def test_legacy_knows_no_text_format(client):
    body = {"messages": USER, "response_format": {"type": "text"}}
    assert error_of(await client.chat(LLAMA, body))[1] == 5006
    assert (await client.chat(GLM, body)).status_code == 200


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("@cf/acme/none", 400, 5007),
        ("gpt-4o", 400, 5007),
        ("@cf/emulator/no-such-scenario", 400, 5007),
        ("@cf/meta/llama-3.1-8b-instruct", 410, 5028),
        ("@cf/baai/bge-m3", 400, 5007),
    ],
)
async def test_models_that_cannot_chat(client, model, status, code):
    assert error_of(await client.say(model, "Hi"))[:2] == (status, code)


async def test_broken_bodies(client, ai):
    url = f"{ai}/v1/chat/completions"
    assert error_of(await client.post(url))[:2] == (400, 3003)
    assert error_of(await client.post(url, content=b"{"))[:2] == (400, 5006)
    assert error_of(await client.post(url, json=[1]))[:2] == (400, 5006)
    assert error_of(await client.post(url, json={"messages": USER}))[:2] == (400, 5006)
    assert error_of(await client.post(url, content=b" " * (13 * 1024 * 1024 + 1)))[:2] == (413, 3006)
