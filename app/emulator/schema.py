"""A small strict JSON Schema checker that words its findings as Cloudflare's does."""

from collections.abc import Mapping
from typing import Any

from app.emulator.jsonvalue import Json

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "array": list,
    "boolean": bool,
    "number": (int, float),
    "integer": (int, float),
}


class Mismatch(Exception):
    """A value does not fit its schema; the text says where and why."""


def kind_of(value: Json) -> str:
    """Return the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case int():
            return "integer"
        case _:
            return "number"


def check(value: Json, schema: Mapping[str, Any], path: str = "") -> None:
    """Check a value against a schema.

    Knows `type`, `enum`, `const`, `required`, `properties`, `additionalProperties: false`, `items`, `oneOf`,
    `anyOf`, and the bounds of numbers, strings and arrays. Other keywords are ignored.

    Raises:
        Mismatch: The value does not fit.
    """
    here = path or "/"
    if "type" in schema:
        _check_type(value, schema["type"], here)
    if "const" in schema and not _same(value, schema["const"]):
        raise Mismatch(f"const {value} doesn't match {schema['const']} at '{here}'")
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        shown = ",".join("null" if one is None else str(one) for one in schema["enum"])
        raise Mismatch(f"enum {value} not in {shown} at '{here}'")
    if isinstance(value, str):
        _check_bounds(len(value), schema, f"Length of '{here}'", "minLength", "maxLength")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_bounds(value, schema, f"'{here}'", "minimum", "maximum")
    elif isinstance(value, list):
        _check_bounds(len(value), schema, f"Items of '{here}'", "minItems", "maxItems")
        for place, item in enumerate(value):
            check(item, schema.get("items", {}), f"{path}/{place}")
    elif isinstance(value, dict):
        _check_object(value, schema, path)
    _check_branches(value, schema, path)


def _same(one: Json, other: Json) -> bool:
    # In Python true equals 1; in JSON it does not.
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _check_type(value: Json, wanted: str | list[str], here: str) -> None:
    names = wanted if isinstance(wanted, list) else [wanted]
    actual = kind_of(value)
    for name in names:
        if name == actual or (name == "number" and actual == "integer"):
            return
        if name == "integer" and actual == "number" and float(value).is_integer():
            return
    raise Mismatch(f"Type mismatch of '{here}', '{actual}' not in '{','.join(names)}'")


def _check_bounds(size: float, schema: Mapping[str, Any], what: str, low: str, high: str) -> None:
    if low in schema and size < schema[low]:
        raise Mismatch(f"{what} must be >= {schema[low]}")
    if high in schema and size > schema[high]:
        raise Mismatch(f"{what} must be <= {schema[high]}")


def _check_object(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> None:
    properties = schema.get("properties", {})
    for name, part in properties.items():
        if name in value:
            check(value[name], part, f"{path}/{name}")
    missing = [name for name in schema.get("required", []) if name not in value]
    if missing:
        # An absent object that has required properties itself is reported by those.
        for name in missing:
            if inner := properties.get(name, {}).get("required"):
                raise Mismatch(f"required properties at '{path}/{name}' are '{','.join(inner)}'")
        raise Mismatch(f"required properties at '{path or '/'}' are '{','.join(schema['required'])}'")
    if schema.get("additionalProperties") is False and (more := sorted(set(value) - set(properties))):
        raise Mismatch(f"Additional or unevaluated properties '{', '.join(more)}' at '{path or '/'}' not allowed")


def _check_branches(value: Json, schema: Mapping[str, Any], path: str) -> None:
    for keyword in ("oneOf", "anyOf"):
        if keyword not in schema:
            continue
        findings: list[str] = []
        matches = 0
        for branch in schema[keyword]:
            try:
                check(value, branch, path)
            except Mismatch as finding:
                findings.append(str(finding))
            else:
                matches += 1
        if matches == 0 or (keyword == "oneOf" and matches > 1):
            why = f": {', '.join(findings)}" if findings else ""
            raise Mismatch(f"{keyword} at '{path or '/'}' not met, {matches} matches{why}")
