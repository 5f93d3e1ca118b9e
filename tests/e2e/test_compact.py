"""Counting a request's input, and compacting a conversation."""

import json

import openai
import pytest
from openai import OpenAI
from openai.types.responses import ResponseCompactionItem
from openai.types.responses.response_usage import ResponseUsage

from app.keys.seal import Seal
from app.main import create_app
from app.surfaces.responses.compact import HEAD, KEPT_TOKENS, SUMMARY_TOKENS
from tests.conftest import TOKEN, settings_for
from tests.e2e.test_sdk import asked
from tests.serving import serving

MODEL = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"
F = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture
def lenient(proxy):
    """The SDK's own type of a compacted response has no user messages, which its documentation says are there."""
    with OpenAI(base_url=f"{proxy}/v1", api_key="any", max_retries=0) as client:
        yield client


def opened(sealed):
    seal = Seal(f"seal {TOKEN}".encode(), lambda _: b"")
    return json.loads(seal.open("anonymous", "compaction", sealed))


def test_input_tokens_are_estimated(sdk):
    small = sdk.responses.input_tokens.count(model=MODEL, input="Hello").input_tokens
    large = sdk.responses.input_tokens.count(model=MODEL, input="Hello " * 1000).input_tokens
    with_tools = sdk.responses.input_tokens.count(model=MODEL, input="Hello", tools=[F]).input_tokens
    told = sdk.responses.input_tokens.count(model=MODEL, input="Hello", instructions="Be terse. " * 9).input_tokens
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    shaped = sdk.responses.input_tokens.count(model=MODEL, input="Hello", text={"format": form}).input_tokens
    assert 0 < small < with_tools
    assert small < told
    assert small < shaped
    assert 1000 < large < 3000


def test_input_tokens_count_what_came_before(sdk, control):
    first = sdk.responses.create(model=MODEL, input="word " * 500)
    talk = sdk.conversations.create(items=[{"role": "user", "content": "word " * 500}])
    control.delete("/requests")
    continued = sdk.responses.input_tokens.with_raw_response.count(model=MODEL, previous_response_id=first.id)
    assert continued.headers["x-flarelay-estimated"] == "true"
    assert continued.parse().input_tokens > 500
    assert sdk.responses.input_tokens.count(model=MODEL, input="x", conversation=talk.id).input_tokens > 500
    assert asked(control) == []


