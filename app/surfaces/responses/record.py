"""The Response object: what the request said, and how the answer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.errors import ApiError
from app.core.events import FinishReason
from app.core.request import GenerationRequest
from app.core.usage import Usage
from app.surfaces.responses.items import Status
from app.surfaces.responses.tools import echo_tools
from app.surfaces.responses.unserved import conversation_id

_CUT: Mapping[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, for the reasons that make it so."""


def begun(request: GenerationRequest, response_id: str, model: str, created_at: int) -> dict[str, Any]:
    """Write the object as it is when the answer begins; every later one is this with some values changed."""
    raw = request.raw
    reasoning = raw.get("reasoning") or {}
    text = raw.get("text") or {}
    record: dict[str, Any] = {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": "in_progress",
        "background": raw.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "instructions": raw.get("instructions"),
        "max_output_tokens": request.max_tokens,
        "max_tool_calls": raw.get("max_tool_calls"),
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": raw.get("previous_response_id"),
        "prompt_cache_key": raw.get("prompt_cache_key"),
        "reasoning": {
            "effort": request.reasoning_effort,
            "summary": reasoning.get("summary") or reasoning.get("generate_summary"),
        },
        "safety_identifier": raw.get("safety_identifier"),
        "service_tier": "default",
        "store": request.keep,
        "temperature": _number(request.knobs.get("temperature"), 1.0),
        "top_p": _number(request.knobs.get("top_p"), 1.0),
        "presence_penalty": _number(request.knobs.get("presence_penalty"), 0.0),
        "frequency_penalty": _number(request.knobs.get("frequency_penalty"), 0.0),
        "text": {"format": _format(text.get("format"))},
        "tool_choice": _choice(raw.get("tool_choice")),
        "tools": echo_tools(raw),
        "top_logprobs": raw.get("top_logprobs") or 0,
        "truncation": raw.get("truncation") or "disabled",
        "usage": None,
        "metadata": raw.get("metadata") or {},
    }
    # Clients' types know these two as text or absent, not as null.
    if text.get("verbosity") is not None:
        record["text"]["verbosity"] = text["verbosity"]
    if raw.get("conversation") is not None:
        record["conversation"] = {"id": conversation_id(raw)}
    if raw.get("user") is not None:
        record["user"] = raw["user"]
    return record


def finished(
    record: Mapping[str, Any], output: Sequence[Any], reason: FinishReason, usage: Usage | None, now: int
) -> dict[str, Any]:
    """Write the object of an answer that came to an end of its own."""
    cut = _CUT.get(reason)
    return {
        **record,
        "status": "incomplete" if cut else "completed",
        "completed_at": None if cut else now,
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "usage": usage_body(usage),
    }


def failed(record: Mapping[str, Any], output: Sequence[Any], error: ApiError, usage: Usage | None) -> dict[str, Any]:
    """Write the object of an answer that broke off."""
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    return {
        **record,
        "status": "failed",
        "error": {"code": code, "message": error.message},
        "output": output,
        "usage": usage_body(usage),
    }


def wants_sealed(request: GenerationRequest) -> bool:
    """The client keeps the reasoning for us, encrypted."""
    include = request.raw.get("include")
    return isinstance(include, list) and "reasoning.encrypted_content" in include


def last_status(reason: FinishReason | None) -> Status:
    """Tell how far the last item came: an answer that was cut, or broke off, left it unfinished."""
    return "incomplete" if reason is None or reason in _CUT else "completed"


def wants_summary(request: GenerationRequest) -> bool:
    """The client asked for a summary of the reasoning."""
    reasoning = request.raw.get("reasoning")
    return isinstance(reasoning, dict) and bool(reasoning.get("summary") or reasoning.get("generate_summary"))


def usage_body(usage: Usage | None) -> dict[str, Any] | None:
    """OpenAI's ``usage`` object, with the details that clients read without asking whether they are there."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


def _number(value: float | None, default: float) -> float:
    return default if value is None else value


def _format(form: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if not form:
        return {"type": "text"}
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    echo = {"type": "json_schema", "name": form["name"], "schema": form["schema"], "strict": form.get("strict") is True}
    if form.get("description") is not None:
        echo["description"] = form["description"]
    return echo


def _choice(value: str | Mapping[str, Any] | None) -> str | Mapping[str, Any]:
    return "auto" if value is None else value
