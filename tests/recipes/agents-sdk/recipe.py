import asyncio

from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

set_default_openai_client(AsyncOpenAI(base_url="http://127.0.0.1:8484/v1", api_key="anything"))
set_tracing_disabled(True)  # Traces go to OpenAI, whatever the base URL.


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}, 4 degrees."


async def main() -> None:
    agent = Agent(name="helper", instructions="You help.", model="gpt-oss-120b", tools=[get_weather])
    result = Runner.run_streamed(agent, "What is the weather in Oslo?")
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)
    print()


asyncio.run(main())
