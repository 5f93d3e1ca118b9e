"""The order in which events may come, as a table, and a checker that walks it.

Rules beyond the table of states:

- parts are numbered 0, 1, 2 … in the order in which they open;
- tool calls may be open side by side; text, reasoning and refusal never overlap another part;
- every part is closed before the terminal event, of which there is exactly one, and it is the last.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from app.core.events import Closed, Delta, Event, Failed, Finished, Opened, PartKind, Started


class State(Enum):
    """Where a stream of events stands."""

    FRESH = "fresh"
    """Nothing has come yet."""
    BETWEEN = "between"
    """Started, and no part is open."""
    WITHIN = "within"
    """At least one part is open."""
    ENDED = "ended"
    """The terminal event has come."""


GRAMMAR: Final[dict[State, frozenset[type[Event]]]] = {
    State.FRESH: frozenset({Started, Failed}),
    State.BETWEEN: frozenset({Opened, Finished, Failed}),
    State.WITHIN: frozenset({Opened, Delta, Closed}),
    State.ENDED: frozenset(),
}
"""Which kinds of event may come in which state. ``Opened`` within a part is for side-by-side tool calls only."""


class GrammarError(Exception):
    """An event came where it may not."""


class Grammar:
    """Follows one stream of events and refuses the first that is out of order. For tests and debugging."""

    def __init__(self) -> None:
        self.state = State.FRESH
        self.opened = 0
        self._open: dict[int, PartKind] = {}

    def hear(self, event: Event) -> None:
        """Take the next event.

        Raises:
            GrammarError: It may not come here.
        """
        if type(event) not in GRAMMAR[self.state]:
            raise GrammarError(f"{event!r} may not come when the stream is {self.state.value}")
        match event:
            case Started():
                self.state = State.BETWEEN
            case Opened(part=part, kind=kind):
                self._open_part(part, kind)
            case Delta(part=part, text=text):
                self._expect_open(part)
                if not text:
                    raise GrammarError(f"part {part} has an empty delta")
            case Closed(part=part):
                self._expect_open(part)
                del self._open[part]
                self.state = State.WITHIN if self._open else State.BETWEEN
            case Finished() | Failed():
                self.state = State.ENDED

    def close(self) -> None:
        """Say that no more events will come.

        Raises:
            GrammarError: The terminal event is missing.
        """
        if self.state is not State.ENDED:
            raise GrammarError(f"the stream stopped when it was {self.state.value}")

    def _open_part(self, part: int, kind: PartKind) -> None:
        if part != self.opened:
            raise GrammarError(f"part {part} opened where part {self.opened} was due")
        if self._open and (kind != "tool_call" or set(self._open.values()) != {"tool_call"}):
            raise GrammarError(f"part {part} ({kind}) overlaps {self._open}")
        self.opened += 1
        self._open[part] = kind
        self.state = State.WITHIN

    def _expect_open(self, part: int) -> None:
        if part not in self._open:
            raise GrammarError(f"part {part} is not open")
