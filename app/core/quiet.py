"""Records that do not show everything they hold."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct


class Quiet(Struct, frozen=True):
    """A record whose ``repr`` leaves out what is private or large: it may come into a log or a traceback.

    Attributes:
        hidden: The names of the fields that are left out.
    """

    hidden: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown = (name for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"
