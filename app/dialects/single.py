"""One tool call where the client wants no more than one: the first counts, the others are not told."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from app.core.events import Closed, Delta, Event, Finished, Opened


class SingleCallFilter:
    """Lets the first tool call pass and swallows the others."""

    __slots__ = ("_called", "_cut_other", "_numbers", "_swallowed")

    def __init__(self) -> None:
        self._called = False
        # The newest part is a swallowed call: if the answer was cut, that is what was cut.
        self._cut_other = False
        self._swallowed = 0
        # Of parts whose number has changed; None for those that are swallowed.
        self._numbers: dict[int, int | None] = {}

    def feed(self, event: Event) -> Sequence[Event]:
        """Take the next event."""
        if type(event) is Delta or type(event) is Closed:
            if not self._swallowed:
                return (event,)
            number = self._numbers.get(event.part, event.part)
            if number is None:
                return ()
            return (event,) if number == event.part else (replace(event, part=number),)
        if type(event) is Opened:
            return self._open(event)
        if type(event) is Finished and event.reason == "length" and self._cut_other:
            return (replace(event, reason="tool_calls"),)
        return (event,)

    def _open(self, event: Opened) -> Sequence[Event]:
        another = event.kind == "tool_call" and self._called
        self._called = self._called or event.kind == "tool_call"
        self._cut_other = another
        if another:
            self._swallowed += 1
            self._numbers[event.part] = None
            return ()
        if not self._swallowed:
            return (event,)
        number = self._numbers[event.part] = event.part - self._swallowed
        return (replace(event, part=number),)
