"""Builds an event stream that keeps to the grammar, whatever the upstream does.

It knows which part is open, closes it when another kind of content comes, and makes sure of exactly one terminal
event with nothing open before it. What may not come yet (text while a tool call is unfinished) waits; nothing is lost.
"""

from __future__ import annotations

from app.core.errors import ApiError
from app.core.events import Closed, Delta, Event, Failed, Finished, FinishReason, Opened, PartKind, Started
from app.core.usage import Usage
from app.dialects.calls import IncomingCall


class Assembly:
    """The event stream of one answer.

    Attributes:
        kind: What the open text, reasoning or refusal part holds; ``None`` when none is open.
        part: The number of the newest part.
        ended: The terminal event has been made.
        called: A tool was called.
    """

    __slots__ = ("_calls", "_events", "_held", "_ids", "_live", "_started", "called", "ended", "kind", "part")

    def __init__(self) -> None:
        self.kind: PartKind | None = None
        self.part = -1
        self.ended = False
        self.called = False
        self._started = False
        self._events: list[Event] = []
        self._calls: dict[int, IncomingCall] = {}
        self._live: list[IncomingCall] = []
        self._held: list[tuple[PartKind, str]] = []
        self._ids: set[str] = set()

    def take(self) -> list[Event]:
        """Hand over the events made since the last time."""
        events, self._events = self._events, []
        return events

    @property
    def flows(self) -> bool:
        """A text, reasoning or refusal part is open, and more of it would be passed on at once."""
        return self.kind is not None and not self._live and not self.ended

    @property
    def is_empty(self) -> bool:
        """Nothing has been said, and nothing waits to be."""
        return self.part < 0 and not self._live and not self._held

    def text(self, kind: PartKind, text: str) -> None:
        """Take text, reasoning or a refusal; an empty one opens nothing."""
        if not text:
            return
        if self._live and not self._settle():
            self._held.append((kind, text))
            return
        self._say(kind, text)

    def call(
        self, index: int | None, call_id: str | None, name: str | None, arguments: str | None, *, whole: bool = False
    ) -> None:
        """Take one element of a list of tool calls.

        Args:
            index: The upstream's index; the newest call when it gives none and names none.
            call_id: The call's id, if it is in this element.
            name: The tool's name, if it is in this element.
            arguments: A fragment of the arguments.
            whole: The arguments are not a fragment: they came as an object.
        """
        if call_id is None and name is None and not arguments:
            # The sentinel after the last fragment, which is null all through.
            return
        incoming = self._find(index, call_id, name, arguments, whole=whole)
        if incoming.closed:
            return
        if incoming.name is None:
            incoming.call_id = incoming.call_id or call_id
            incoming.name = name
            if name is not None:
                self._open_call(incoming)
        if arguments and incoming.part is not None:
            self._delta(incoming.part, incoming.add(arguments))
        elif arguments:
            incoming.add(arguments)

    def finish(self, reason: FinishReason | None, usage: Usage | None, *, cut: bool = False) -> None:
        """End the stream well.

        Args:
            reason: What the upstream gave; ``None`` when it gave none.
            usage: What it cost.
            cut: The token limit is used up.
        """
        if self.ended:
            return
        # A call that is whole has not been cut, though its last token may have been the last one allowed.
        cut = cut and not (self.called and all(call.is_complete() for call in self._calls.values()))
        self._seal()
        if reason == "length" or (cut and reason != "content_filter"):
            reason = "length"
        elif self.called and reason != "content_filter":
            reason = "tool_calls"
        elif reason is None or reason == "tool_calls":
            reason = "stop"
        self._start()
        self._events.append(Finished(reason, usage))
        self.ended = True

    def fail(self, error: ApiError, usage: Usage | None) -> None:
        """End the stream with a failure; what was held back is handed over first."""
        if self.ended:
            return
        self._seal()
        self._events.append(Failed(error, usage))
        self.ended = True

    def _find(
        self, index: int | None, call_id: str | None, name: str | None, arguments: str | None, *, whole: bool
    ) -> IncomingCall:
        if index is None:
            newest = max(self._calls, default=-1)
            known = self._calls.get(newest)
            fits = known is not None and (name is None or (known.name is None and not known.closed))
            index = newest if fits else newest + 1
        found = self._calls.get(index)
        if found is not None and not _is_another(found, call_id, name, arguments, whole=whole):
            return found
        if found is not None:
            # The index was used again: the earlier call keeps its place, out of the way of the upstream's indices.
            self._calls[-2 - len(self._calls)] = found
        incoming = self._calls[index] = IncomingCall()
        self._live.append(incoming)
        return incoming

    def _open_call(self, incoming: IncomingCall) -> None:
        self._close_text()
        call_id = incoming.call_id
        if call_id is not None:
            if call_id in self._ids:
                call_id = None
            else:
                self._ids.add(call_id)
        self._start()
        self.part += 1
        incoming.part = self.part
        self.called = True
        self._events.append(Opened(self.part, "tool_call", call_id, incoming.name))
        self._delta(incoming.part, incoming.release())

    def _settle(self) -> bool:
        """Close the open calls if all are complete, and say what waited for that."""
        if not all(incoming.is_complete() for incoming in self._live):
            return False
        self._close_calls()
        return True

    def _close_calls(self) -> None:
        for incoming in self._live:
            incoming.closed = True
            if incoming.part is not None:
                self._delta(incoming.part, incoming.rest())
                self._events.append(Closed(incoming.part))
        self._live.clear()
        held, self._held = self._held, []
        for kind, text in held:
            self._say(kind, text)

    def _seal(self) -> None:
        # A call whose name never came cannot be made; its arguments are told as text.
        for incoming in self._live:
            if incoming.part is None and incoming.arguments:
                self._held.append(("text", incoming.arguments))
        self._close_calls()
        self._close_text()

    def _say(self, kind: PartKind, text: str) -> None:
        if self.kind != kind:
            self._close_text()
            self._start()
            self.part += 1
            self.kind = kind
            self._events.append(Opened(self.part, kind))
        self._events.append(Delta(self.part, text))

    def _close_text(self) -> None:
        if self.kind is not None:
            self._events.append(Closed(self.part))
            self.kind = None

    def _delta(self, part: int, text: str) -> None:
        if text:
            self._events.append(Delta(part, text))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._events.append(Started())


def _is_another(
    found: IncomingCall, call_id: str | None, name: str | None, arguments: str | None, *, whole: bool
) -> bool:
    """Tell whether an element at a known index begins another call. Only one with a name can."""
    if name is None or found.name is None:
        return found.closed and name is not None
    if found.closed or name != found.name:
        return True
    if call_id is not None and found.call_id is not None and call_id != found.call_id:
        return True
    # Some upstreams repeat the name with every fragment; a call that is complete takes no more fragments.
    return whole or (bool(arguments) and found.is_complete())
