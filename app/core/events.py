"""The six events that join every surface to every dialect.

    stream  = Started  part*  (Finished | Failed)
    part(i) = Opened(i, kind, call_id, name)  Delta(i, text)*  Closed(i)

They carry no ids of ours, no clocks and no sequence numbers: those belong to the surface's writer. The order in
which they may come is a table in ``app.core.grammar``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from app.core.errors import ApiError
from app.core.usage import Usage

PartKind = Literal["text", "reasoning", "refusal", "tool_call"]

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Started(Struct, frozen=True):
    """The upstream has begun to answer."""


class Opened(Struct, frozen=True):
    """A part begins. Parts are numbered from 0 in the order in which they open.

    Attributes:
        part: The part's number.
        kind: What the part holds.
        call_id: Of a tool call: the upstream's id for it; ``None`` when it gave none.
        name: Of a tool call: the tool's name.
    """

    part: int
    kind: PartKind
    call_id: str | None = None
    name: str | None = None


class Delta(Struct, frozen=True):
    """More text of an open part; for a tool call, more of its JSON arguments. Never empty."""

    part: int
    text: str


class Closed(Struct, frozen=True):
    """The part is complete, or as complete as it will be."""

    part: int


class Finished(Struct, frozen=True):
    """The answer is complete.

    Attributes:
        reason: Why the model stopped, already corrected (a call means ``tool_calls``, a spent budget ``length``).
        usage: What it cost; ``None`` when the upstream gave no figures.
    """

    reason: FinishReason
    usage: Usage | None = None


class Failed(Struct, frozen=True):
    """The answer broke off. Parts that were open have been closed before.

    Attributes:
        error: What is told to the client.
        usage: What it had cost so far, when known.
    """

    error: ApiError
    usage: Usage | None = None


Event: TypeAlias = Started | Opened | Delta | Closed | Finished | Failed
