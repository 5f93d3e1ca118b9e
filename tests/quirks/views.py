"""What a client sees: one question put in every way it can be put, and the answers in one shape.

Each answer is held to the rules of its wire while it is read, so a test has to say only what is special about it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

CHAT_KEYS = {"id", "object", "created", "model", "choices", "usage"}
"""What a chunk may hold."""

DELTA_KEYS = {"role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content", "function_call"}

MODES = [("chat", False), ("chat", True), ("responses", False), ("responses", True)]


@dataclass(frozen=True)
class Call:
    """A tool call as the client has it."""

    id: str
    name: str
    arguments: Any


@dataclass(frozen=True)
class View:
    """An answer as the client has it; ``finish`` is in the words of Chat Completions."""

    status: int
    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    headers: Any = None

    @property
    def names(self):
        return [call.name for call in self.calls]


class Asker:
    """Asks one proxy in one way."""

    def __init__(self, http, surface: str, *, stream: bool) -> None:
        self.http = http
        self.surface = surface
        self.stream = stream

    def __call__(self, model: str, said, **more) -> View:
        """Ask. ``said`` is a text or chat messages; everything else is in the words of Chat Completions."""
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
        body = {"model": model, "messages": messages, "stream": self.stream, **more}
        if self.surface == "responses":
            return self._responses(_as_responses(body))
        if self.stream:
            body["stream_options"] = {"include_usage": True}
        answer = self.http.post("/v1/chat/completions", json=body)
        if answer.status_code != 200:
            return _refused(answer)
        return _chat_streamed(answer) if self.stream else _chat_whole(answer)

    def _responses(self, body) -> View:
        answer = self.http.post("/v1/responses", json=body)
        if answer.status_code != 200:
            return _refused(answer)
        return _responses_streamed(answer) if self.stream else _responses_view(answer.json(), answer)


def _refused(answer) -> View:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return View(answer.status_code, error=error, headers=answer.headers)


def payloads(answer) -> list[str]:
    """The data of every event; comments are skipped."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.split("\n\n")
    assert blocks.pop() == ""
    lines = [line for block in blocks for line in block.split("\n") if not line.startswith((":", "event: "))]
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def _usage(usage, prompt="prompt_tokens", completion="completion_tokens") -> dict[str, int]:
    assert usage["total_tokens"] == usage[prompt] + usage[completion]
    assert "neurons" not in usage
    inside, outside = usage.get(f"{prompt}_details") or {}, usage.get(f"{completion}_details") or {}
    return {
        "prompt": usage[prompt],
        "completion": usage[completion],
        "cached": inside.get("cached_tokens", 0),
        "reasoning": outside.get("reasoning_tokens", 0),
    }


def _call(call) -> Call:
    assert call["type"] == "function"
    assert isinstance(call["function"]["arguments"], str)
    return Call(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))


def _chat_whole(answer) -> View:
    body = answer.json()
    (choice,) = body["choices"]
    message = choice["message"]
    assert message["content"] is None or isinstance(message["content"], str)
    assert message.get("reasoning") == message.get("reasoning_content")
    assert not {"stop_reason", "token_ids"} & set(choice)
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    assert "tool_calls" not in message or calls
    return View(
        200,
        message["content"] or "",
        message.get("reasoning") or "",
        calls,
        choice["finish_reason"],
        _usage(body["usage"]),
        headers=answer.headers,
    )


def _chat_streamed(answer) -> View:
    *parts, end = payloads(answer)
    assert end == "[DONE]", parts[-1]
    chunks = [json.loads(part) for part in parts]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert all(set(chunk) <= CHAT_KEYS for chunk in chunks)
    *told, last = chunks
    assert last["choices"] == []
    assert all(chunk["usage"] is None for chunk in told)
    text, reasoning, other, calls, finish = "", "", "", {}, []
    assert told[0]["choices"][0]["delta"]["role"] == "assistant"
    for chunk in told:
        (choice,) = chunk["choices"]
        assert set(choice) == {"index", "delta", "logprobs", "finish_reason"}
        delta = choice["delta"]
        assert set(delta) <= DELTA_KEYS
        assert not finish, "something came after the finish reason"
        text += delta.get("content") or ""
        reasoning += delta.get("reasoning_content") or ""
        other += delta.get("reasoning") or ""
        for call in delta.get("tool_calls", ()):
            _gather(calls, call)
        finish += [choice["finish_reason"]] if choice["finish_reason"] else []
    assert reasoning == other
    assert len(finish) == 1
    assert list(calls) == list(range(len(calls)))
    return View(
        200,
        text,
        reasoning,
        [_call(call) for call in calls.values()],
        finish[0],
        _usage(last["usage"]),
        headers=answer.headers,
    )


