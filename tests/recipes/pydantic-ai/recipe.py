from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="http://127.0.0.1:8484/v1", api_key="anything")
agent = Agent(OpenAIChatModel("gpt-oss-120b", provider=provider))


@agent.tool_plain
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}, 4 degrees."


result = agent.run_stream_sync("What is the weather in Oslo?")
for text in result.stream_text(delta=True):
    print(text, end="", flush=True)
print()
