"""Frames of streamed answers, style by style. A frame is the JSON of one `data:` line."""

from collections.abc import Iterator
from typing import Any

from app.emulator.answers import arguments_of, finish_of, openai_call, usage_of
from app.emulator.ask import Ask
from app.emulator.generation import Generation
from app.emulator.tokens import tokenize
from app.emulator.tools import Call
from app.emulator.traits import Traits

Frame = dict[str, Any]

_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_PADDING = "abcdefghijklmnopqrstuvwxyz0123456789"
# Harmony's control tokens: the end of a call, and the end of an answer (Q53).
_STOP_AT_CALL, _STOP_AT_RETURN = 200012, 200002


def wire_token(token: str, *, numbers: bool) -> str | int:
    """Return a token as it is sent: a lone digit becomes a JSON number where the model does that (Q5)."""
    return int(token) if numbers and token.isascii() and token.isdigit() else token


def run_frames(ask: Ask, made: Generation) -> Iterator[Frame]:
    """Stream `/ai/run`: native frames, or chat chunks ended by a native usage frame."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    if traits.run_stream == "chunks":
        yield from chat_frames(ask, made)
        yield {"response": "", "usage": usage_of(made, traits)}
        return
    yield from _native_frames(made, traits)


def _native_frames(made: Generation, traits: Traits) -> Iterator[Frame]:
    """Stream `{response, p}` frames, call fragments, the all-null finaliser and a usage frame."""
    for token in made.text:
        frame: Frame = {"response": wire_token(token, numbers=traits.run_numbers), "p": _pad(made)}
        if traits.frame_calls:
            frame["tool_calls"] = []
        yield frame
    for place, call in enumerate(made.calls):
        for fragment in _fragments(call, place, traits):
            yield {"response": None, "tool_calls": [fragment], "p": _pad(made)}
        if traits.finaliser:
            nothing = {"name": None, "arguments": ""}
            yield {"tool_calls": [{"id": None, "type": None, "index": place, "function": nothing}]}
    if made.finish == "tool_calls" and not made.calls:
        yield {"response": "", "tool_calls": [], "finish_reason": "tool_calls", "p": _pad(made)}
    last: Frame = {"response": None if traits.null_final else ""}
    if traits.run_finish:
        last["finish_reason"] = finish_of(made, traits)
    if traits.usage != "none":
        last["usage"] = usage_of(made, traits)
    yield last


def _pad(made: Generation) -> str:
    return "".join(made.rng.choices(_PADDING, k=made.rng.randint(2, 24)))


def _fragments(call: Call, place: int, traits: Traits) -> Iterator[dict[str, Any]]:
    """Cut one call into stream fragments: name first (or, for some, last but one), then the arguments."""
    index = 0 if traits.index_reset else place
    whole = openai_call(call, traits)
    kind = whole["type"]
    body = whole[kind]
    key = "input" if call.custom else "arguments"
    if traits.arguments == "object" and not call.custom:
        yield {"id": call.id, "type": kind, "index": index, kind: body}
        return
    pieces = tokenize(arguments_of(call, traits) if not call.custom else call.arguments)
    opening = {"id": call.id, "type": kind, "index": index, kind: {"name": call.name, key: ""}}
    first = 2 if traits.arguments_first else 0
    for piece in pieces[:first]:
        yield {"index": index, kind: {key: piece}}
    yield opening
    for piece in pieces[first:]:
        yield {"index": index, kind: {key: piece}}


def chat_frames(ask: Ask, made: Generation) -> Iterator[Frame]:
    """Stream `chat.completion.chunk` frames in the model's style."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    head: Frame = {
        "id": f"id-{made.created}{made.rng.randint(0, 999):03d}",
        "object": "chat.completion.chunk",
        "created": made.created,
        "model": ask.model.id,
    }
    meter = _Meter(made, traits)
    if traits.role_chunk:
        yield meter.opening({**head, "choices": [_choice({"role": "assistant", "content": ""})]})
    for delta in _deltas(made, traits):
        choice = _choice(delta)
        if traits.stop_reason and "tool_calls" not in delta:
            choice["token_ids"] = None
        yield meter.chunk({**head, "choices": [choice]}, delta)
    yield from _ending(head, made, traits)


