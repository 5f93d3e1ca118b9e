"""Bodies of unstreamed answers, in each shape the service uses."""

from typing import Any

import orjson

from app.emulator.ask import Ask
from app.emulator.generation import NOTHING, Generation
from app.emulator.jsonvalue import Json
from app.emulator.tools import Call
from app.emulator.traits import Traits


def finish_of(made: Generation, traits: Traits) -> str:
    """Return the finish reason as the model reports it, wrong where it is wrong (Q1, Q42)."""
    if made.finish == "length":
        return traits.cut_reason
    return traits.call_finish if made.finish == "tool_calls" and made.calls else made.finish


def usage_of(made: Generation, traits: Traits, *, neurons: bool = True) -> dict[str, Any] | None:
    """Return a usage object, or `None` where the model reports null."""
    usage = made.usage
    if traits.usage == "null":
        return None
    if traits.usage == "zero":
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    shown: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if traits.cached:
        shown["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if traits.reasoning_tokens:
        shown["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if neurons:
        shown["neurons"] = usage.neurons
    return shown


def with_usage(body: dict[str, Any], made: Generation, traits: Traits) -> dict[str, Any]:
    """Add usage to a body, unless the model never reports any (Q38)."""
    return body if traits.usage == "none" else {**body, "usage": usage_of(made, traits)}


def arguments_of(call: Call, traits: Traits) -> Json:
    """Return a call's arguments encoded the model's way: text, twice encoded, or an object (Q16)."""
    match traits.arguments:
        case "object":
            return call.parsed()
        case "double":
            return orjson.dumps(call.arguments).decode()
        case _:
            return call.arguments


def openai_call(call: Call, traits: Traits) -> dict[str, Any]:
    """Return a call in OpenAI's shape: `{id, type, function{name, arguments}}`."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": arguments_of(call, traits)}
    return {"id": call.id, "type": "function", "function": function}


def native_result(ask: Ask, made: Generation) -> dict[str, Any]:
    """Build the legacy result: `{response, tool_calls, usage}`; JSON mode gives a parsed object (Q26)."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    calls: list[dict[str, Any]]
    match traits.calls:
        case "bare":
            calls = [{"name": call.name, "arguments": call.parsed()} for call in made.calls]
        case "object":
            calls = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.parsed()},
                }
                for call in made.calls
            ]
        case "string":
            calls = [openai_call(call, traits) for call in made.calls]
    said: Any = made.said if made.value is NOTHING else made.value
    body = {"response": None if made.calls else said, "tool_calls": calls}
    return with_usage(body, made, traits)


def chat_completion(ask: Ask, made: Generation) -> dict[str, Any]:
    """Build a `chat.completion` with the null keys its engine adds."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    content: Any = made.said or None
    if made.value is not NOTHING and (traits.object_content or ask.route == "run"):
        content = made.value if traits.form == "legacy" or traits.object_content else made.said
    elif not made.text and made.finish == "stop":
        content = ""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [openai_call(call, traits) for call in made.calls] or (None if traits.null_calls else []),
    }
    if traits.reasoning in {"reasoning", "reasoning_content"}:
        message[traits.reasoning] = made.thought or None
    swallowed = made.finish == "tool_calls" and not made.calls
    body: dict[str, Any] = {
        "id": f"chatcmpl-{made.rng.getrandbits(128):032x}",
        "object": "chat.completion",
        "created": made.created,
        "model": ask.model.id,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish_of(made, traits),
                "stop_reason": 106 if swallowed else None,
                "token_ids": None,
            }
        ],
    }
    return {
        **with_usage(body, made, traits),
        "service_tier": None,
        "system_fingerprint": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    }


def text_completion(ask: Ask, made: Generation) -> dict[str, Any]:
    """Build a `text_completion`, the answer of a few models to the prompt form."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    traits = ask.model.traits
    body = {
        "id": f"cmpl-{made.rng.getrandbits(128):032x}",
        "object": "text_completion",
        "created": made.created,
        "model": ask.model.id,
        "choices": [{"index": 0, "text": made.said, "logprobs": None, "finish_reason": finish_of(made, traits)}],
    }
    return with_usage(body, made, traits)


def response_object(ask: Ask, made: Generation) -> dict[str, Any]:
    """Build a Responses `response`: reasoning first, then a message or function calls; plain usage only."""
    key = f"{made.rng.getrandbits(64):016x}"
    output: list[dict[str, Any]] = []
    if made.reasoning:
        thought = [{"type": "reasoning_text", "text": made.thought}]
        output.append({"id": f"rs_{key}", "type": "reasoning", "summary": [], "content": thought})
    if made.text:
        part = {"type": "output_text", "text": made.said, "annotations": []}
        state = "incomplete" if made.finish == "length" else "completed"
        output.append({"id": f"msg_{key}", "type": "message", "role": "assistant", "status": state, "content": [part]})
    output += [
        {
            "id": f"fc_{key}_{place}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for place, call in enumerate(made.calls)
    ]
    cut = made.finish == "length"
    return {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": made.created,
        "model": ask.model.id,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": output,
        "output_text": made.said,
        "usage": {
            "input_tokens": made.usage.prompt,
            "output_tokens": made.usage.completion,
            "total_tokens": made.usage.prompt + made.usage.completion,
        },
    }


def run_result(ask: Ask, made: Generation) -> dict[str, Any]:
    """Return the `result` of `/ai/run`, in the shape the model uses for the form of the request."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    if ask.form == "input":
        return response_object(ask, made)
    shape = ask.model.traits.prompt_result if ask.form == "prompt" else ask.model.traits.result
    match shape:
        case "chat":
            return chat_completion(ask, made)
        case "text":
            return text_completion(ask, made)
        case _:
            return native_result(ask, made)
