"""The official client reads what the writer writes."""

import httpx2
import pytest
from openai import APIError, OpenAI

from app.core.errors import RateLimited
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.usage import Usage
from tests.surfaces.responses.test_write import RICH, call_events, write

ANSWER = [
    Started(),
    Opened(0, "reasoning"),
    Delta(0, "hm"),
    Closed(0),
    Opened(1, "text"),
    Delta(1, "Hel"),
    Delta(1, "lo"),
    Closed(1),
    Opened(2, "tool_call", "a", "f"),
    Opened(3, "tool_call", "b", "crm__find"),
    Delta(3, "{}"),
    Closed(3),
    Closed(2),
    Opened(4, "tool_call", "c", "shell"),
    Delta(4, '{"input":"ls"}'),
    Closed(4),
    Opened(5, "refusal"),
    Delta(5, "no"),
    Closed(5),
    Finished("tool_calls", Usage(1, 2)),
]


def client(stream):
    transport = httpx2.MockTransport(
        lambda _: httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)
    )
    return OpenAI(
        api_key="k",
        base_url="http://x.test/v1",
        http_client=httpx2.Client(transport=transport),
        _strict_response_validation=True,
    )


def test_the_client_adds_the_stream_up():
    with client(write(ANSWER, RICH)) as openai, openai.responses.stream(model="m", input="hi") as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
        "custom_tool_call",
        "message",
    ]
    assert final.output_text == "Hello"
    assert final.output[3].namespace == "crm"
    assert final.output[4].input == "ls"
    assert final.usage.total_tokens == 3


def test_the_client_raises_what_broke_the_stream():
    stream = write([*call_events("f")[:-1], Failed(RateLimited("Slow down."))])
    with client(stream) as openai:
        events = openai.responses.create(model="m", input="hi", stream=True)
        with pytest.raises(APIError, match=r"Slow down\.") as caught:
            list(events)
    assert caught.value.code == "rate_limit_exceeded"
