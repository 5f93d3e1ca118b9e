"""/ai/v1/responses, JSON mode on /v1, and the async batch."""

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
TOOL = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


async def respond(client, ai, **body):
    return await client.post(f"{ai}/v1/responses", json={"model": GPT, **body})


async def test_response_object(client, ai):
    body = (await respond(client, ai, input="Say exactly: Quartz.", instructions="Be terse.")).json()
    assert (body["object"], body["status"]) == ("response", "completed")
    reasoning, message = body["output"]
    assert reasoning["content"][0]["type"] == "reasoning_text"
    assert message["content"] == [{"type": "output_text", "text": "Quartz.", "annotations": []}]
    assert set(body["usage"]) == {"input_tokens", "output_tokens", "total_tokens"}


async def test_response_cut_by_its_limit(client, ai):
    body = (await respond(client, ai, input="count to 900", max_output_tokens=80)).json()
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["usage"]["output_tokens"] == 80


async def test_response_without_a_limit_is_not_cut_at_256(client, ai):
    body = (await respond(client, ai, input="count to 300")).json()
    assert body["output_text"].endswith("300")


async def test_response_tool_round(client, ai):
    body = (await respond(client, ai, input="weather in Oslo?", tools=[TOOL])).json()
    call = body["output"][-1]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "get_weather", '{"city":"Oslo"}')
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather in Oslo?"}]},
        call,
        {"type": "function_call_output", "call_id": call["call_id"], "output": "4 degrees"},
    ]
    body = (await respond(client, ai, input=items, tools=[TOOL])).json()
    assert body["output_text"] == "The tool answered: 4 degrees"


async def test_response_refusals(client, ai):
    streamed = await respond(client, ai, input="Hi", stream=True)
    assert (streamed.status_code, streamed.json()["errors"][0]["code"]) == (400, 5006)
    other = await client.post(f"{ai}/v1/responses", json={"model": LLAMA, "input": "Hi"})
    assert (other.status_code, other.json()["errors"][0]["code"]) == (400, 8001)
    nested = await respond(client, ai, input="Hi", tools=[{"type": "function", "function": {"name": "f"}}])
    assert nested.json()["errors"][0]["code"] == 5006
    search = await respond(client, ai, input="Hi", tools=[{"type": "web_search"}])
    assert "enum web_search not in function" in search.json()["errors"][0]["message"]
    effort = await respond(client, ai, input="Hi", reasoning={"effort": "xhigh"})
    assert effort.status_code == 400


async def test_json_mode_on_v1_is_an_object_on_legacy_and_text_on_gpt_oss(client):
    for model, kind in ((LLAMA, dict), (GPT, str)):
        answer = await client.say(model, "Give me JSON", response_format={"type": "json_object"}, stream=True)
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(answer.json()["choices"][0]["message"]["content"], kind)


async def test_batch_goes_queued_running_done(client):
    requests = [
        {"prompt": "Say exactly: A", "external_reference": "row-1"},
        {"prompt": "Say exactly: B"},
        {"prompt": ""},
    ]
    path = f"{LLAMA}?queueRequest=true"
    queued = (await client.run(path, {"requests": requests})).json()["result"]
    assert (queued["status"], queued["model"]) == ("queued", LLAMA)
    poll = {"request_id": queued["request_id"]}
    assert (await client.run(path, poll)).json()["result"]["status"] == "running"
    done = (await client.run(LLAMA, poll)).json()["result"]
    assert [row["id"] for row in done["responses"]] == [2, 1, 0]
    assert [row["success"] for row in done["responses"]] == [False, True, True]
    assert [row["external_reference"] for row in done["responses"]] == [None, None, "row-1"]
    assert done["responses"][2]["result"]["response"] == "A"
    assert done["usage"]["total_tokens"] > 0


async def test_batch_of_gpt_oss_has_response_objects(client):
    path = f"{GPT}?queueRequest=true"
    queued = (await client.run(path, {"requests": [{"input": "Say exactly: A"}]})).json()["result"]
    poll = {"request_id": queued["request_id"]}
    await client.run(path, poll)
    (result,) = (await client.run(path, poll)).json()["result"]["results"]
    assert result["object"] == "response"
    assert result["output_text"] == "A"


async def test_batch_of_embeddings(client):
    path = "@cf/baai/bge-m3?queueRequest=true"
    queued = (await client.run(path, {"requests": [{"text": "a"}, {"text": "b"}]})).json()["result"]
    poll = {"request_id": queued["request_id"]}
    await client.run(path, poll)
    rows = (await client.run(path, poll)).json()["result"]["responses"]
    assert rows[0]["result"]["shape"] == [1, 1024]


async def test_batch_refusals(client):
    unknown = await client.run(LLAMA, {"request_id": "00000000-0000-4000-8000-000000000000"})
    assert unknown.status_code == 400
    not_batchable = await client.run(
        "@cf/meta/llama-3.2-1b-instruct?queueRequest=true", {"requests": [{"prompt": "a"}]}
    )
    assert not_batchable.json()["errors"][0]["code"] == 5006


async def refused(client, model, *items):
    answer = await client.run(f"{model}?queueRequest=true", {"requests": list(items)})
    return (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)


async def test_batch_items_have_the_form_of_their_model(client):
    assert await refused(client, GPT, {"prompt": "a"})
    assert await refused(client, GPT, {"input": "a", "max_tokens": 5})
    assert await refused(client, GPT, {"input": "a", "reasoning": {"effort": "low", "depth": 1}})
    assert await refused(client, LLAMA, {"messages": [{"role": "user", "content": "a"}]})
    assert await refused(client, LLAMA, {"prompt": "a"}, {"prompt": "b", "external_reference": 7})


async def test_some_batch_answers_are_wrapped_twice(client):
    path = "@cf/qwen/qwen3-30b-a3b-fp8?queueRequest=true"
    item = {"messages": [{"role": "user", "content": "Say exactly: A"}], "external_reference": "x"}
    queued = (await client.run(path, {"requests": [item]})).json()["result"]
    poll = {"request_id": queued["request_id"]}
    await client.run(path, poll)
    result = (await client.run(path, poll)).json()["result"]
    (row,) = result["responses"]
    assert set(row["result"]) == {"result"}
    assert result["usage"]["total_tokens"] > 0
