"""What one delta, message or native frame holds, said in the right order: reasoning, refusal, text, tool calls.

Three helpers stand between the words of a frame and the event stream: one takes reasoning out of text, one joins
characters that came in halves, one keeps the stream to the grammar.
"""

from __future__ import annotations

from typing import Any, Final

from app.core.events import PartKind
from app.dialects.assembly import Assembly
from app.dialects.halves import Halves
from app.dialects.responses import Item
from app.dialects.scalars import json_text, name_of, text_of, token_text
from app.dialects.think import Piece, ThinkSplitter

_KINDS: Final[dict[object, PartKind]] = {"text": "text", "reasoning": "reasoning", "refusal": "refusal"}

_NO_INDEX: Final = -1


class Content:
    """The content of one answer.

    Args:
        thinks_inline: The model thinks inside its text.

    Attributes:
        assembly: The event stream that it becomes.
    """

    __slots__ = ("_halves", "_think", "assembly")

    def __init__(self, *, thinks_inline: bool) -> None:
        self.assembly = Assembly()
        self._think = ThinkSplitter(inline=thinks_inline)
        self._halves: Halves | None = None

    def expect_halves(self) -> None:
        """From now on characters may come in halves."""
        if self._halves is None:
            self._halves = Halves()

    def flows(self, *, tagged: bool) -> bool:
        """Tell whether more text for the open part may be passed on without looking at it.

        Args:
            tagged: It comes from a field whose text may hold reasoning between tags.
        """
        return self._halves is None and self.assembly.flows and (self._think.passing or not tagged)

    def read(self, source: dict[str, Any], text_field: str, *, whole: bool) -> str | None:
        """Read one delta, message or native frame.

        Returns:
            The field of its text if that is all its content, ``""`` if it has no content, otherwise ``None``.
        """
        found: list[str] = []
        for field in ("reasoning_content", "reasoning"):
            reasoning = token_text(source.get(field))
            if reasoning:
                self._pieces(self._think.pass_on())
                self._say("reasoning", reasoning)
                found.append(field)
                break
        refusal = token_text(source.get("refusal"))
        if refusal:
            self._pieces(self._think.flush())
            self._say("refusal", refusal)
            found.append("refusal")
        value = source.get(text_field)
        text = text_of(value)
        if text:
            if self._think.passing:
                self._say("text", text)
            elif type(value) is dict or type(value) is list:
                self._pieces(self._think.flush())
                self._say("text", text)
            else:
                self._pieces(self._think.feed(text))
            found.append(text_field)
        if self._tools(source, whole=whole):
            found.append("tool_calls")
        if len(found) > 1:
            return None
        return found[0] if found else ""

    def read_item(self, place: int, item: Item) -> None:
        """Read one item of an answer in the Responses form."""
        if item.kind == "tool_call":
            self.assembly.call(place, item.call_id, item.name, item.text)
        else:
            self._say(item.kind, item.text)

    def complete(self, *, stopped: bool) -> None:
        """Say what was held back, because the answer is complete.

        Args:
            stopped: The model ended by itself.
        """
        self._pieces(self._think.close(stopped=stopped))
        self._give_up_halves()

    def break_off(self) -> None:
        """Say what was held back, because nothing more will come."""
        self._pieces(self._think.flush())
        self._give_up_halves()

    def _tools(self, source: dict[str, Any], *, whole: bool) -> bool:
        elements = source.get("tool_calls")
        if type(elements) is not list or not elements:
            function = source.get("function_call")
            elements = [{"index": 0, "function": function}] if type(function) is dict else ()
        seen = False
        for place, element in enumerate(elements):
            if type(element) is dict:
                seen = self._tool(element, place if whole else None) or seen
        return seen

    def _tool(self, element: dict[str, Any], place: int | None) -> bool:
        function = element.get("function")
        if type(function) is not dict:
            function = element
        index = element.get("index")
        if place is not None:
            index = place
        elif type(index) is not int or index < 0:
            index = None
        call_id, name = name_of(element.get("id")), name_of(function.get("name"))
        value = function.get("arguments")
        container = type(value) is dict or type(value) is list
        arguments = json_text(value) if container else token_text(value)
        if self._halves is not None:
            self._mend()
            arguments = self._halves.join(_NO_INDEX if index is None else index, arguments)
        if call_id is None and name is None and not arguments:
            return False
        self._pieces(self._think.flush())
        self.assembly.call(index, call_id, name, arguments, whole=container)
        return True

    def _pieces(self, pieces: list[Piece]) -> None:
        for kind, text in pieces:
            self._say(kind, text)

    def _say(self, kind: PartKind, text: str) -> None:
        if self._halves is not None:
            self._mend(kind)
            text = self._halves.join(kind, text)
        self.assembly.text(kind, text)

    def _mend(self, going_on: PartKind | None = None) -> None:
        """Give up half characters of text, except in the part that goes on."""
        if self._halves is None:
            return
        for channel in self._halves.channels():
            if channel in _KINDS and channel != going_on:
                self.assembly.text(_KINDS[channel], self._halves.rest(channel))

    def _give_up_halves(self) -> None:
        if self._halves is None:
            return
        self._mend()
        for channel in self._halves.channels():
            if isinstance(channel, int):
                index = None if channel == _NO_INDEX else channel
                self.assembly.call(index, None, None, self._halves.rest(channel))
