"""Reading a Responses request. What becomes of each field is told in ``app.surfaces.responses.fates``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.request import GenerationRequest, ResponseFormat
from app.core.surface import NO_PAST, Past
from app.surfaces import fields
from app.surfaces.depth import shallow
from app.surfaces.fields import Path
from app.surfaces.responses.choice import read_choice
from app.surfaces.responses.fates import FATES
from app.surfaces.responses.history import read_history
from app.surfaces.responses.tools import NO_TOOLS, Toolbox, read_tools
from app.surfaces.responses.unserved import check_stored
from app.surfaces.structured import read_schema

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SUMMARIES: Final = ("auto", "concise", "detailed")

ENCRYPTED: Final = "reasoning.encrypted_content"

_UNSERVED_INCLUDES: Final = frozenset({"message.output_text.logprobs"})
"""What can be asked for beside the answer, would be there at OpenAI, and is not here; the rest belongs to tools."""

_DROPPED: Final = frozenset(name for name, fate in FATES.items() if fate.kind == "dropped") - {
    "service_tier",
    "store",
    "top_logprobs",
    "truncation",
}
"""What is dropped whatever its value; the others have values that ask for nothing."""


class ResponsesRequest(GenerationRequest, frozen=True):
    """A request with the way back from the model's tools to the client's.

    Attributes:
        toolbox: The tools of the whole conversation.
    """

    toolbox: Toolbox = NO_TOOLS


def read_request(
    body: Mapping[str, Any],
    past: Past = NO_PAST,
    *,
    stores: bool = False,
    seals: bool = False,
    continues: bool = False,
) -> ResponsesRequest:
    """Check and translate a Responses request.

    Args:
        body: The request.
        past: What it named, fetched.
        stores: Answers are stored.
        seals: Reasoning can be encrypted for the client to keep.
        continues: Answers can be continued though they are not stored.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    check_stored(body, stores=stores, continues=continues)
    toolbox = read_tools(body, past.context)
    messages, left_out = read_history(body, toolbox, past)
    choice, tools = read_choice(body, toolbox)
    knobs = {
        "temperature": fields.number(body, "temperature", minimum=0, maximum=2),
        "top_p": fields.number(body, "top_p", minimum=0, maximum=1),
        "frequency_penalty": fields.number(body, "frequency_penalty", minimum=-2, maximum=2),
        "presence_penalty": fields.number(body, "presence_penalty", minimum=-2, maximum=2),
    }
    return ResponsesRequest(
        model=model,
        messages=messages,
        stream=fields.boolean(body, "stream") or False,
        max_tokens=fields.integer(body, "max_output_tokens", minimum=1, maximum=fields.MAX_TOKEN_LIMIT),
        knobs={name: value for name, value in knobs.items() if value is not None},
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        response_format=_read_format(body),
        reasoning_effort=_read_reasoning(body),
        cache_key=fields.string(body, "prompt_cache_key") or None,
        extra={n: shallow(value, (n,)) for n, value in body.items() if n not in FATES and value is not None},
        raw=body,
        keep=stores and fields.boolean(body, "store") is not False,
        dropped=(*_read_rest(body, stores=stores, seals=seals), *toolbox.dropped, *left_out),
        toolbox=toolbox,
    )


def _read_format(body: Mapping[str, Any]) -> ResponseFormat | None:
    form = fields.object_(fields.object_(body, "text") or {}, "format", ("text",))
    if form is None:
        return None
    path: Path = ("text", "format")
    kind = fields.need(fields.one_of(form, "type", ("text", "json_object", "json_schema"), path), "type", path)
    if kind == "text":
        return None
    return ResponseFormat("json_object") if kind == "json_object" else read_schema(form, path, required=True)


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


def _read_rest(body: Mapping[str, Any], *, stores: bool, seals: bool) -> list[str]:
    """Check what is only echoed or ignored; return what is dropped."""
    fields.metadata(body)
    for name in ("user", "safety_identifier"):
        fields.string(body, name)
    fields.integer(body, "max_tool_calls", minimum=1)
    options = fields.object_(body, "stream_options")
    if options is not None:
        fields.boolean(options, "include_obfuscation", ("stream_options",))
    dropped = [name for name, value in body.items() if value is not None and name in _DROPPED]
    text = fields.object_(body, "text") or {}
    if fields.one_of(text, "verbosity", ("low", "medium", "high"), ("text",)) not in (None, "medium"):
        dropped.append("text.verbosity")
    if fields.integer(body, "top_logprobs", minimum=0, maximum=20):
        dropped.append("top_logprobs")
    if fields.one_of(body, "truncation", ("auto", "disabled")) == "auto":
        dropped.append("truncation")
    if fields.string(body, "service_tier") not in (None, "auto", "default"):
        dropped.append("service_tier")
    if fields.boolean(body, "store") and not stores:
        dropped.append("store")
    for index, name in enumerate(fields.strings(body, "include") or ()):
        if name in _UNSERVED_INCLUDES or (name == ENCRYPTED and not seals):
            dropped.append(f"include[{index}]")
    return dropped
