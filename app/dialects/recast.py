"""The outgoing side of a filter that turns text into tool calls: parts keep to the grammar and get new numbers."""

from __future__ import annotations

from msgspec.structs import replace

from app.core.events import Closed, Delta, Event, Finished, Opened
from app.dialects.textcalls import TextCall


class Recast:
    """Gathers the events that go out.

    Attributes:
        called: A call was made of text.
        text: The number of the open text part; -1 when none is open.
    """

    __slots__ = ("_events", "_next", "_numbers", "called", "text")

    def __init__(self) -> None:
        self.called = False
        self.text = -1
        self._next = 0
        self._numbers: dict[int, int] = {}
        self._events: list[Event] = []

    def take(self) -> list[Event]:
        """Hand over the events gathered since the last time."""
        events, self._events = self._events, []
        return events

    def say(self, text: str) -> None:
        """Write text, in the open text part or in a new one."""
        if not text:
            return
        if self.text < 0:
            self.text = self._number()
            self._events.append(Opened(self.text, "text"))
        self._events.append(Delta(self.text, text))

    def close_text(self) -> None:
        """Close the text part, if one is open."""
        if self.text >= 0:
            self._events.append(Closed(self.text))
            self.text = -1

    def call(self, call: TextCall) -> None:
        """Write a whole tool call."""
        self.close_text()
        self.called = True
        part = self._number()
        self._events += (Opened(part, "tool_call", None, call.name), Delta(part, call.arguments), Closed(part))

    def carry(self, event: Event) -> None:
        """Pass on an event of another part, or of none."""
        if type(event) is Opened:
            self._numbers[event.part] = number = self._number()
            event = event if number == event.part else replace(event, part=number)
        elif type(event) is Delta or type(event) is Closed:
            number = self._numbers[event.part]
            event = event if number == event.part else replace(event, part=number)
        elif type(event) is Finished and self.called and event.reason == "stop":
            event = replace(event, reason="tool_calls")
        self._events.append(event)

    def carried(self, event: Delta) -> Delta:
        """Return more of another part under its own number."""
        number = self._numbers[event.part]
        return event if number == event.part else Delta(number, event.text)

    def _number(self) -> int:
        number = self._next
        self._next += 1
        return number
