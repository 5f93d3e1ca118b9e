"""The rules of a stream of chat chunks, checked on its bytes, and what a careful client makes of it."""

import json
from dataclasses import dataclass, field

CHUNK_KEYS = {"id", "object", "created", "model", "choices"}
CHOICE_KEYS = {"index", "delta", "logprobs", "finish_reason"}
DELTA_KEYS = {"role", "content", "refusal", "reasoning_content", "reasoning", "tool_calls"}


@dataclass
class Call:
    """A tool call, folded."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Folded:
    """A stream, folded."""

    chunks: list = field(default_factory=list)
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict | None = None
    error: dict | None = None


def fold(stream: bytes, *, include_usage: bool) -> Folded:
    """Check one stream from its first to its last byte, and fold it."""
    payloads = _payloads(stream)
    folded = Folded()
    if payloads[-1] == b"[DONE]":
        payloads.pop()
    else:
        folded.error = _error(json.loads(payloads.pop()))
    assert b"[DONE]" not in payloads
    folded.chunks = [json.loads(payload) for payload in payloads]
    _check_heads(folded.chunks)
    rest = list(folded.chunks)
    if include_usage and folded.error is None:
        last = rest.pop()
        assert last["choices"] == []
        folded.usage = last["usage"]
        assert folded.usage is not None
    for place, chunk in enumerate(rest):
        assert set(chunk) == CHUNK_KEYS | ({"usage"} if include_usage else set())
        assert chunk.get("usage") is None
        assert folded.finish_reason is None, "something came after finish_reason"
        _take(chunk["choices"], place, folded)
    assert (folded.finish_reason is None) == (folded.error is not None)
    return folded


def _payloads(stream):
    assert stream.endswith(b"\n\n")
    frames = stream[:-2].split(b"\n\n")
    for frame in frames:
        assert frame.startswith(b"data: ")
        assert not {10, 13} & set(frame), "a frame is one line"
    return [frame.removeprefix(b"data: ") for frame in frames]


def _error(frame):
    assert set(frame) == {"error"}
    assert set(frame["error"]) == {"message", "type", "param", "code"}
    return frame["error"]


def _check_heads(chunks):
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) <= 1
    assert {chunk["object"] for chunk in chunks} <= {"chat.completion.chunk"}
    assert all(type(chunk["created"]) is int and chunk["id"].startswith("chatcmpl-") for chunk in chunks)


def _take(choices, place, folded):
    assert len(choices) == 1
    choice = choices[0]
    assert set(choice) == CHOICE_KEYS
    assert choice["index"] == 0
    assert choice["logprobs"] is None
    delta = choice["delta"]
    assert set(delta) <= DELTA_KEYS
    if place == 0:
        assert delta == {"role": "assistant", "content": "", "refusal": None}
    else:
        assert "role" not in delta
    if choice["finish_reason"] is not None:
        assert delta == {}
        folded.finish_reason = choice["finish_reason"]
    elif place:
        assert set(delta) in (
            {"content"}, {"refusal"}, {"reasoning", "reasoning_content"}, {"tool_calls"},
        )  # fmt: skip
        assert delta.get("reasoning") == delta.get("reasoning_content")
        folded.text += delta.get("content", "")
        folded.refusal += delta.get("refusal", "")
        folded.reasoning += delta.get("reasoning", "")
        for call in delta.get("tool_calls", ()):
            _take_call(call, folded.calls)


def _take_call(call, calls):
    if call["index"] == len(calls):
        assert set(call) == {"index", "id", "type", "function"}
        assert call["type"] == "function"
        assert call["function"] == {"name": call["function"]["name"], "arguments": ""}
        assert call["id"]
        assert call["id"] not in {earlier.id for earlier in calls}
        calls.append(Call(call["id"], call["function"]["name"]))
        return
    assert 0 <= call["index"] < len(calls), "a gap in the indices"
    assert set(call) == {"index", "function"}
    assert set(call["function"]) == {"arguments"}
    assert call["function"]["arguments"]
    calls[call["index"]].arguments += call["function"]["arguments"]
