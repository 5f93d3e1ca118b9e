import json

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8484/v1", api_key="anything")
weather = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

first = client.responses.create(model="gpt-oss-120b", input="What is the weather in Oslo?", tools=[weather])
results = [
    {"type": "function_call_output", "call_id": item.call_id, "output": json.dumps({"sky": "rain", "degrees": 4})}
    for item in first.output
    if item.type == "function_call"
]
with client.responses.stream(
    model="gpt-oss-120b", previous_response_id=first.id, input=results, tools=[weather]
) as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
print()
