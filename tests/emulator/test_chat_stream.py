"""Streams of /ai/v1/chat/completions, style by style."""

import pytest

GPT = "@cf/openai/gpt-oss-20b"
LLAMA = "@cf/meta/llama-3.1-8b-instruct-fp8"


def text_of(chunks):
    deltas = [choice["delta"] for chunk in chunks if chunk != "[DONE]" for choice in chunk["choices"]]
    return "".join(str(delta["content"]) for delta in deltas if delta.get("content") is not None)


async def test_gpt_oss_stream_has_role_reasoning_stop_reason_and_two_usages(client, frames):
    *chunks, done = frames(await client.say(GPT, "Say exactly: Hé 6", stream=True))
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[1]["choices"][0]["delta"] == {"reasoning_content": ""}
    assert chunks[1]["choices"][0]["token_ids"] is None
    assert text_of(chunks) == "Hé 6"
    last, first_usage, second_usage = chunks[-3:]
    assert last["choices"][0]["finish_reason"] is None
    assert last["choices"][0]["stop_reason"] == 200002
    assert first_usage["choices"] == second_usage["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert first_usage["usage"].keys() == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert second_usage["usage"] == {**first_usage["usage"], "prompt_tokens_details": {"cached_tokens": 0}}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("id-")


async def test_legacy_stream_has_no_role_and_a_second_usage_of_zeros(client, frames):
    *chunks, _ = frames(await client.say(LLAMA, "Say exactly: Lima.", stream=True))
    assert "role" not in chunks[0]["choices"][0]["delta"]
    assert chunks[-2]["usage"]["completion_tokens"] == 2
    assert chunks[-1]["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_default_limit_of_256_is_reported_as_stop_on_legacy_and_length_on_gpt_oss(client, frames):
    *legacy, _ = frames(await client.say(LLAMA, "count to 500", stream=True))
    assert legacy[-2]["usage"]["completion_tokens"] == 256
    assert legacy[-1]["choices"][0]["finish_reason"] == "stop"
    *gpt, _ = frames(await client.say(GPT, "count to 500", stream=True))
    assert gpt[-1]["usage"]["completion_tokens"] == 256
    assert gpt[-1]["choices"][0]["finish_reason"] == "length"


async def test_limit_is_honoured_under_either_name(client):
    for name in ("max_tokens", "max_completion_tokens"):
        body = (await client.say(LLAMA, "count to 500", **{name: 40})).json()
        assert body["usage"]["completion_tokens"] == 40


async def test_glm_flash_sends_usage_deltas_that_sum_to_the_total(client, frames):
    *chunks, _ = frames(await client.say("@cf/zai-org/glm-5.3-flash", "count to 12", stream=True))
    *body, last = chunks
    told = [chunk["usage"] for chunk in body]
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert sum(usage[key] for usage in told) == last["usage"][key]
    assert sum(usage["neurons"] for usage in told) == pytest.approx(last["usage"]["neurons"], rel=0.01)


async def test_glm_flash_sends_digits_as_numbers(client, frames):
    *chunks, _ = frames(await client.say("@cf/zai-org/glm-5.3-flash", "Say exactly: 10 and 6", stream=True))
    contents = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert [content for content in contents if isinstance(content, int)] == [1, 0, 6]
    assert text_of(chunks) == "10 and 6"


async def test_qwen_sends_running_totals(client, frames):
    *chunks, _ = frames(await client.say("@cf/qwen/qwen3-30b-a3b-fp8", "count to 9", stream=True))
    told = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert told == sorted(told)
    assert chunks[-1]["usage"]["completion_tokens"] == told[-2]


@pytest.mark.parametrize(
    ("model", "field"),
    [("@cf/moonshotai/kimi-k2.6", "reasoning"), ("@cf/zai-org/glm-5.2", "reasoning_content")],
)
async def test_reasoning_has_the_field_of_the_model(client, frames, model, field):
    *chunks, _ = frames(await client.say(model, "What is rain?", stream=True))
    thinking = [c["choices"][0]["delta"] for c in chunks if c["choices"] and field in c["choices"][0]["delta"]]
    assert thinking
    assert all(delta["content"] is None for delta in thinking)
    body = (await client.say(model, "What is rain?")).json()
    assert body["choices"][0]["message"][field] == "".join(delta[field] for delta in thinking)


async def test_gemma_thinks_only_when_asked(client):
    model = "@cf/google/gemma-4-26b-a4b-it"
    quiet = (await client.say(model, "What is rain?")).json()["choices"][0]["message"]
    loud = (await client.say(model, "What is rain?", reasoning_effort="high")).json()["choices"][0]["message"]
    assert quiet["reasoning"] is None
    assert loud["reasoning"]


async def test_kimi_stops_thinking_by_template_switch(client):
    body = await client.say("@cf/moonshotai/kimi-k2.6", "Hi", chat_template_kwargs={"thinking": False})
    assert body.json()["choices"][0]["message"]["reasoning"] is None


async def test_inline_thinking_opens_its_tag_on_qwq_only(client):
    qwq = (await client.say("@cf/qwen/qwq-32b", "Say exactly: yes")).json()["choices"][0]["message"]["content"]
    assert qwq.startswith("<think>\n")
    assert qwq.endswith("</think>\n\nyes")
    model = "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b"
    distill = (await client.say(model, "Say exactly: yes")).json()["choices"][0]["message"]["content"]
    assert "<think>" not in distill
    assert distill.endswith("</think>\n\nyes")


async def test_small_budget_is_eaten_by_thinking(client):
    choice = (await client.say(GPT, "What is rain?", max_tokens=5)).json()["choices"][0]
    assert choice["message"]["content"] is None
    assert choice["finish_reason"] == "length"


async def test_unstreamed_answer_has_the_engines_null_keys(client):
    body = (await client.say(GPT, "Say exactly: 4 °C in Oslo.")).json()
    assert body["choices"][0]["message"]["content"] == "4 °C in Oslo."
    assert {"prompt_logprobs", "prompt_token_ids", "kv_transfer_params"} <= body.keys()
    assert body["choices"][0]["token_ids"] is None
    assert body["choices"][0]["message"]["tool_calls"] == []
    assert body["usage"]["neurons"] > 0


async def test_neurons_follow_the_price(client):
    usage = (await client.say("@cf/openai/gpt-oss-120b", "Hello there")).json()["usage"]
    expected = (usage["prompt_tokens"] * 31818 + usage["completion_tokens"] * 68182) / 1e6
    assert usage["neurons"] == pytest.approx(expected, abs=1e-4)


async def test_session_affinity_fills_the_prefix_cache(client):
    text = "Tell me a long story about a very patient gardener and his nine tall sunflowers."
    for cached in (False, True):
        answer = await client.chat(
            GPT,
            {"messages": [{"role": "user", "content": text}]},
            headers={"x-session-affinity": "one"},
        )
        assert bool(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]) is cached


async def test_stop_works_on_openai_shaped_models_only(client):
    for model, said in ((GPT, "a b c"), ("@cf/nvidia/nemotron-3-120b-a12b", "a ")):
        body = (await client.say(model, "Say exactly: a b c", stop=["b"])).json()
        assert body["choices"][0]["message"]["content"] == said


async def test_equal_requests_get_equal_text_and_other_ids(client):
    one, two = [(await client.say(GPT, "What is rain?")).json() for _ in range(2)]
    assert one["choices"][0]["message"] == two["choices"][0]["message"]
    assert one["id"] != two["id"]


async def test_alias_answers_with_the_requested_id(client):
    assert (await client.say("@cf/moonshotai/kimi-k2.5", "Hi")).json()["model"] == "@cf/moonshotai/kimi-k2.5"
