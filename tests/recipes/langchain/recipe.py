from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="gpt-oss-120b", base_url="http://127.0.0.1:8484/v1", api_key="anything")


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}, 4 degrees."


agent = create_agent(model, tools=[get_weather])
question = {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
for chunk, _ in agent.stream(question, stream_mode="messages"):
    if chunk.type == "AIMessageChunk":
        print(chunk.text, end="", flush=True)
print()
