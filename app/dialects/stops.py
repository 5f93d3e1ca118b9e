"""Stop texts, for models that have none: the answer ends before the first one, wherever the stream was cut.

The stop that is complete first counts, as it does in an engine that looks after every token; of several that end at
the same character, the longest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.core.events import Closed, Delta, Event, Finished, Opened


class StopText:
    """Looks for one stop text in a text that comes in pieces; linear, however the text repeats itself.

    Args:
        text: The stop, not empty.

    Attributes:
        text: The stop.
        matched: How many characters at the end of the text so far may be the stop's beginning.
    """

    __slots__ = ("_borders", "matched", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0
        # Of each beginning of the stop: the length of the longest shorter beginning that it ends with.
        self._borders = [0] * len(text)
        length = 0
        for place in range(1, len(text)):
            while length and text[place] != text[length]:
                length = self._borders[length - 1]
            if text[place] == text[length]:
                length += 1
            self._borders[place] = length

    def feed(self, piece: str) -> int:
        """Take more text; return where in the piece the stop is complete, or 0 if it is not."""
        stop, matched, place, size = self.text, self.matched, 0, len(piece)
        while place < size:
            if not matched:
                # Most text holds no stop's first character at all.
                place = piece.find(stop[0], place)
                if place < 0:
                    break
            while matched and piece[place] != stop[matched]:
                matched = self._borders[matched - 1]
            if piece[place] == stop[matched]:
                matched += 1
            place += 1
            if matched == len(stop):
                self.matched = 0
                return place
        self.matched = matched
        return 0


class StopFilter:
    """Ends the answer at the first stop text; only in its text, not in reasoning or in the arguments of calls.

    Args:
        stops: The stop texts, none of them empty.

    Attributes:
        met: A stop text has come and the terminal event has been given; nothing more is taken.
    """

    __slots__ = ("_called", "_held", "_stops", "_text", "met")

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = [StopText(text) for text in stops]
        self._text = -1
        self._held = ""
        self._called = False
        self.met = False

    def feed(self, event: Event) -> Sequence[Event]:
        """Take the next event."""
        if self.met:
            return ()
        if type(event) is Delta:
            return self._delta(event) if event.part == self._text else (event,)
        if type(event) is Opened:
            if event.kind == "text":
                self._text = event.part
            self._called = self._called or event.kind == "tool_call"
        elif type(event) is Closed and event.part == self._text:
            self._text = -1
            held, self._held = self._held, ""
            for stop in self._stops:
                stop.matched = 0
            if held:
                return Delta(event.part, held), event
        return (event,)

    def _delta(self, event: Delta) -> Sequence[Event]:
        first, cut, kept = 0, 0, 0
        for stop in self._stops:
            end = stop.feed(event.text)
            if end and (not first or (end - first, end - len(stop.text)) < (0, cut)):
                first, cut = end, end - len(stop.text)
            kept = max(kept, stop.matched)
        if first:
            return self._end(event, cut)
        if not kept and not self._held:
            return (event,)
        text = self._held + event.text
        self._held = text[len(text) - kept :]
        text = text[: len(text) - kept]
        return (Delta(event.part, text),) if text else ()

    def _end(self, event: Delta, cut: int) -> Sequence[Event]:
        """End the answer.

        Args:
            event: The text in which the stop became complete.
            cut: Where the stop begins, counted from the beginning of that text; negative when it began before.
        """
        self.met = True
        text = (self._held + event.text)[: len(self._held) + cut]
        said = (Delta(event.part, text),) if text else ()
        # What it cost so far is not told by events; the reader around this knows it.
        return *said, Closed(event.part), Finished("tool_calls" if self._called else "stop")
