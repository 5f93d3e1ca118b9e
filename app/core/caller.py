"""Who asks."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from app.core.limits import UNLIMITED_SPEC, LimitSpec


class Caller(Struct, frozen=True):
    """One who may send requests. Nothing in it is secret: it is written to logs and metrics.

    Attributes:
        id: Stands for the caller wherever one is told from another, such as ``key-1a2b3c4d``.
        name: What people call it.
        limits: What it may use.
        models: Which models it may use: names or patterns such as ``gpt-oss-*``; empty for all.
    """

    id: str
    name: str
    limits: LimitSpec = UNLIMITED_SPEC
    models: tuple[str, ...] = ()

    def may_use(self, *names: str) -> bool:
        """The model with these names is one of its models."""
        return not self.models or any(fnmatchcase(name, pattern) for pattern in self.models for name in names)


ANONYMOUS: Final = Caller("anonymous", "anonymous")
"""Everybody, where no keys are set."""
