"""Tuning values and unknown fields: sent as they are, brought into the validator's range, or dropped by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.model import Model
from app.core.request import GenerationRequest
from app.dialects.notes import Notes

RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, 5),
    "top_p": (0.001, 1),
    "top_k": (1, 50),
    "repetition_penalty": (0, 2),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
"""What Cloudflare's older schema and gpt-oss's take."""

SEEDS: Final = (1, 9_999_999_999)
"""Seeds of the same schemas: zero and negative ones are refused, so none is sent."""

_NO_OPS: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "stop": ([], ""),
    "verbosity": ("medium",),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "functions": ([],),
}
"""Values that ask for nothing: dropping them loses nothing."""

_OURS: Final = frozenset(
    {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "stream_options"}
)
"""Fields that are this proxy's business, or nobody's: they do not change what is generated."""

_UNHEARD: Final = frozenset(
    {
        "n",
        "logprobs",
        "top_logprobs",
        "service_tier",
        "audio",
        "modalities",
        "verbosity",
        "prediction",
        "web_search_options",
    }
)
"""Fields of OpenAI's schema that Cloudflare takes and then does nothing with."""

_EXTRAS: Final[Mapping[str, frozenset[str]]] = {
    "top_k": frozenset({"legacy", "hybrid"}),
    "repetition_penalty": frozenset({"legacy", "hybrid"}),
    "min_p": frozenset(),
    "guided_json": frozenset({"legacy"}),
    "lora": frozenset({"legacy", "hybrid"}),
    "raw": frozenset({"legacy", "hybrid"}),
    "chat_template_kwargs": frozenset({"openai"}),
}
"""Cloudflare's and the engines' own fields, by the schemas that have them."""

_RESERVED: Final = frozenset(
    {
        "model",
        "messages",
        "prompt",
        "input",
        "requests",
        "request_id",
        "image",
        "stream",
        "options",
        "functions",
        "function_call",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning",
        "reasoning_effort",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
    }
)
"""Fields that would make another request of it; a client that means one of them has to use its proper field."""


def write_knobs(request: GenerationRequest, model: Model, notes: Notes) -> dict[str, Any]:
    """Write the tuning values and the unknown fields that this model's schema takes."""
    body: dict[str, Any] = {}
    openai = model.shape == "openai"
    for name, value in request.knobs.items():
        if name in _OURS or value is None:
            continue
        if name in _NO_OPS and value in _NO_OPS[name] and (name not in RANGES or not openai):
            continue
        if name in _UNHEARD:
            notes.drop(name)
        elif openai:
            body[name] = value
        elif name == "stop":
            # The older schemas have none: the answer's reader cuts it.
            continue
        else:
            _write(name, value, body, notes)
    for name, value in request.extra.items():
        if value is None or name in _OURS:
            continue
        shapes = _EXTRAS.get(name)
        if name in _RESERVED or (shapes is not None and model.shape not in shapes):
            notes.drop(name)
        elif name in RANGES and not openai:
            _write(name, value, body, notes)
        else:
            body.setdefault(name, value)
    return body


def _write(name: str, value: Any, body: dict[str, Any], notes: Notes) -> None:  # noqa: ANN401 - any JSON
    """Write a value for the older schemas."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "seed":
        if number and SEEDS[0] <= value <= SEEDS[1]:
            body[name] = value
        else:
            notes.adjust(name)
    elif name in RANGES and number:
        low, high = RANGES[name]
        kept = min(max(value, low), high)
        if kept != value:
            notes.adjust(name)
        body[name] = kept
    else:
        notes.drop(name)
