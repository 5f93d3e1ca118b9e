"""Checking the fields of a decoded JSON body, with OpenAI's error codes, sentences and parameter paths.

Every reader takes the object, the key, and the path of the object itself; it returns the value, or ``None`` when the
field is absent. An explicit null counts as absent. ``need`` turns an absent field into an error::

    model = need(string(body, "model"), "model")
    for index, message in enumerate(objects(body, "messages") or ()):
        role = need(string(message, "role", ("messages", index)), "role", ("messages", index))

A path is a tuple of keys and indices; it becomes text (``messages[0].role``) only when something is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from app.core.errors import BadRequest

Path: TypeAlias = tuple[str | int, ...]

T = TypeVar("T")

SHOWN_CHARACTERS = 64
"""Of a value that an error quotes: enough to find it, too little to leak a prompt."""


MAX_TOKEN_LIMIT = 2**53 - 1
"""Clients write this for "no limit"; a larger integer is not exact in the JavaScript of the upstream."""


def text_of(path: Path) -> str:
    """Write a path as OpenAI does: ``messages[0].content``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def kind_of(value: object) -> str:
    """Name a JSON value's type with its article, as OpenAI's messages do."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list | tuple) else "an object"


def missing(path: Path) -> BadRequest:
    """A required field is absent."""
    name = text_of(path)
    return BadRequest(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def wrong_type(path: Path, expected: str, value: object) -> BadRequest:
    """A field has another type than ``expected``, which is a phrase such as ``a string``."""
    name = text_of(path)
    return BadRequest(
        f"Invalid type for '{name}': expected {expected}, but got {kind_of(value)} instead.",
        param=name,
        code="invalid_type",
    )


def wrong_value(path: Path, value: object, supported: Collection[str]) -> BadRequest:
    """A field has a value outside a fixed set."""
    return BadRequest(
        f"Invalid value: {_shown(value)}. Supported values are: {_listed(supported)}.",
        param=text_of(path),
        code="invalid_value",
    )


def invalid(path: Path, reason: str, code: str = "invalid_value") -> BadRequest:
    """A field's value is wrong for a reason of its own; ``reason`` is a sentence."""
    name = text_of(path)
    return BadRequest(f"Invalid '{name}': {reason}", param=name, code=code)


def unsupported_parameter(path: Path, reason: str = "it is not supported here.") -> BadRequest:
    """A field that OpenAI knows and we do not serve."""
    name = text_of(path)
    return BadRequest(f"Unsupported parameter: '{name}': {reason}", param=name, code="unsupported_parameter")


def unsupported_value(path: Path, value: object, reason: str = "") -> BadRequest:
    """A value that OpenAI knows and we do not serve."""
    name = text_of(path)
    tail = f" {reason}" if reason else ""
    return BadRequest(
        f"Unsupported value: '{name}' does not support {_shown(value)} here.{tail}",
        param=name,
        code="unsupported_value",
    )


def need(value: T | None, key: str | int, path: Path = ()) -> T:
    """Return the value of a required field.

    Raises:
        BadRequest: It is absent.
    """
    if value is None:
        raise missing((*path, key))
    return value


def string(
    body: Mapping[str, Any], key: str, path: Path = (), *, min_length: int = 0, max_length: int | None = None
) -> str | None:
    """Read a string; lengths are in characters."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type((*path, key), "a string", value)
    if min_length or max_length is not None:
        _check_length(value, (*path, key), min_length, max_length)
    return value


def boolean(body: Mapping[str, Any], key: str, path: Path = ()) -> bool | None:
    """Read a boolean."""
    value = body.get(key)
    if value is None or value is True or value is False:
        return value
    raise wrong_type((*path, key), "a boolean", value)


def integer(
    body: Mapping[str, Any], key: str, path: Path = (), *, minimum: int | None = None, maximum: int | None = None
) -> int | None:
    """Read an integer; ``3.0`` is one, ``true`` is not."""
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise wrong_type((*path, key), "an integer", value)
    _check_range(value, (*path, key), "integer", minimum, maximum)
    return value


def number(
    body: Mapping[str, Any], key: str, path: Path = (), *, minimum: float | None = None, maximum: float | None = None
) -> float | None:
    """Read a number, as the client wrote it: ``1`` stays an integer."""
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type((*path, key), "a decimal", value)
    _check_range(value, (*path, key), "decimal", minimum, maximum)
    return value


def one_of(body: Mapping[str, Any], key: str, supported: Collection[str], path: Path = ()) -> str | None:
    """Read a string from a fixed set."""
    value = string(body, key, path)
    if value is not None and value not in supported:
        raise wrong_value((*path, key), value, supported)
    return value


def object_(body: Mapping[str, Any], key: str, path: Path = ()) -> Mapping[str, Any] | None:
    """Read an object."""
    value = body.get(key)
    if value is None or isinstance(value, dict):
        return value
    raise wrong_type((*path, key), "an object", value)


def array(
    body: Mapping[str, Any], key: str, path: Path = (), *, min_length: int = 0, max_length: int | None = None
) -> Sequence[Any] | None:
    """Read an array, whatever it holds."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        raise wrong_type((*path, key), "an array", value)
    if min_length or max_length is not None:
        _check_length(value, (*path, key), min_length, max_length)
    return value


