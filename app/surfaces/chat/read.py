"""Reading a chat request. What becomes of each field is told in ``app.surfaces.chat.fates``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.request import GenerationRequest, ResponseFormat
from app.surfaces import fields
from app.surfaces.chat.fates import FATES
from app.surfaces.chat.functions import read_functions
from app.surfaces.chat.messages import read_messages
from app.surfaces.chat.tools import read_choice, read_tools
from app.surfaces.choices import read_n, with_choices
from app.surfaces.closing import read_stream
from app.surfaces.depth import shallow
from app.surfaces.sampling import read_sampling
from app.surfaces.structured import read_schema

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def read_request(body: Mapping[str, Any]) -> GenerationRequest:
    """Check and translate a chat request.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    messages = read_messages(body)
    stream = read_stream(body)
    limit = fields.integer(body, "max_completion_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT)
    old_limit = fields.integer(body, "max_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT)
    tools = read_tools(body)
    choice, tools = read_choice(body, tools)
    # The older form is refused beside the newer one, so whichever is there is the one that counts.
    functions, function_choice = read_functions(body)
    cache_key, user = fields.string(body, "prompt_cache_key"), fields.string(body, "user")
    _check_ignored(body)
    _refuse(body)
    request = GenerationRequest(
        model=model,
        messages=messages,
        stream=stream,
        max_tokens=old_limit if limit is None else limit,
        knobs=read_sampling(body),
        tools=functions or tools,
        tool_choice=function_choice if functions else choice,
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        response_format=_read_format(body),
        reasoning_effort=fields.one_of(body, "reasoning_effort", EFFORTS),
        cache_key=cache_key or user,
        # A null says nothing, and the upstream refuses it.
        extra={n: shallow(value, (n,)) for n, value in body.items() if n not in FATES and value is not None},
        raw=body,
        dropped=_read_dropped(body),
    )
    return with_choices(request, read_n(body))


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
    schema = fields.need(fields.object_(value, "json_schema", path), "json_schema", path)
    return read_schema(schema, (*path, "json_schema"), required=False)


def _read_dropped(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Check what cannot be done; return the names of what was asked for."""
    asked = {
        "logprobs": fields.boolean(body, "logprobs"),
        "top_logprobs": fields.integer(body, "top_logprobs", minimum=0, maximum=20),
        "verbosity": fields.one_of(body, "verbosity", ("low", "medium", "high")) not in (None, "medium"),
        "prediction": fields.object_(body, "prediction") is not None,
        "moderation": fields.object_(body, "moderation") is not None,
        "store": fields.boolean(body, "store"),
        "service_tier": fields.string(body, "service_tier") not in (None, "auto", "default"),
    }
    return tuple(name for name, wanted in asked.items() if wanted)


def _check_ignored(body: Mapping[str, Any]) -> None:
    fields.metadata(body)
    for name in ("safety_identifier", "prompt_cache_retention"):
        fields.string(body, name)
    fields.object_(body, "prompt_cache_options")


def _refuse(body: Mapping[str, Any]) -> None:
    for kind in fields.strings(body, "modalities") or ():
        if kind != "text":
            raise fields.unsupported_value(("modalities",), kind, "Only text is generated.")
    if body.get("audio") is not None:
        raise fields.unsupported_parameter(("audio",), "only text is generated.")
    if body.get("web_search_options") is not None:
        raise fields.unsupported_parameter(("web_search_options",), "Workers AI has no web search.")
