"""JSON schemas: is a schema one, and does a value match it.

A schema comes from a client and is checked in the process that serves everybody, so a check is bounded:

- nothing is ever fetched: a reference leads to a place in the schema itself, or nowhere;
- ``pattern``, ``patternProperties`` and ``format`` are not looked at: a regular expression can be made to run for
  hours. Keywords that would refuse more because of that are not looked at either, so that no right answer is refused;
- the number of steps is limited, because references can be made to multiply.

The library is imported when it is first needed: it takes longer to load than all the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

MAX_STEPS: Final = 100_000
"""How much work one check may be, in keywords applied to values: less than a second."""

MAX_NODES: Final = 1_000
"""How many objects a schema may have for its own form to be checked, which is far slower than to check by it."""

MAX_TOLD: Final = 300
"""How long a sentence about a problem may be."""

_EXPRESSIONS: Final = ("pattern", "patternProperties")

_UNLOOKED: Final = (*_EXPRESSIONS, "format")

_UNSAFE_BESIDE_EXPRESSIONS: Final = ("not", "if", "unevaluatedProperties", "unevaluatedItems")
"""Keywords that refuse more when what they hold refuses less."""

_Check = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


class _TooMuchError(Exception):
    """The check is given up."""


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a schema, as the end of a sentence; ``None`` when it is one.

    Args:
        schema: JSON Schema, draft 2020-12.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    nodes = list(_objects(schema))
    plain = _without_dialects(schema)
    if len(nodes) <= MAX_NODES:
        try:
            error = next(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(plain), None)
        except RecursionError:
            return "it is nested too deeply"
        if error is not None:
            return _told(error, "")
    references = {node["$ref"] for node in nodes if isinstance(node.get("$ref"), str)}
    # An own id moves what references start from; they are then left to the check itself.
    moved = any(isinstance(node.get("$id"), str) for node in nodes)
    resolver = _resolver(plain)
    for reference in sorted(references):
        try:
            if not moved:
                resolver.lookup(reference)
        except Unresolvable:
            return f"the reference {reference[:MAX_TOLD]!r} leads nowhere"
    return None


def mismatch(value: object, schema: Mapping[str, Any]) -> str | None:
    """Say where a value does not match a schema, as a sentence without its full stop; ``None`` when it does.

    It names places, and what the schema wants there, but holds none of the values.

    Args:
        value: Any JSON.
        schema: JSON Schema, draft 2020-12.
    """
    from referencing import Registry  # noqa: PLC0415 - slow to import
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    plain = _without_dialects(schema)
    kind = _bounded(expressions=any(name in node for node in _objects(plain) for name in _EXPRESSIONS))
    try:
        error = next(kind(plain, registry=Registry()).iter_errors(value), None)
    except Unresolvable:
        return "a reference in the schema leads nowhere"
    except (_TooMuchError, RecursionError):
        return "the schema is too complex to be checked"
    except (TypeError, ValueError, AttributeError, LookupError):
        # Only a schema that is none gets here; large ones are not looked at before.
        return "the schema is not valid"
    return None if error is None else _told(error, "the answer")


def _bounded(*, expressions: bool) -> Any:  # noqa: ANN401 - the library has no type for a class it makes
    """Make a validator class that gives up when the work becomes too much.

    Args:
        expressions: The schema has regular expressions in it.
    """
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - slow to import

    left = MAX_STEPS

    def counted(check: _Check) -> _Check:
        def apply(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterable[Any] | None:  # noqa: ANN401
            nonlocal left
            left -= 1 + (len(wanted) if isinstance(wanted, list | dict) else 0)
            if left < 0:
                raise _TooMuchError
            return check(validator, wanted, value, schema)

        return apply

    checks: dict[str, _Check] = dict(Draft202012Validator.VALIDATORS)
    bounded: dict[str, _Check] = {name: counted(check) for name, check in checks.items()}
    bounded["uniqueItems"] = counted(_unique)
    bounded.update(dict.fromkeys(_UNLOOKED, _pass))
    if expressions:
        bounded.update(dict.fromkeys(_UNSAFE_BESIDE_EXPRESSIONS, _pass))
        bounded["oneOf"] = bounded["anyOf"]
        bounded["contains"] = _lacking("maxContains", bounded["contains"])
        bounded["additionalProperties"] = _unless("patternProperties", bounded["additionalProperties"])
    extend: Any = validators.extend
    return extend(Draft202012Validator, bounded)


def _pass(_validator: Any, _wanted: Any, _value: Any, _schema: Any) -> None:  # noqa: ANN401
    """Find nothing wrong."""


def _unique(_validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterable[Any]:  # noqa: ANN401
    """Compare texts, not each item with each other, as the library does."""
    from jsonschema import ValidationError  # noqa: PLC0415 - slow to import

    if wanted and isinstance(value, list) and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
        yield ValidationError("not unique")


def _lacking(name: str, check: _Check) -> _Check:
    def apply(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterable[Any] | None:  # noqa: ANN401
        return check(validator, wanted, value, {key: item for key, item in schema.items() if key != name})

    return apply


def _unless(name: str, check: _Check) -> _Check:
    def apply(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterable[Any] | None:  # noqa: ANN401
        return None if name in schema else check(validator, wanted, value, schema)

    return apply


def _resolver(schema: Any) -> Any:  # noqa: ANN401 - the library's own type says less
    from referencing import Registry  # noqa: PLC0415 - slow to import
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    registry: Any = Registry()
    return registry.resolver_with_root(DRAFT202012.create_resource(schema))


def _objects(value: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - walks any JSON
    """Find every object in a value, itself included."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _without_dialects(value: Any) -> Any:  # noqa: ANN401 - walks any JSON
    """Copy a schema without the name of its draft: the library would leave the bounded check for that draft's own."""
    if isinstance(value, Mapping):
        return {
            key: _without_dialects(item)
            for key, item in value.items()
            if not (key == "$schema" and isinstance(item, str))
        }
    if isinstance(value, list):
        return [_without_dialects(item) for item in value]
    return value


def _told(error: Any, root: str) -> str:  # noqa: ANN401 - the library's error
    place = root
    for step in error.absolute_path:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
    place = place or "it"
    wanted = error.validator_value
    match error.validator:
        case "type":
            told = f"{place} is not of type {' or '.join(wanted) if isinstance(wanted, list) else wanted}"
        case "required":
            missing = [name for name in wanted if name not in error.instance]
            told = f"{place} lacks {', '.join(map(repr, missing))}"
        case "additionalProperties" | "unevaluatedProperties":
            told = f"{place} has a property that the schema does not allow"
        case "enum" | "const":
            told = f"{place} is not one of the values that the schema allows"
        case None:
            told = f"{place} is not allowed by the schema"
        case keyword:
            told = f"{place} does not satisfy '{keyword}'"
    return told if len(told) <= MAX_TOLD else f"{told[: MAX_TOLD - 1]}…"
