"""Settings that cannot be used, told so that the reader knows what to change."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SettingsError(Exception):
    """The settings cannot be used. One sentence that names the setting, and never holds a secret's value."""


class Problem(ValueError):
    """What is wrong with one setting.

    Args:
        setting: The setting's name.
        predicate: The rest of a sentence whose subject is the setting, such as ``is not set``.
    """

    def __init__(self, setting: str, predicate: str) -> None:
        super().__init__(f"{setting} {predicate}")
        self.setting = setting
        self.predicate = predicate


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Words that name the nearest of the names that exist, to end a sentence with; ``""`` when none is near."""
    near = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
