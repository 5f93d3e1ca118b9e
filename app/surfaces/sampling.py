"""The tuning values that Chat Completions and the older Completions share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.surfaces import fields
from app.surfaces.fields import Path

MAX_SEED: Final = 9_223_372_036_854_776_000
"""The bound, up and down, as OpenAI publishes it."""

MAX_STOPS: Final = 4


def read_sampling(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read the tuning values; those that the client left out, or that ask for nothing, are absent.

    Raises:
        BadRequest: One is malformed or outside OpenAI's range.
    """
    values = {
        "temperature": fields.number(body, "temperature", minimum=0, maximum=2),
        "top_p": fields.number(body, "top_p", minimum=0, maximum=1),
        "frequency_penalty": fields.number(body, "frequency_penalty", minimum=-2, maximum=2),
        "presence_penalty": fields.number(body, "presence_penalty", minimum=-2, maximum=2),
        "seed": fields.integer(body, "seed", minimum=-MAX_SEED, maximum=MAX_SEED),
        "stop": _read_stop(body),
        "logit_bias": _read_biases(body),
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
        return [value] if value else None
    if not isinstance(value, list):
        raise fields.wrong_type(("stop",), "one of a string or an array of strings", value)
    # An empty text is in every answer, at its beginning.
    return [text for text in fields.strings(body, "stop", max_length=MAX_STOPS) or () if text] or None
