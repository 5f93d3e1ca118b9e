"""Reading a chat request: every field of OpenAI's schema has a fate here.

mapped    becomes a part of the request that every dialect understands
knob      a tuning value; a dialect clamps it, sends it, or drops it and says so
ignored   has no effect on the answer, here as at many servers (``user``, ``metadata``)
refused   asks for something that cannot be done; dropping it would change the meaning
extra     not OpenAI's; travels on to the model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from app.core.request import GenerationRequest, ResponseFormat
from app.surfaces import fields
from app.surfaces.chat.messages import read_messages
from app.surfaces.chat.tools import read_choice, read_tools
from app.surfaces.depth import shallow
from app.surfaces.fields import Path

Fate = Literal["mapped", "knob", "ignored", "refused"]

FATES: Final[Mapping[str, Fate]] = {
    "model": "mapped",
    "messages": "mapped",
    "stream": "mapped",
    "stream_options": "mapped",
    "max_completion_tokens": "mapped",
    "max_tokens": "mapped",
    "tools": "mapped",
    "tool_choice": "mapped",
    "parallel_tool_calls": "mapped",
    "response_format": "mapped",
    "reasoning_effort": "mapped",
    "prompt_cache_key": "mapped",
    "temperature": "knob",
    "top_p": "knob",
    "frequency_penalty": "knob",
    "presence_penalty": "knob",
    "seed": "knob",
    "stop": "knob",
    "logit_bias": "knob",
    "logprobs": "knob",
    "top_logprobs": "knob",
    "verbosity": "knob",
    "prediction": "knob",
    "n": "refused",
    "audio": "refused",
    "modalities": "refused",
    "functions": "refused",
    "function_call": "refused",
    "web_search_options": "refused",
    "metadata": "ignored",
    "moderation": "ignored",
    "prompt_cache_options": "ignored",
    "prompt_cache_retention": "ignored",
    "safety_identifier": "ignored",
    "service_tier": "ignored",
    "store": "ignored",
    "user": "ignored",
}

MAX_SEED = 9_223_372_036_854_776_000
"""The bound, up and down, as OpenAI publishes it."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def read_request(body: Mapping[str, Any]) -> GenerationRequest:
    """Check and translate a chat request.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    messages = read_messages(body)
    stream = fields.boolean(body, "stream") or False
    options = fields.object_(body, "stream_options")
    if options is not None:
        fields.boolean(options, "include_usage", ("stream_options",))
    limit = fields.integer(body, "max_completion_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT)
    old_limit = fields.integer(body, "max_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT)
    tools = read_tools(body)
    choice, tools = read_choice(body, tools)
    cache_key, user = fields.string(body, "prompt_cache_key"), fields.string(body, "user")
    fields.metadata(body)
    _refuse(body)
    return GenerationRequest(
        model=model,
        messages=messages,
        stream=stream,
        max_tokens=old_limit if limit is None else limit,
        knobs=_read_knobs(body),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        response_format=_read_format(body),
        reasoning_effort=fields.one_of(body, "reasoning_effort", EFFORTS),
        cache_key=cache_key or user,
        # A null says nothing, and the upstream refuses it.
        extra={n: shallow(value, (n,)) for n, value in body.items() if n not in FATES and value is not None},
        raw=body,
    )


def wants_usage(request: GenerationRequest) -> bool:
    """The client asked for a usage chunk at the end of its stream."""
    options = request.raw.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _read_knobs(body: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        "temperature": fields.number(body, "temperature", minimum=0, maximum=2),
        "top_p": fields.number(body, "top_p", minimum=0, maximum=1),
        "frequency_penalty": fields.number(body, "frequency_penalty", minimum=-2, maximum=2),
        "presence_penalty": fields.number(body, "presence_penalty", minimum=-2, maximum=2),
        "seed": fields.integer(body, "seed", minimum=-MAX_SEED, maximum=MAX_SEED),
        "stop": _read_stop(body),
        "logit_bias": _read_biases(body),
        "logprobs": fields.boolean(body, "logprobs"),
        "top_logprobs": fields.integer(body, "top_logprobs", minimum=0, maximum=20),
        "verbosity": fields.one_of(body, "verbosity", ("low", "medium", "high")),
        "prediction": shallow(fields.object_(body, "prediction"), ("prediction",)),
    }
    return {name: value for name, value in values.items() if value is not None}


def _read_biases(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    biases = fields.object_(body, "logit_bias")
    if biases is None:
        return None
    path: Path = ("logit_bias",)
    for token in biases:
        fields.need(fields.number(biases, token, path, minimum=-100, maximum=100), token, path)
    return biases


def _read_stop(body: Mapping[str, Any]) -> list[str] | None:
    value = body.get("stop")
    if value is None:
        return None
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise fields.wrong_type(("stop",), "one of a string or an array of strings", value)
    return list(fields.strings(body, "stop", max_length=4) or ()) or None


def _read_format(body: Mapping[str, Any]) -> ResponseFormat | None:
    value = fields.object_(body, "response_format")
    if value is None:
        return None
    path = ("response_format",)
    kind = fields.need(fields.one_of(value, "type", ("text", "json_object", "json_schema"), path), "type", path)
    if kind == "text":
        return None
    if kind == "json_object":
        return ResponseFormat("json_object")
    inner = ("response_format", "json_schema")
    schema = fields.need(fields.object_(value, "json_schema", path), "json_schema", path)
    return ResponseFormat(
        "json_schema",
        schema=shallow(fields.object_(schema, "schema", inner), (*inner, "schema"), "invalid_json_schema"),
        name=fields.need(fields.string(schema, "name", inner, min_length=1), "name", inner),
        description=fields.string(schema, "description", inner) or "",
        strict=fields.boolean(schema, "strict", inner),
    )


def _refuse(body: Mapping[str, Any]) -> None:
    choices = fields.integer(body, "n", minimum=1, maximum=128)
    if choices is not None and choices > 1:
        raise fields.unsupported_value(("n",), choices, "Only one choice is given per request.")
    for kind in fields.strings(body, "modalities") or ():
        if kind != "text":
            raise fields.unsupported_value(("modalities",), kind, "Only text is generated.")
    if body.get("audio") is not None:
        raise fields.unsupported_parameter(("audio",), "only text is generated.")
    if fields.array(body, "functions"):
        raise fields.unsupported_parameter(("functions",), "use 'tools' instead.")
    if body.get("function_call") not in (None, "none", "auto"):  # an object has no hash
        raise fields.unsupported_parameter(("function_call",), "use 'tool_choice' instead.")
    if body.get("web_search_options") is not None:
        raise fields.unsupported_parameter(("web_search_options",), "Workers AI has no web search.")