@pytest.mark.parametrize("path", ["input_tokens", "compact"])
@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "x"}, 400, "model"),
        ({"model": MODEL}, 400, "input"),
        ({"model": MODEL, "input": 3}, 400, "input"),
        ({"model": "no-such-model", "input": "x"}, 404, "model"),
        ({"model": MODEL, "input": "x", "previous_response_id": "resp_no"}, 400, "previous_response_id"),
        ({"model": MODEL, "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, 400, "input"),
    ],
)
def test_both_check_a_request_like_the_route_that_answers_it(http, path, body, status, param):
    answer = http.post(f"/v1/responses/{path}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (status, "invalid_request_error", param)


def test_other_methods_are_not_allowed(http):
    assert http.get("/v1/responses/input_tokens").status_code in {404, 405}
    assert http.post("/v1/responses/input_tokens", content=b"{").status_code == 400


HISTORY = [
    {"role": "developer", "content": "Use metric units."},
    {"role": "user", "content": "first question"},
    {"role": "assistant", "content": "first answer"},
    {"role": "user", "content": "second question"},
    {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    {"role": "assistant", "content": "second answer"},
]


@pytest.mark.parametrize("model", [MODEL, LEGACY])
def test_a_conversation_is_compacted_and_read_back(lenient, control, model):
    made = lenient.responses.compact(model=model, input=HISTORY, instructions="Be terse.")
    assert made.object == "response.compaction"
    assert made.id.startswith("resp_")
    ResponseUsage.model_validate(made.usage.to_dict())
    assert made.usage.output_tokens > 0
    output = [item.to_dict(warnings=False) for item in made.output]
    assert [item["type"] for item in output] == ["message", "message", "compaction"]
    assert [item["content"][0]["text"] for item in output[:2]] == ["first question", "second question"]
    assert {item["role"] for item in output[:2]} == {"user"}
    ResponseCompactionItem.model_validate(output[2])
    (request,) = asked(control)
    assert request["messages"][0] == {"role": "system", "content": "Be terse."}
    assert "summary" in request["messages"][-1]["content"]
    assert "tools" not in request
    assert (request.get("max_completion_tokens") or request["max_tokens"]) == SUMMARY_TOKENS

    control.delete("/requests")
    after = lenient.responses.create(model=model, input=[*output, {"role": "user", "content": "third question"}])
    assert after.status == "completed"
    (request,) = asked(control)
    messages = request["messages"]
    assert [message["role"].replace("developer", "system") for message in messages] == [
        "user",
        "user",
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    texts = [message["content"] for message in messages]
    assert texts[:3] == ["first question", "second question", "Use metric units."]
    assert texts[3].startswith(HEAD)
    assert len(texts[3]) > len(HEAD)
    assert texts[4:] == ["", "rain", "second answer", "third question"]

    # It stays readable where it is only a part of what came before.
    control.delete("/requests")
    lenient.responses.create(model=model, input="fourth question", previous_response_id=after.id)
    assert [message["content"] for message in asked(control)[0]["messages"]][: len(texts)] == texts


def test_what_is_compacted_is_compacted_again(lenient, control):
    first = lenient.responses.compact(model=LEGACY, input=HISTORY)
    again = [*(item.to_dict(warnings=False) for item in first.output), {"role": "user", "content": "third question"}]
    second = lenient.responses.compact(model=LEGACY, input=again)
    assert [item.content[0].text for item in second.output[:-1]] == [
        "first question",
        "second question",
        "third question",
    ]
    hidden = opened(second.output[-1].encrypted_content)
    assert [item["role"] for item in hidden] == ["developer", "user"]
    assert hidden[0]["content"] == "Use metric units."
    at_once = lenient.responses.compact(model=LEGACY, input=[item.to_dict(warnings=False) for item in first.output])
    kinds = [item.get("type", "message") for item in opened(at_once.output[-1].encrypted_content)]
    assert kinds == ["message", "message", "function_call", "function_call_output", "message"]


def test_a_stored_response_is_compacted_by_its_id(lenient, control):
    made = lenient.responses.create(model=LEGACY, input="Say exactly: one")
    compacted = lenient.responses.compact(model=LEGACY, previous_response_id=made.id)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    assert [message["content"] for message in asked(control)[-1]["messages"]][:2] == ["Say exactly: one", "one"]
    hidden = opened(compacted.output[-1].encrypted_content)
    assert hidden[-1]["content"][0]["text"] == "one"


def test_only_the_latest_of_long_messages_is_kept(lenient):
    long = "word " * (KEPT_TOKENS // 2)
    turns = [{"role": role, "content": f"{n} {long}"} for n in range(3) for role in ("user", "assistant")]
    made = lenient.responses.compact(model=MODEL, input=turns)
    assert [item.content[0].text[:2] for item in made.output[:-1]] == ["2 "]


@pytest.mark.parametrize("foreign", ["gAAAAABforeign", "fl1.AAAA", "fl1."])
def test_what_was_compacted_elsewhere_is_left_out_and_told(lenient, control, foreign):
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": foreign}
    answer = lenient.responses.with_raw_response.create(model=LEGACY, input=[item, {"role": "user", "content": "x"}])
    assert answer.headers["x-flarelay-dropped"] == "input[0]"
    assert [message["content"] for message in asked(control)[0]["messages"]] == ["x"]


def test_what_was_compacted_for_another_caller_is_left_out(emulator):
    settings = settings_for(emulator, api_keys="sk-one-0123456789abcdef,sk-two-0123456789abcdef")
    with serving(create_app(settings)) as address:
        one, two = (
            OpenAI(base_url=f"{address}/v1", api_key=f"sk-{name}-0123456789abcdef", max_retries=0)
            for name in ("one", "two")
        )
        made = [
            item.to_dict(warnings=False) for item in one.responses.compact(model=LEGACY, input="secret words").output
        ]
        for client, dropped in ((one, None), (two, "input[1]")):
            answer = client.responses.with_raw_response.create(model=LEGACY, input=made)
            assert answer.headers.get("x-flarelay-dropped") == dropped
            client.close()


def test_a_model_that_fails_is_an_error(lenient):
    with pytest.raises(openai.APIStatusError) as caught:
        lenient.responses.compact(model="@cf/emulator/cut", input="x")
    assert caught.value.status_code == 502
