"""What people do with the Responses API through the SDK: parsed answers, and tools over several turns."""

import json

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.test_sdk import asked

MODELS = ["@cf/openai/gpt-oss-120b", "@cf/meta/llama-3.3-70b-instruct-fp8-fast", "@cf/zai-org/glm-5.3-flash"]


class City(BaseModel):
    name: str
    people: int
    tags: list[str]


class GetWeather(BaseModel):
    """Tell the weather."""

    city: str


TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
]
CITIES = ["Oslo", "Bergen", "Tromsø"]


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_is_parsed(sdk, model):
    made = sdk.responses.parse(model=model, input="Tell me of a city.", text_format=City)
    assert isinstance(made.output_parsed, City)
    assert made.text.format.name == "City"
    with sdk.responses.stream(model=model, input="Tell me of a city.", text_format=City) as stream:
        assert isinstance(stream.get_final_response().output_parsed, City)


@pytest.mark.parametrize("model", MODELS)
async def test_an_answer_is_parsed_asynchronously(async_sdk, model):
    made = await async_sdk.responses.parse(model=model, input="Tell me of a city.", text_format=City)
    assert isinstance(made.output_parsed, City)


def test_arguments_are_parsed(sdk):
    tools = [openai.pydantic_function_tool(GetWeather)["function"] | {"type": "function"}]
    said = 'Call GetWeather({"city": "Oslo"}).'
    made = sdk.responses.parse(model=MODELS[0], input=said, tools=tools)
    (call,) = [item for item in made.output if item.type == "function_call"]
    assert call.parsed_arguments == {"city": "Oslo"} or call.parsed_arguments == GetWeather(city="Oslo")


def call_in(response, city):
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": city}
    return call


def result_of(call):
    return {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}


def said(city):
    return {"role": "user", "content": f'Call get_weather({{"city": "{city}"}}).'}


ROLES = ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_that_continues(sdk, control, model, stream):
    def ask(**more):
        if not stream:
            return sdk.responses.create(model=model, tools=TOOLS, **more)
        with sdk.responses.stream(model=model, tools=TOOLS, **more) as events:
            return events.get_final_response()

    previous = {}
    for city in CITIES:
        first = ask(input=[said(city)], **previous)
        second = ask(input=[result_of(call_in(first, city))], previous_response_id=first.id)
        assert second.output_text
        previous = {"previous_response_id": second.id}
    assert [message["role"] for message in asked(control)[-1]["messages"]] == (ROLES * 3)[:-1]
    listed = list(sdk.responses.input_items.list(second.id, order="asc"))
    assert sum(item.type == "function_call" for item in listed) == 3


@pytest.mark.parametrize("model", MODELS)
async def test_a_tool_loop_that_replays(async_sdk, control, model):
    async def ask():
        made = await async_sdk.responses.create(model=model, tools=TOOLS, input=items, store=False)
        items.extend(made.output)
        return made

    items = []
    for city in CITIES:
        items.append(said(city))
        items.append(result_of(call_in(await ask(), city)))
        assert (await ask()).output_text
    assert [message["role"] for message in asked(control)[-1]["messages"]] == (ROLES * 3)[:-1]
    calls = [call for message in asked(control)[-1]["messages"] for call in message.get("tool_calls") or ()]
    assert len({call["id"] for call in calls}) == 3


async def test_background_work_is_polled_and_resumed_asynchronously(async_sdk):
    made = await async_sdk.responses.create(model=MODELS[0], input="Say exactly: later", background=True)
    stream = await async_sdk.responses.create(model=MODELS[0], input="Count to 30", background=True, stream=True)
    seen = [await anext(stream) for _ in range(5)]
    await stream.close()
    rest = await async_sdk.responses.retrieve(seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number)
    numbers = [event.sequence_number for event in seen] + [event.sequence_number async for event in rest]
    assert numbers == list(range(len(numbers)))
    while made.status in {"queued", "in_progress"}:
        made = await async_sdk.responses.retrieve(made.id)
    assert made.output_text == "later"
