import asyncio

from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="gpt-oss-120b",
    api_base="http://127.0.0.1:8484/v1",
    api_key="anything",
    context_window=128_000,
    is_chat_model=True,
    is_function_calling_model=True,
)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}, 4 degrees."


async def main() -> None:
    agent = FunctionAgent(llm=llm, tools=[get_weather])
    running = agent.run("What is the weather in Oslo?")
    async for event in running.stream_events():
        if isinstance(event, AgentStream):
            print(event.delta, end="", flush=True)
    await running
    print()


asyncio.run(main())
