"""How deep the open-ended values of a request may be: what can be read must also be possible to send."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from app.surfaces import fields
from app.surfaces.fields import Path

MAX_DEPTH: Final = 128
"""Levels of objects and arrays. The JSON codec reads some 1,000 and writes 254, the request around them included."""

T = TypeVar("T")


def shallow(value: T, path: Path, code: str = "invalid_value") -> T:
    """Return a value that a client may fill as it likes.

    Raises:
        BadRequest: It is nested too deeply.
    """
    if is_too_deep(value):
        raise fields.invalid(path, f"nested too deeply. Expected at most {MAX_DEPTH} levels.", code)
    return value


def is_too_deep(value: object) -> bool:
    """Tell whether a JSON value has more than ``MAX_DEPTH`` levels."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        # One level at a time, not by recursion: the depth of Python's stack is not the client's to use.
        level = [
            child
            for item in level
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
    return bool(level)
