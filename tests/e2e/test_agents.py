"""The OpenAI Agents SDK: an agent with two tools and a hand-off, streamed, on both of its models."""

import json

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
)

from tests.e2e.test_sdk import asked

QUIET = RunConfig(tracing_disabled=True)
MODELS = ["@cf/openai/gpt-oss-120b", "@cf/zai-org/glm-5.3-flash"]


def agents_on(model):
    heard = []

    @function_tool
    def get_weather(city: str) -> str:
        """Tell the weather of a city."""
        heard.append(("get_weather", city))
        return "rain"

    @function_tool
    def get_time(zone: str):
        heard.append(("get_time", zone))
        return "10:06"

    poet = Agent(name="poet", instructions="You write poems.", model=model, handoff_description="Writes poems.")
    helper = Agent(name="helper", instructions="You help.", model=model, tools=[get_weather, get_time])
    router = Agent(name="router", instructions="You route.", model=model, handoffs=[poet], tools=[get_weather])
    return helper, router, heard


@pytest.fixture(params=["responses", "chat"])
def kind(request):
    return {"responses": OpenAIResponsesModel, "chat": OpenAIChatCompletionsModel}[request.param]


async def run(agent, said, **options):
    result = Runner.run_streamed(agent, said, run_config=QUIET, **options)
    deltas = []
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            deltas.append(event.data.delta)
    return result, "".join(deltas)


@pytest.mark.parametrize("name", MODELS)
async def test_two_tools(async_sdk, control, kind, name):
    helper, _, heard = agents_on(kind(model=name, openai_client=async_sdk))
    result, text = await run(helper, 'Call get_weather({"city": "Oslo"}) and get_time({"zone": "CET"}).')
    assert sorted(heard) == [("get_time", "CET"), ("get_weather", "Oslo")]
    kinds = [item.type for item in result.new_items if item.type != "reasoning_item"]
    assert kinds == ["tool_call_item"] * 2 + ["tool_call_output_item"] * 2 + ["message_output_item"]
    assert result.final_output
    assert text.endswith(result.final_output)
    first, second = asked(control)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["get_weather", "get_time"]
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert [message["content"] for message in second["messages"][-2:]] == ["rain", "10:06"]
    calls = second["messages"][2]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": "Oslo"}, {"zone": "CET"}]


@pytest.mark.parametrize("name", MODELS)
async def test_a_hand_off(async_sdk, control, kind, name):
    _, router, _ = agents_on(kind(model=name, openai_client=async_sdk))
    result, _ = await run(router, "transfer_to_poet")
    assert result.last_agent.name == "poet"
    assert result.final_output
    kinds = [item.type for item in result.new_items if item.type != "reasoning_item"]
    assert kinds == ["handoff_call_item", "handoff_output_item", "message_output_item"]
    roles = [message["role"] for message in asked(control)[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert asked(control)[-1]["messages"][0]["content"] == "You write poems."


async def test_the_next_turn_replays_what_was(async_sdk, control, kind):
    helper, _, _ = agents_on(kind(model=MODELS[0], openai_client=async_sdk))
    first, _ = await run(helper, 'Call get_weather({"city": "Oslo"}).')
    again, _ = await run(helper, [*first.to_input_list(), {"role": "user", "content": "Say exactly: done"}])
    assert again.final_output == "done"
    roles = [message["role"] for message in asked(control)[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_state_on_the_server(async_sdk, control):
    helper, _, heard = agents_on(OpenAIResponsesModel(model=MODELS[0], openai_client=async_sdk))
    first, _ = await run(helper, 'Call get_weather({"city": "Oslo"}).', auto_previous_response_id=True)
    assert heard == [("get_weather", "Oslo")]
    again, _ = await run(helper, "Say exactly: done", previous_response_id=first.last_response_id)
    assert again.final_output == "done"
    roles = [message["role"] for message in asked(control)[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    talk = await async_sdk.conversations.create()
    await run(helper, 'Call get_weather({"city": "Bergen"}).', conversation_id=talk.id)
    after, _ = await run(helper, "Say exactly: so", conversation_id=talk.id)
    assert after.final_output == "so"
    assert [message["role"] for message in asked(control)[-1]["messages"]] == roles


async def test_settings_of_the_model_are_accepted(async_sdk, control, kind):
    model = kind(model=MODELS[0], openai_client=async_sdk)
    settings = ModelSettings(
        temperature=0.2, max_tokens=400, include_usage=True, parallel_tool_calls=False, store=False
    )
    agent = Agent(name="plain", instructions="You help.", model=model, model_settings=settings)
    result, _ = await run(agent, "Say exactly: yes")
    assert result.final_output == "yes"
    assert result.context_wrapper.usage.output_tokens > 0
