"""The rules of a stream of chat chunks, checked on its bytes, and what a careful client makes of it."""

import json
from dataclasses import dataclass, field

CHUNK_KEYS = {"id", "object", "created", "model", "choices"}
CHOICE_KEYS = {"index", "delta", "logprobs", "finish_reason"}
KINDS_OF_DELTA = ({"content"}, {"refusal"}, {"reasoning", "reasoning_content"}, {"tool_calls"}, {"function_call"})


@dataclass
class Call:
    """A tool call, folded; in the deprecated form it has no id."""

    id: str | None
    name: str
    arguments: str = ""
    kind: str = "function"


@dataclass
class Choice:
    """One choice, folded."""

    begun: bool = False
    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Call] = field(default_factory=list)
    finish_reason: str | None = None


@dataclass
class Folded:
    """A stream, folded; of a stream with one choice everything about that choice can be read here."""

    choices: list[Choice]
    chunks: list = field(default_factory=list)
    usage: dict | None = None
    error: dict | None = None

    def __getattr__(self, name):
        (only,) = self.choices
        return getattr(only, name)


def fold(stream: bytes, *, include_usage: bool, count: int = 1) -> Folded:
    """Check one stream from its first to its last byte, and fold it."""
    payloads = _payloads(stream)
    folded = Folded([Choice() for _ in range(count)])
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
        assert len(chunk["choices"]) == 1
        if place < count:
            # Clients append choices in the order in which they meet them.
            assert chunk["choices"][0]["index"] == place
        _take(chunk["choices"][0], folded.choices)
    finished = [choice.finish_reason is not None for choice in folded.choices]
    assert not all(finished) if folded.error is not None else all(finished)
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


def _take(choice, folded):
    assert set(choice) == CHOICE_KEYS
    assert choice["logprobs"] is None
    said, delta = folded[choice["index"]], choice["delta"]
    assert said.finish_reason is None, "something came after finish_reason"
    if not said.begun:
        assert delta == {"role": "assistant", "content": "", "refusal": None}
        assert choice["finish_reason"] is None
        said.begun = True
    elif choice["finish_reason"] is not None:
        assert delta == {}
        said.finish_reason = choice["finish_reason"]
    else:
        assert set(delta) in KINDS_OF_DELTA
        assert delta.get("reasoning") == delta.get("reasoning_content")
        assert all(value != "" for value in delta.values())
        said.text += delta.get("content", "")
        said.refusal += delta.get("refusal", "")
        said.reasoning += delta.get("reasoning", "")
        for call in delta.get("tool_calls", ()):
            _take_call(call, said.calls)
        if "function_call" in delta:
            _take_function_call(delta["function_call"], said.calls)


def _take_call(call, calls):
    if call["index"] == len(calls):
        kind = call["type"]
        inner = {"function": "arguments", "custom": "input"}[kind]
        assert set(call) == {"index", "id", "type", kind}
        assert call[kind] == {"name": call[kind]["name"], inner: ""}
        assert call["id"]
        assert call["id"] not in {earlier.id for earlier in calls}
        calls.append(Call(call["id"], call[kind]["name"], kind=kind))
        return
    assert 0 <= call["index"] < len(calls), "a gap in the indices"
    made = calls[call["index"]]
    inner = {"function": "arguments", "custom": "input"}[made.kind]
    assert set(call) == {"index", made.kind}
    assert set(call[made.kind]) == {inner}
    assert call[made.kind][inner]
    assert made.kind == "function" or not made.arguments, "an input comes in one piece"
    made.arguments += call[made.kind][inner]


def _take_function_call(call, calls):
    if not calls:
        assert set(call) == {"name", "arguments"}
        assert call["arguments"] == ""
        calls.append(Call(None, call["name"]))
        return
    assert set(call) == {"arguments"}, "there is one call"
    assert call["arguments"]
    calls[0].arguments += call["arguments"]
