"""The names by which a model may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# A name ends up in the path of a URL, so segments of dots alone are refused.
_WELL_FORMED = re.compile(r"@(?:cf|hf)/(?!\.+/)[A-Za-z0-9._-]+/(?!\.+\Z)[A-Za-z0-9._-]+")
_PREFIX = "workers-ai/"
_LONGEST_COMPARED = 100
_CLOSE_ENOUGH = 0.7


def is_well_formed(model_id: str) -> bool:
    """It looks like the id of a model on Workers AI, whether we know it or not."""
    return _WELL_FORMED.fullmatch(model_id) is not None


def without_prefix(name: str) -> str:
    """The name without the ``workers-ai/`` that other gateways put before it."""
    return name.removeprefix(_PREFIX)


def shown(name: str) -> str:
    """A client's name for a model, cut to a length that fits into a message."""
    return name if len(name) <= _LONGEST_COMPARED else name[:_LONGEST_COMPARED] + "…"


class NameTable:
    """Finds ids by any of their names.

    A model answers to its id, its id without ``@cf/``, and its short name unless another model has the same. The
    spelling in upper and lower case is free where it leaves only one candidate.

    Attributes:
        ids: Of all models.
    """

    __slots__ = ("_exact", "_folded", "_shared", "ids")

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = tuple(ids)
        exact: dict[str, list[str]] = {}
        folded: dict[str, list[str]] = {}
        for model_id in self.ids:
            for name in {model_id, model_id.removeprefix("@cf/"), model_id.rpartition("/")[2]}:
                exact.setdefault(name, []).append(model_id)
                folded.setdefault(name.lower(), []).append(model_id)
        self._exact = {name: found[0] for name, found in exact.items() if len(found) == 1}
        self._folded = {name: found[0] for name, found in folded.items() if len(found) == 1}
        self._shared = {name: tuple(found) for name, found in folded.items() if len(found) > 1}

    def find(self, name: str) -> str | None:
        """The id of the one model of this name."""
        name = without_prefix(name)
        return self._exact.get(name) or self._folded.get(name.lower())

    def sharing(self, name: str) -> tuple[str, ...]:
        """The ids of the models that share a name, which therefore finds none of them."""
        return self._shared.get(without_prefix(name).lower(), ())


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate whose last part is most like the last part of a name; ``None`` when none is like it.

    Comparing takes time that grows with the length, so a very long name is like nothing.
    """
    if len(name) > _LONGEST_COMPARED:
        return None
    by_ending = {candidate.rpartition("/")[2].lower(): candidate for candidate in candidates}
    found = get_close_matches(name.rpartition("/")[2].lower(), by_ending, n=1, cutoff=_CLOSE_ENOUGH)
    return by_ending[found[0]] if found else None