def objects(
    body: Mapping[str, Any], key: str, path: Path = (), *, min_length: int = 0, max_length: int | None = None
) -> Sequence[Mapping[str, Any]] | None:
    """Read an array of objects."""
    values = array(body, key, path, min_length=min_length, max_length=max_length)
    for index, value in enumerate(values or ()):
        if not isinstance(value, dict):
            raise wrong_type((*path, key, index), "an object", value)
    return values


def strings(
    body: Mapping[str, Any], key: str, path: Path = (), *, min_length: int = 0, max_length: int | None = None
) -> Sequence[str] | None:
    """Read an array of strings."""
    values = array(body, key, path, min_length=min_length, max_length=max_length)
    for index, value in enumerate(values or ()):
        if not isinstance(value, str):
            raise wrong_type((*path, key, index), "a string", value)
    return values


def metadata(body: Mapping[str, Any], key: str = "metadata") -> Mapping[str, str] | None:
    """Read OpenAI's metadata: at most 16 pairs, keys of at most 64 characters, values of at most 512."""
    pairs = object_(body, key)
    if not pairs:
        return pairs
    if len(pairs) > 16:
        reason = (
            "too many properties. Expected an object with at most 16 properties, "
            f"but got an object with {len(pairs)} properties instead."
        )
        raise invalid((key,), reason, "object_above_max_properties")
    for name in pairs:
        if len(name) > 64:
            reason = f"the key {_shown(name)} is too long. Expected a key of at most 64 characters, got {len(name)}."
            raise invalid((key,), reason, "string_above_max_length")
        need(string(pairs, name, (key,), max_length=512), name, (key,))
    return pairs


def _check_range(value: float, path: Path, noun: str, minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and value < minimum:
        bound, sign, limit, suffix = "below minimum", ">=", minimum, "below_min_value"
    elif maximum is not None and value > maximum:
        bound, sign, limit, suffix = "above maximum", "<=", maximum, "above_max_value"
    else:
        return
    reason = f"{noun} {bound} value. Expected a value {sign} {limit}, but got {value} instead."
    raise invalid(path, reason, f"{noun}_{suffix}")


def _check_length(value: str | list[Any], path: Path, minimum: int, maximum: int | None) -> None:
    length = len(value)
    noun = "string" if isinstance(value, str) else "array"
    article = "a" if noun == "string" else "an"
    if length < minimum and not length:
        reason = (
            f"empty {noun}. Expected {article} {noun} with minimum length {minimum}, but got an empty {noun} instead."
        )
        raise invalid(path, reason, f"empty_{noun}")
    if length < minimum:
        size, limit, bound, suffix = "short", minimum, "minimum", "below_min_length"
    elif maximum is not None and length > maximum:
        size, limit, bound, suffix = "long", maximum, "maximum", "above_max_length"
    else:
        return
    reason = (
        f"{noun} too {size}. Expected {article} {noun} with {bound} length {limit}, "
        f"but got {article} {noun} with length {length} instead."
    )
    raise invalid(path, reason, f"{noun}_{suffix}")


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= SHOWN_CHARACTERS else f"'{value[:SHOWN_CHARACTERS]}…'"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)[:SHOWN_CHARACTERS]


def _listed(names: Collection[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
