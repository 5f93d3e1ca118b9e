"""Reading the schema that an answer must match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.core.request import ResponseFormat
from app.core.structured import schema_problem
from app.surfaces import fields
from app.surfaces.depth import shallow
from app.surfaces.fields import Path

_NAME = re.compile(r"[a-zA-Z0-9_-]+")


def read_schema(form: Mapping[str, Any], path: Path, *, required: bool) -> ResponseFormat:
    """Read the object with a schema's ``name``, ``schema``, ``description`` and ``strict``.

    Args:
        form: The object.
        path: Where it stands.
        required: The schema itself may not be absent.

    Raises:
        BadRequest: It is malformed.
    """
    name = fields.need(fields.string(form, "name", path, min_length=1, max_length=64), "name", path)
    if not _NAME.fullmatch(name):
        reason = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
        raise fields.invalid((*path, "name"), reason)
    schema = fields.object_(form, "schema", path)
    if required:
        fields.need(schema, "schema", path)
    shallow(schema, (*path, "schema"), "invalid_json_schema")
    strict = fields.boolean(form, "strict", path)
    # Only what has to be checked against is checked itself.
    wrong = schema_problem(schema) if strict and schema is not None else None
    if wrong is not None:
        raise fields.invalid((*path, "schema"), f"it is not a valid JSON schema: {wrong}", "invalid_json_schema")
    return ResponseFormat(
        "json_schema",
        schema=schema,
        name=name,
        description=fields.string(form, "description", path) or "",
        strict=strict,
    )
