"""Whether a text is the JSON that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.core.request import ResponseFormat

# A client's regular expression could hold up the whole process, and formats are only hints.
_UNCHECKED = ("pattern", "patternProperties", "format")

MAX_SHOWN = 200


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """What is wrong with a JSON schema; ``None`` when nothing is."""
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - takes longer to load than most requests need it

    try:
        _validator().check_schema(schema)
    except SchemaError as error:
        return str(error.message)[:MAX_SHOWN]
    return None


def mismatch(value: object, wanted: ResponseFormat) -> str | None:
    """What keeps a JSON value from being what was asked for; ``None`` when nothing does."""
    if wanted.kind == "json_object":
        return None if isinstance(value, dict) else "it is not a JSON object"
    if not wanted.strict or wanted.schema is None:
        return None
    from jsonschema.exceptions import best_match  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    # An empty registry: a reference to another document is never fetched.
    checker = _validator()(wanted.schema, registry=Registry())
    try:
        error = best_match(checker.iter_errors(value))
    except Unresolvable:
        return None
    if error is None:
        return None
    where = error.json_path.removeprefix("$").removeprefix(".")
    return f"{where}: {error.message}"[:MAX_SHOWN] if where else error.message[:MAX_SHOWN]


@lru_cache(maxsize=1)
def _validator() -> Any:  # noqa: ANN401 - the library makes classes
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from jsonschema.validators import extend  # noqa: PLC0415

    return extend(Draft202012Validator, dict.fromkeys(_UNCHECKED))  # type: ignore[no-untyped-call]  # so its stubs say
