"""The official SDK as the judge: an unchanged program gets its answers from Workers AI."""

import pytest

MODELS = [
    "@cf/openai/gpt-oss-120b",
    "@cf/openai/gpt-oss-20b",
    "@cf/meta/llama-3.1-8b-instruct-fp8",
    "@cf/zai-org/glm-5.3-flash",
]
REASONING = {"@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-20b", "@cf/zai-org/glm-5.3-flash"}
SAYING = "Say exactly: The 6 café opens at 10:06 — 日本 🎉\nand closes at 0."
SAID = "The 6 café opens at 10:06 — 日本 🎉\nand closes at 0."


def ask(text=SAYING):
    return [{"role": "system", "content": "You are terse."}, {"role": "user", "content": text}]


def asked(control):
    """What the emulator was asked to generate."""
    return [request["body"] for request in control.get("/requests").json() if request["method"] == "POST"]


@pytest.mark.parametrize("model", MODELS)
def test_chat(sdk, model):
    completion = sdk.chat.completions.create(model=model, messages=ask())
    choice = completion.choices[0]
    assert choice.message.content == SAID
    assert choice.finish_reason == "stop"
    assert choice.message.tool_calls is None
    assert completion.model == model
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion._request_id.startswith("req_")
    reasoning = getattr(choice.message, "reasoning_content", None)
    assert bool(reasoning) == (model in REASONING)
    assert getattr(choice.message, "reasoning", None) == reasoning


@pytest.mark.parametrize("model", MODELS)
async def test_chat_streamed(async_sdk, model):
    chunks = []
    stream = await async_sdk.chat.completions.create(
        model=model, messages=ask(), stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        chunks.append(chunk)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == SAID
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1] if chunk.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {(chunks[0].id, model, chunks[0].created)}


@pytest.mark.parametrize("model", MODELS)
def test_chat_streamed_says_the_same_as_whole(sdk, model):
    whole = sdk.chat.completions.create(model=model, messages=ask("Tell me about quartz."))
    with sdk.chat.completions.stream(model=model, messages=ask("Tell me about quartz.")) as stream:
        folded = stream.get_final_completion()
    assert folded.choices[0].message.content == whole.choices[0].message.content
    assert folded.choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.mark.parametrize("model", MODELS)
async def test_responses(async_sdk, model):
    response = await async_sdk.responses.create(model=model, instructions="You are terse.", input=SAYING)
    assert response.output_text == SAID
    assert response.status == "completed"
    assert response.usage.output_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    kinds = [item.type for item in response.output]
    assert kinds == (["reasoning", "message"] if model in REASONING else ["message"])


@pytest.mark.parametrize("model", MODELS)
def test_responses_streamed(sdk, model):
    with sdk.responses.stream(model=model, input=SAYING) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == SAID
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == SAID
    assert len(deltas) > 3
    assert final.usage.input_tokens > 0


def test_an_alias_is_answered_under_its_own_name(sdk):
    answer = sdk.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask("Hello"))
    assert answer.parse().model == "gpt-4o"
    assert answer.headers["x-flarelay-model"] == "@cf/openai/gpt-oss-120b"
    assert answer.headers["x-flarelay-upstream-request-id"]


@pytest.mark.parametrize("name", ["gpt-oss-120b", "openai/gpt-oss-120b", "@cf/openai/gpt-oss-120b"])
def test_a_model_goes_by_several_names(sdk, control, name):
    sdk.chat.completions.create(model=name, messages=ask("Hello"))
    assert [request["model"] for request in asked(control)] == ["@cf/openai/gpt-oss-120b"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_token_limit_is_always_sent(sdk, control, model, stream):
    answer = sdk.chat.completions.create(model=model, messages=ask("Write 400 words about rain."), stream=stream)
    if stream:
        *_, last = answer
        reason = last.choices[0].finish_reason
    else:
        reason = answer.choices[0].finish_reason
    sent = asked(control)[-1]
    assert (sent.get("max_tokens") or sent.get("max_completion_tokens")) > 2000
    assert reason == "stop"


def test_a_spent_limit_is_told_as_length(sdk):
    completion = sdk.chat.completions.create(
        model="@cf/meta/llama-3.1-8b-instruct-fp8",
        messages=ask("Write 400 words about rain."),
        max_completion_tokens=20,
    )
    assert completion.choices[0].finish_reason == "length"
    response = sdk.responses.create(
        model="@cf/openai/gpt-oss-20b", input="Write 400 words about rain.", max_output_tokens=60
    )
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_models(sdk):
    listed = {model.id for model in sdk.models.list()}
    assert {"@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-20b", "gpt-4o"} <= listed
    assert sdk.models.retrieve("@cf/openai/gpt-oss-120b").owned_by == "openai"
    assert sdk.models.retrieve("gpt-oss-20b").id == "@cf/openai/gpt-oss-20b"
