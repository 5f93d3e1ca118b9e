"""Forms, whose values are all texts, as the objects that the readers of fields take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from app.core.task import Upload

_BOOLEANS: Final[Mapping[str, bool]] = {"true": True, "false": False}

_LONGEST_NUMBER: Final = 32


class FormFields(Struct, frozen=True):
    """Makes an object of a form, by what its fields should be.

    A value that is not what its field should be stays a text, so that whoever reads the field refuses it. An empty
    text is an absent field: that is how forms say so. A field that comes more than once counts as it came last.

    Attributes:
        integers: Fields that are whole numbers.
        numbers: Fields that are numbers.
        booleans: Fields that are ``true`` or ``false``.
        arrays: Fields that are lists: ``name[]``, ``name[0]``, or ``name`` as often as there are items. Files and texts
            alike.
    """

    integers: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    booleans: frozenset[str] = frozenset()
    arrays: frozenset[str] = frozenset()

    def __call__(self, texts: Sequence[tuple[str, str]], files: Sequence[tuple[str, Upload]]) -> dict[str, Any]:
        """The object of one form.

        Args:
            texts: The plain fields, in their order.
            files: Likewise the files.
        """
        body: dict[str, Any] = {}
        pairs: list[tuple[str, str | Upload]] = [*texts, *files]
        for key, value in pairs:
            name, bracket, _ = key.partition("[")
            if name in self.arrays:
                body.setdefault(name, []).append(value)
            elif bracket:
                # What is nested is none of what is read; its outermost name says that it was there.
                body.setdefault(name, {})
            elif value == "":
                body.pop(key, None)
            else:
                body[key] = value if isinstance(value, Upload) else self._value(key, value)
        return body

    def _value(self, key: str, text: str) -> object:
        if key in self.integers:
            return _number(text, int)
        if key in self.numbers:
            return _number(text, float)
        return _BOOLEANS.get(text.lower(), text) if key in self.booleans else text


def _number(text: str, kind: Callable[[str], int] | Callable[[str], float]) -> int | float | str:
    # Python takes more for a number than JSON does: spaces, underscores, other digits.
    if len(text) > _LONGEST_NUMBER or not text.isascii() or "_" in text or text != text.strip():
        return text
    try:
        number = kind(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text
