"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Caller:
    """One who may send requests. Nothing in it is secret: it is written to logs and metrics.

    Attributes:
        id: Stands for the caller wherever one is told from another, such as ``key-1a2b3c4d``.
        name: What people call it.
    """

    id: str
    name: str


ANONYMOUS: Final = Caller("anonymous", "anonymous")
"""Everybody, where no keys are set."""