def _gather(calls, call) -> None:
    index = call["index"]
    assert isinstance(index, int)
    if index not in calls:
        assert call["id"]
        assert call["function"]["name"]
        calls[index] = {"id": call["id"], "type": call["type"], "function": dict(call["function"])}
        return
    # Accumulators join what comes twice.
    assert not {"id", "type"} & set(call)
    assert set(call["function"]) == {"arguments"}
    calls[index]["function"]["arguments"] += call["function"]["arguments"]


def _responses_streamed(answer) -> View:
    *parts, end = payloads(answer)
    assert end == "[DONE]"
    events = [json.loads(part) for part in parts]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    final = events[-1]
    assert final["type"] in {"response.completed", "response.incomplete"}, final
    view = _responses_view(final["response"], answer)
    said = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    thought = [event["delta"] for event in events if event["type"] == "response.reasoning_text.delta"]
    assert "".join(said) == view.text
    assert "".join(thought) == view.reasoning
    return view


def _responses_view(body, answer) -> View:
    assert body["error"] is None
    text = reasoning = ""
    calls = []
    for item in body["output"]:
        match item["type"]:
            case "message":
                text += "".join(part["text"] for part in item["content"])
            case "reasoning":
                reasoning += "".join(part["text"] for part in item["content"])
            case "function_call":
                calls.append(Call(item["call_id"], item["name"], json.loads(item["arguments"])))
    assert len({item["id"] for item in body["output"]}) == len(body["output"])
    finish = "tool_calls" if calls else "stop"
    if body["status"] == "incomplete":
        finish = {"max_output_tokens": "length"}[body["incomplete_details"]["reason"]]
    usage = _usage(body["usage"], "input_tokens", "output_tokens")
    return View(200, text, reasoning, calls, finish, usage, headers=answer.headers)


def _as_responses(body):
    """The same request in the words of the Responses API."""
    body = {**body, "store": False}
    body["input"] = [item for message in body.pop("messages") for item in _items(message)]
    if "tools" in body:
        body["tools"] = [{"type": "function", "strict": False, **tool.get("function", tool)} for tool in body["tools"]]
    if isinstance(body.get("tool_choice"), dict):
        body["tool_choice"] = {"type": "function", "name": body["tool_choice"]["function"]["name"]}
    if "max_tokens" in body:
        body["max_output_tokens"] = body.pop("max_tokens")
    if "reasoning_effort" in body:
        body["reasoning"] = {"effort": body.pop("reasoning_effort")}
    if "response_format" in body:
        wanted = body.pop("response_format")
        body["text"] = {"format": {"type": wanted["type"], **wanted.get("json_schema", {})}}
    return body


def _items(message):
    content = message.get("content")
    if message["role"] == "tool":
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": _parts(content, "input")}
        return
    if message.get("reasoning_content"):
        thought = [{"type": "reasoning_text", "text": message["reasoning_content"]}]
        yield {"type": "reasoning", "id": "rs_1", "summary": [], "content": thought}
    if content:
        kind = "output" if message["role"] == "assistant" else "input"
        yield {"role": message["role"], "content": _parts(content, kind)}
    for call in message.get("tool_calls", ()):
        yield {"type": "function_call", "call_id": call["id"], **call["function"]}


def _parts(content, kind):
    if isinstance(content, str):
        return content
    return [
        {"type": f"{kind}_text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"]}
        for part in content
    ]
