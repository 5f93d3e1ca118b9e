"""Reading a Responses request: every field of OpenAI's schema has a fate here.

mapped    becomes a part of the request that every dialect understands
echoed    has no effect on the answer beyond being repeated in it
dropped   asks for something that cannot be done and that the answer can do without; the client is told
refused   asks for something that cannot be done; dropping it would change the meaning
ignored   means something to OpenAI's own machinery only
extra     not OpenAI's; travels on to the model
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from app.core.request import GenerationRequest, ResponseFormat
from app.surfaces import fields
from app.surfaces.depth import shallow
from app.surfaces.fields import Path
from app.surfaces.responses.choice import read_choice
from app.surfaces.responses.history import read_history
from app.surfaces.responses.tools import read_tools
from app.surfaces.responses.unserved import STORES, refuse_stored

Fate = Literal["mapped", "echoed", "dropped", "refused", "ignored"]

FATES: Final[Mapping[str, Fate]] = {
    "model": "mapped",
    "input": "mapped",
    "instructions": "mapped",
    "max_output_tokens": "mapped",
    "temperature": "mapped",
    "top_p": "mapped",
    "frequency_penalty": "mapped",
    "presence_penalty": "mapped",
    "text": "mapped",
    "tools": "mapped",
    "tool_choice": "mapped",
    "parallel_tool_calls": "mapped",
    "reasoning": "mapped",
    "prompt_cache_key": "mapped",
    "stream": "mapped",
    "include": "mapped",
    "metadata": "echoed",
    "safety_identifier": "echoed",
    "user": "echoed",
    "max_tool_calls": "echoed",
    "truncation": "echoed",
    "top_logprobs": "echoed",
    "store": "echoed",
    "background": "refused",
    "previous_response_id": "refused",
    "conversation": "refused",
    "prompt": "refused",
    "context_management": "dropped",
    "moderation": "dropped",
    "image": "dropped",
    # Chat's names for what Responses calls otherwise: relayed, they would get in the way of the translation.
    "messages": "dropped",
    "max_tokens": "dropped",
    "max_completion_tokens": "dropped",
    "response_format": "dropped",
    "reasoning_effort": "dropped",
    "verbosity": "dropped",
    "functions": "dropped",
    "function_call": "dropped",
    "logprobs": "dropped",
    "n": "dropped",
    "modalities": "dropped",
    "audio": "dropped",
    "web_search_options": "dropped",
    "stream_options": "ignored",
    "service_tier": "ignored",
    "client_metadata": "ignored",
    "access_programs": "ignored",
    "prompt_cache_options": "ignored",
    "prompt_cache_retention": "ignored",
    "prompt_cache_diagnostics": "ignored",
}

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SUMMARIES = ("auto", "concise", "detailed")

_UNSERVED_INCLUDES = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
"""What can be asked for beside the answer, would be there at OpenAI, and is not here; the rest belongs to tools."""

_SCHEMA_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def read_request(body: Mapping[str, Any]) -> GenerationRequest:
    """Check and translate a Responses request.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    refuse_stored(body)
    toolbox = read_tools(body)
    messages, left_out = read_history(body, toolbox)
    choice, tools = read_choice(body, toolbox)
    response_format, verbosity = _read_text(body)
    knobs = {
        "temperature": fields.number(body, "temperature", minimum=0, maximum=2),
        "top_p": fields.number(body, "top_p", minimum=0, maximum=1),
        "frequency_penalty": fields.number(body, "frequency_penalty", minimum=-2, maximum=2),
        "presence_penalty": fields.number(body, "presence_penalty", minimum=-2, maximum=2),
        "verbosity": verbosity,
    }
    return GenerationRequest(
        model=model,
        messages=messages,
        stream=fields.boolean(body, "stream") or False,
        max_tokens=fields.integer(body, "max_output_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT),
        knobs={name: value for name, value in knobs.items() if value is not None},
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        response_format=response_format,
        reasoning_effort=_read_reasoning(body),
        cache_key=fields.string(body, "prompt_cache_key") or None,
        extra={n: shallow(value, (n,)) for n, value in body.items() if n not in FATES and value is not None},
        raw=body,
        dropped=(*_read_rest(body), *toolbox.dropped, *left_out),
    )


def _read_text(body: Mapping[str, Any]) -> tuple[ResponseFormat | None, str | None]:
    text = fields.object_(body, "text")
    if text is None:
        return None, None
    path: Path = ("text",)
    verbosity = fields.one_of(text, "verbosity", ("low", "medium", "high"), path)
    form = fields.object_(text, "format", path)
    if form is None:
        return None, verbosity
    here: Path = ("text", "format")
    kind = fields.need(fields.one_of(form, "type", ("text", "json_object", "json_schema"), here), "type", here)
    if kind == "text":
        return None, verbosity
    if kind == "json_object":
        return ResponseFormat("json_object"), verbosity
    name = fields.need(fields.string(form, "name", here, min_length=1, max_length=64), "name", here)
    if not _SCHEMA_NAME.fullmatch(name):
        reason = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        raise fields.invalid((*here, "name"), reason)
    schema = fields.need(fields.object_(form, "schema", here), "schema", here)
    read = ResponseFormat(
        "json_schema",
        schema=shallow(schema, (*here, "schema"), "invalid_json_schema"),
        name=name,
        description=fields.string(form, "description", here) or "",
        strict=fields.boolean(form, "strict", here),
    )
    return read, verbosity


def _read_reasoning(body: Mapping[str, Any]) -> str | None:
    reasoning = fields.object_(body, "reasoning")
    if reasoning is None:
        return None
    path: Path = ("reasoning",)
    for name in ("summary", "generate_summary"):
        fields.one_of(reasoning, name, SUMMARIES, path)
    for name in ("context", "mode"):
        fields.string(reasoning, name, path)
    return fields.one_of(reasoning, "effort", EFFORTS, path)


def _read_rest(body: Mapping[str, Any]) -> list[str]:
    """Check what is only echoed or ignored; return what is dropped."""
    fields.metadata(body)
    for name in ("user", "safety_identifier", "service_tier"):
        fields.string(body, name)
    fields.integer(body, "max_tool_calls", minimum=1)
    options = fields.object_(body, "stream_options")
    if options is not None:
        fields.boolean(options, "include_obfuscation", ("stream_options",))
    dropped = [name for name, value in body.items() if value is not None and FATES.get(name) == "dropped"]
    if fields.integer(body, "top_logprobs", minimum=0, maximum=20):
        dropped.append("top_logprobs")
    if fields.one_of(body, "truncation", ("auto", "disabled")) == "auto":
        dropped.append("truncation")
    if fields.boolean(body, "store") and not STORES:
        dropped.append("store")
    for index, name in enumerate(fields.strings(body, "include") or ()):
        if name in _UNSERVED_INCLUDES:
            dropped.append(f"include[{index}]")
    return dropped
