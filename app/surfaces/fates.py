"""What becomes of each field of a request, told in the documentation from the same table that the code reads.

mapped    becomes a part of the request that every dialect understands
relayed   a tuning value: sent on, brought into the model's range, or left out where the model has none; it is told
emulated  done here, whatever the model can
echoed    repeated in the answer, and nothing else
dropped   asks for something that cannot be done and that the answer can do without; it is told
refused   asks for something that cannot be done; leaving it out would change the meaning
ignored   means something to OpenAI's own machinery only, and nothing to the answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

Kind = Literal["mapped", "relayed", "emulated", "echoed", "dropped", "refused", "ignored"]


class Fate(Struct, frozen=True):
    """What becomes of one field.

    Attributes:
        kind: In one word.
        what: In one sentence, for the documentation; Markdown.
    """

    kind: Kind
    what: str


class Fated(Protocol):
    """A surface that tells what becomes of its fields."""

    @property
    def fates(self) -> Mapping[str, Fate]:
        """By the field's name."""


def fates_table(surface: Fated) -> str:
    """Write the fates of a surface's fields as a Markdown table."""
    rows = [f"| `{name}` | {fate.kind} | {fate.what} |" for name, fate in surface.fates.items()]
    return "\n".join(["| Field | Fate | What happens |", "|---|---|---|", *rows])
