"""Tool calls that leak as ``<tool_call>{…}</tool_call>`` in the text, the tags and the call cut anywhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from app.core.events import Closed, Delta, Event, Opened
from app.dialects.recast import Recast
from app.dialects.textcalls import call_in, loosely_decoded

OPENING: Final = "<tool_call>"
CLOSING: Final = "</tool_call>"

MAX_BLANK: Final = 256
"""More white space than this does not wait for what comes behind it."""


class MarkupFilter:
    """Makes calls of what stands between the tags, when it names an offered tool; otherwise the text stays as it was.

    Args:
        offered: The names of the tools.
    """

    __slots__ = ("_body", "_end", "_held", "_made", "_offered", "_out", "_part", "_within")

    def __init__(self, offered: Collection[str]) -> None:
        self._offered = offered
        self._out = Recast()
        self._part = -1
        # Text that waits: the beginning of a tag, and white space that may turn out to stand before one.
        self._held = ""
        self._within = False
        # Behind the opening tag: what has come, and the end of it, in which a closing tag may have begun.
        self._body: list[str] = []
        self._end = ""
        self._made = False

    def feed(self, event: Event) -> Sequence[Event]:
        """Take the next event."""
        out = self._out
        if type(event) is Delta:
            if event.part != self._part:
                return (out.carried(event),)
            if out.text >= 0 and not self._held and not self._within and "<" not in event.text:
                return (event if out.text == event.part else Delta(out.text, event.text),)
            self._take(event.text)
        elif type(event) is Opened and event.kind == "text":
            # It opens when there is text that is not a call.
            self._part = event.part
            self._made = False
        elif type(event) is Closed and event.part == self._part:
            self._part = -1
            self._flush()
            out.close_text()
        else:
            out.carry(event)
        return out.take()

    def _take(self, text: str) -> None:
        while text:
            text = self._inside(text) if self._within else self._outside(text)

    def _outside(self, text: str) -> str:
        """Take text that is outside the tags; return what comes behind an opening tag."""
        text, self._held = self._held + text, ""
        before, tag, rest = text.partition(OPENING)
        if tag:
            if not self._is_blank(before):
                self._out.say(before)
                before = ""
            self._within = True
            # Kept in case that it is no call after all: the text stays as it was.
            self._body = [before + OPENING]
            self._end = ""
            return rest
        kept = tail(text, OPENING)
        if self._is_blank(text[: len(text) - kept]):
            kept = len(text)
        self._out.say(text[: len(text) - kept])
        self._held = text[len(text) - kept :]
        return ""

    def _inside(self, text: str) -> str:
        """Take text behind an opening tag; return what comes behind the closing one."""
        if len(self._body) == 1:
            text = self._end + text
            self._end = ""
            begun = text.lstrip()
            if not begun:
                self._end = text
                return ""
            if begun[0] != "{":
                self._give_up()
                return text
        window = self._end + text
        place = window.find(CLOSING)
        if place < 0:
            self._body.append(text)
            self._end = window[1 - len(CLOSING) :]
            return ""
        place += len(CLOSING) - len(self._end)
        self._body.append(text[:place])
        self._call(closed=True)
        return text[place:]

    def _call(self, *, closed: bool) -> None:
        """Make a call of what came since the opening tag, or text again."""
        whole = "".join(self._body[1:])
        call = call_in(loosely_decoded(whole[: -len(CLOSING)] if closed else whole), self._offered)
        if call is None:
            self._give_up()
            return
        self._within = False
        self._body, self._end = [], ""
        self._out.call(call)
        self._made = True

    def _give_up(self) -> None:
        self._within = False
        # The white space before it is told with it.
        self._out.say("".join(self._body))
        self._body, self._end = [], ""

    def _flush(self) -> None:
        """Say what waits, because the text ends."""
        if self._within:
            # Some engines drop the closing tag, which is a special token to them.
            if len(self._body) == 1:
                self._body.append(self._end)
            self._call(closed=False)
        held, self._held = self._held, ""
        if held.strip() or not self._made:
            self._out.say(held)

    def _is_blank(self, text: str) -> bool:
        """White space that nothing stands before: around calls it belongs to the template."""
        return self._out.text < 0 and len(text) <= MAX_BLANK and not text.strip()


def tail(text: str, tag: str) -> int:
    """Count the characters at the end of a text that may be the beginning of a tag."""
    for size in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-size:]):
            return size
    return 0
