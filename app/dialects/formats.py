"""The shape that an answer must have, where the model's schema wants it."""

from __future__ import annotations

from typing import Any

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import ResponseFormat


def write_format(wanted: ResponseFormat | None, model: Model) -> dict[str, Any]:
    """Write the response format: OpenAI's envelope around the schema, or the bare schema.

    Raises:
        BadRequest: The model has no JSON mode.
    """
    if wanted is None:
        return {}
    if model.json_schema == "none":
        raise BadRequest(
            f"The model {model.id} cannot be held to a response format.",
            param="response_format",
            code="unsupported_parameter",
        )
    if wanted.kind == "json_object" or wanted.schema is None:
        return {"response_format": {"type": "json_object"}}
    schema = _envelope(wanted) if model.json_schema == "envelope" else _bare(wanted)
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _envelope(wanted: ResponseFormat) -> dict[str, Any]:
    envelope: dict[str, Any] = {"name": wanted.name or "response", "schema": wanted.schema}
    if wanted.description:
        envelope["description"] = wanted.description
    if wanted.strict is not None:
        envelope["strict"] = wanted.strict
    return envelope


def _bare(wanted: ResponseFormat) -> dict[str, Any]:
    schema = dict(wanted.schema or {})
    if wanted.name:
        schema.setdefault("title", wanted.name)
    if wanted.description:
        schema.setdefault("description", wanted.description)
    return schema
