"""POST /ai/run: envelopes and native streams."""

import pytest

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"
QWEN = "@cf/qwen/qwen3-30b-a3b-fp8"


async def test_legacy_result(client):
    answer = await client.run(LLAMA, {"prompt": "Say exactly: Lima."})
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (body["success"], body["errors"], body["messages"]) == (True, [], [])
    assert body["result"]["response"] == "Lima."
    assert body["result"]["tool_calls"] == []


async def test_legacy_stream_is_padded_and_ends_with_usage(client, frames):
    *body, last, done = frames(await client.run(LLAMA, {"prompt": "Say exactly: at 6 or 0", "stream": True}))
    assert done == "[DONE]"
    assert all(isinstance(frame["p"], str) and frame["p"] for frame in body)
    assert [frame["response"] for frame in body] == ["at", " ", 6, " or", " ", 0]
    assert last["response"] == ""
    assert last["usage"]["completion_tokens"] == 6
    assert last["usage"]["neurons"] > 0


@pytest.mark.parametrize("model", [GPT, "@cf/moonshotai/kimi-k2.6"])
async def test_stream_on_run_is_an_empty_json_result_for_some(client, model):
    answer = await client.run(model, {"messages": [{"role": "user", "content": "Hi"}], "stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"result": {}, "success": True, "errors": [], "messages": []}


async def test_qwen_streams_chunks_and_a_native_usage_frame(client, frames):
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    *_, last, _ = frames(await client.run(QWEN, body))
    assert last["response"] == ""
    assert "neurons" in last["usage"]


@pytest.mark.parametrize(
    ("model", "body", "shape"),
    [
        (GPT, {"prompt": "Hi"}, None),
        (GPT, {"messages": [{"role": "user", "content": "Hi"}]}, "chat.completion"),
        (GPT, {"input": "Hi"}, "response"),
        (QWEN, {"prompt": "Hi"}, "text_completion"),
        (QWEN, {"messages": [{"role": "user", "content": "Hi"}]}, "chat.completion"),
        ("@cf/zai-org/glm-5.2", {"prompt": "Hi"}, "chat.completion"),
    ],
)
async def test_result_shape_follows_model_and_form(client, model, body, shape):
    result = (await client.run(model, body)).json()["result"]
    assert result.get("object") == shape
    assert ("response" in result) is (shape is None)


async def test_generic_run_takes_model_and_input(client, ai):
    answer = await client.post(f"{ai}/run", json={"model": LLAMA, "input": {"prompt": "Say exactly: hey"}})
    assert answer.json()["result"]["response"] == "hey"


async def test_json_mode_gives_a_parsed_object_and_does_not_stream(client):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    body = {
        "prompt": "How many? 12",
        "stream": True,
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    answer = await client.run(LLAMA, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["response"] == {"n": 12}


async def test_licence_has_to_be_agreed_to_once(client):
    model = "@cf/meta/llama-3.2-11b-vision-instruct"
    refused = await client.run(model, {"prompt": "Hi"})
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, 5016)
    assert (await client.run(model, {"prompt": "agree"})).status_code == 200
    assert (await client.run(model, {"prompt": "Hi"})).status_code == 200


async def test_encoded_slashes_lead_nowhere(client, ai):
    answer = await client.post(f"{ai}/run/@cf%2Fopenai%2Fgpt-oss-20b", json={"prompt": "Hi"})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (404, 7000)


async def test_every_answer_has_a_ray(client):
    rays = {(await client.run(LLAMA, {"prompt": "Hi"})).headers["cf-ray"] for _ in range(3)}
    assert len(rays) == 3
    assert all(ray.endswith("-AMS") for ray in rays)