def _deltas(made: Generation, traits: Traits) -> Iterator[dict[str, Any]]:
    field = traits.reasoning
    if made.reasoning and traits.stop_reason:
        yield {field: ""}
    for token in made.reasoning:
        delta: dict[str, Any] = {field: token}
        if traits.form == "chat":
            delta = {"content": None, **delta}
        yield delta
    for token in made.text:
        delta = {"content": wire_token(token, numbers=traits.chat_numbers)}
        if traits.null_calls:
            delta["tool_calls"] = None
        yield delta
    for place, call in enumerate(made.calls):
        for fragment in _fragments(call, place, traits):
            yield {"tool_calls": [fragment]}
        if traits.finaliser and traits.form != "legacy":
            nothing = {"name": None, "arguments": ""}
            yield {"tool_calls": [{"id": None, "type": None, "index": place, "function": nothing}]}
    if made.finish == "tool_calls" and not made.calls:
        yield {"tool_calls": []}


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


class _Meter:
    """Adds per-chunk usage where a model reports it: as deltas, or as running totals (Q4)."""

    def __init__(self, made: Generation, traits: Traits) -> None:
        self._usage = made.usage
        self._style = traits.usage
        self._rate = made.usage.neurons / max(made.usage.prompt + made.usage.completion, 1)
        self._told = 0

    def opening(self, frame: Frame) -> Frame:
        """Meter the role chunk: deltas bill the whole prompt here."""
        return self._metered(frame, 0, self._usage.prompt)

    def chunk(self, frame: Frame, delta: dict[str, Any]) -> Frame:
        """Meter a chunk that carries one token."""
        self._told += 1
        return self._metered(frame, 0 if delta.get("reasoning_content") == "" else 1, 0)

    def _metered(self, frame: Frame, completion: int, prompt: int) -> Frame:
        match self._style:
            case "deltas" | "deltas-only":
                usage: dict[str, Any] | None = {
                    "prompt_tokens": prompt,
                    "completion_tokens": completion,
                    "total_tokens": prompt + completion,
                    "prompt_tokens_details": {"cached_tokens": self._usage.cached if prompt else 0},
                    "neurons": round(self._rate * (prompt + completion), 6),
                }
            case "cumulative":
                told = min(self._told, self._usage.completion)
                usage = {
                    "prompt_tokens": self._usage.prompt,
                    "completion_tokens": told,
                    "total_tokens": self._usage.prompt + told,
                }
            case "null":
                usage = None
            case _:
                return frame
        return {**frame, "usage": usage}


def _ending(head: Frame, made: Generation, traits: Traits) -> Iterator[Frame]:
    """Close a chat stream: finish reasons and usage, as often and as wrongly as the model sends them."""
    finish = finish_of(made, traits)
    bare = {"index": 0, "delta": {}, "finish_reason": finish}
    plain = usage_of(made, traits, neurons=False)
    match traits.usage:
        case "twice" | "twice-zero":
            if traits.stop_reason:
                stop = _STOP_AT_CALL if made.calls else _STOP_AT_RETURN
                quiet = {**_choice({}), "stop_reason": stop, "token_ids": None}
                yield {**head, "choices": [quiet]}
            counts = {key: part for key, part in (plain or {}).items() if not key.endswith("_details")}
            yield {**head, "choices": [bare], "usage": counts}
            yield {**head, "choices": [bare], "usage": _ZERO if traits.usage == "twice-zero" else plain}
        case "deltas" | "cumulative":
            yield {**head, "choices": [bare], "usage": usage_of(made, traits)}
        case "deltas-only" | "none":
            yield {**head, "choices": [bare]}
        case "null" | "zero":
            yield {**head, "choices": [bare], "usage": plain}
        case "once":
            yield {**head, "choices": [_choice({}, finish)]}
            yield {**head, "choices": [], "usage": usage_of(made, traits)}
