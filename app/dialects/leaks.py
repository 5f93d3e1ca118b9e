"""A forced call that leaks as JSON in the text: gpt-oss writes the call itself, in or out of a code fence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from app.core.events import Closed, Delta, Event, Failed, Opened
from app.core.request import Tool
from app.dialects.fences import FENCE, unfenced
from app.dialects.recast import Recast
from app.dialects.textcalls import TextCall, calls_in
from app.wire.codec import CodecError, decode

_BEGINNINGS: Final = ("{", "[", FENCE)

MAX_BLANK: Final = 256
"""More white space than this does not wait for what comes behind it."""


class LeakFilter:
    """Makes calls of a text that is nothing but JSON naming offered tools. For answers that had to be a call.

    Text waits until it is clear that it is no such JSON; when it may be, until the part that follows it or the end of
    the answer, because a real call makes it a text again.

    Args:
        offered: The names of the tools.
        only: The one tool that had to be called, if it was one.
    """

    __slots__ = ("_called", "_likely", "_offered", "_only", "_out", "_part", "_passing", "_pieces")

    def __init__(self, offered: Collection[str], only: Tool | None) -> None:
        self._offered = offered
        self._only = only
        self._out = Recast()
        self._part = -1
        self._passing = False
        self._likely = False
        self._called = False
        self._pieces: list[str] = []

    def feed(self, event: Event) -> Sequence[Event]:
        """Take the next event."""
        out = self._out
        if type(event) is Delta:
            if event.part != self._part:
                return (out.carried(event),)
            if self._passing and out.text == event.part:
                return (event,)
            self._take(event.text)
        elif type(event) is Closed and event.part == self._part:
            self._part = -1
            out.close_text()
        else:
            self._settle(event)
            if type(event) is Opened and event.kind == "text":
                self._part = event.part
                self._passing = self._called
            else:
                self._called = self._called or (type(event) is Opened and event.kind == "tool_call")
                out.carry(event)
        return out.take()

    def _take(self, text: str) -> None:
        if self._passing:
            self._out.say(text)
            return
        self._pieces.append(text)
        if self._likely:
            return
        whole = "".join(self._pieces)
        begun = whole.lstrip()
        if begun.startswith(_BEGINNINGS):
            self._likely = True
        elif not FENCE.startswith(begun) or len(whole) > MAX_BLANK:
            self._passing = True
            self._pieces = []
            self._out.say(whole)

    def _settle(self, following: Event) -> None:
        """Decide what the text that waits is, by what follows it."""
        if not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces, self._likely = [], False
        real = type(following) is Failed or (type(following) is Opened and following.kind == "tool_call")
        calls = [] if real else self._calls(text)
        for call in calls:
            self._out.call(call)
        if not calls:
            self._out.say(text)
            self._out.close_text()

    def _calls(self, text: str) -> list[TextCall]:
        try:
            value = decode(unfenced(text).encode("utf-8", "replace"))
        except CodecError:
            return []
        return calls_in(value, self._offered, self._only)
