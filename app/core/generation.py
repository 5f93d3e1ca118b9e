"""What was generated, heard event by event: the record that every answer, log and settlement is read from."""

from __future__ import annotations

from msgspec.structs import replace

from app.core.errors import ApiError
from app.core.events import Closed, Delta, Event, Failed, Finished, FinishReason, Opened, PartKind, Started
from app.core.usage import Usage, estimate_tokens


class Part:
    """One part of the answer, as far as it has come.

    Attributes:
        kind: What it holds.
        call_id: Of a tool call: the upstream's id, if any.
        name: Of a tool call: the tool's name.
        closed: No more text will come.
    """

    __slots__ = ("_pieces", "call_id", "closed", "kind", "name")

    def __init__(self, kind: PartKind, call_id: str | None = None, name: str | None = None) -> None:
        self.kind = kind
        self.call_id = call_id
        self.name = name
        self.closed = False
        # Joined on demand: adding to a string at every token is quadratic.
        self._pieces: list[str] = []

    def add(self, text: str) -> None:
        """Append text."""
        self._pieces.append(text)

    @property
    def text(self) -> str:
        """The whole text so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


class Generation:
    """Listens to one stream of events.

    Attributes:
        parts: In the order in which they opened; a part's number is its place here.
        reason: Why the model stopped; ``None`` until it has.
        error: Why the answer broke off, if it did.
        usage: What it cost, as reported by the upstream; ``None`` when it did not say.
    """

    __slots__ = ("error", "parts", "reason", "started", "usage")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.reason: FinishReason | None = None
        self.error: ApiError | None = None
        self.usage: Usage | None = None
        self.started = False

    @property
    def ended(self) -> bool:
        """The terminal event has come."""
        return self.reason is not None or self.error is not None

    def hear(self, event: Event) -> None:
        """Take the next event."""
        # The commonest first: this runs once per token.
        if type(event) is Delta:
            self.parts[event.part].add(event.text)
            return
        match event:
            case Opened(kind=kind, call_id=call_id, name=name):
                self.parts.append(Part(kind, call_id, name))
            case Closed(part=part):
                self.parts[part].closed = True
            case Finished(reason=reason, usage=usage):
                self.reason, self.usage = reason, usage
            case Failed(error=error, usage=usage):
                self.error, self.usage = error, usage
            case Started():
                self.started = True

    def text(self, kind: PartKind) -> str:
        """All text of one kind, in order."""
        return "".join(part.text for part in self.parts if part.kind == kind)

    def tool_calls(self) -> list[Part]:
        """The tool calls, in order."""
        return [part for part in self.parts if part.kind == "tool_call"]

    def settled_usage(self, prompt_tokens: int) -> Usage:
        """What it cost: the upstream's figures, or an estimate that is marked as one.

        Reasoning tokens are estimated also beside the upstream's figures, where it tells none.

        Args:
            prompt_tokens: The estimate for the input, used when the upstream reported nothing.
        """
        usage = self.usage
        if usage is None:
            produced = sum(estimate_tokens(part.text) for part in self.parts)
            usage = Usage(prompt_tokens if self.started else 0, produced, source="estimated")
        if usage.reasoning_tokens is None and any(part.kind == "reasoning" for part in self.parts):
            usage = replace(usage, reasoning_tokens=self._reasoning_share(usage.completion_tokens))
        return usage

    def _reasoning_share(self, tokens: int) -> int:
        """Estimate how many of the tokens were reasoning, by its share of the text: few upstreams tell."""
        sizes = [estimate_tokens(part.text) for part in self.parts]
        reasoning = sum(size for part, size in zip(self.parts, sizes, strict=True) if part.kind == "reasoning")
        return round(tokens * reasoning / max(sum(sizes), 1))
