"""Reasoning that comes inside the text: ``<think>…</think>``, with the tags cut anywhere.

Templates of some models write the opening tag themselves, so that the answer begins in the middle of a thought.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal

OPENING: Final = "<think>"
CLOSING: Final = "</think>"

Piece = tuple[Literal["text", "reasoning"], str]


class _State(Enum):
    UNDECIDED = "undecided"
    OPENED = "opened"
    THINKING = "thinking"
    AFTER = "after"
    PASSING = "passing"


class ThinkSplitter:
    """Splits one answer's text into reasoning and text.

    Args:
        inline: The model thinks inside its text, and the opening tag may be missing.

    Attributes:
        passing: All further text is plain; there is no need to ask.
    """

    __slots__ = ("_held", "_inline", "_state", "_unopened", "passing")

    def __init__(self, *, inline: bool) -> None:
        self._inline = inline
        self._state = _State.UNDECIDED
        self._held = ""
        # The whole of a thought that had no opening tag: should it have no closing one either, it was the answer.
        self._unopened: list[str] | None = None
        self.passing = False

    def feed(self, text: str) -> list[Piece]:
        """Take more text; return what is certain."""
        if self._state is _State.PASSING:
            return [("text", text)] if text else []
        text, self._held = self._held + text, ""
        if self._state is _State.UNDECIDED:
            return self._decide(text)
        if self._state is _State.OPENED:
            return self._begin(text)
        if self._state is _State.THINKING:
            return self._think(text)
        return self._after(text)

    def pass_on(self) -> list[Piece]:
        """Stop looking, because the upstream separates reasoning itself; return what was held back."""
        if self.passing or self._state is not _State.UNDECIDED:
            return self.flush()
        held, self._held = self._held, ""
        self._pass()
        return [("text", held)] if held else []

    def flush(self) -> list[Piece]:
        """Return what was held back as the beginning of a tag."""
        held, self._held = self._held, ""
        if not held:
            return []
        if self._state is _State.THINKING:
            return self._thought(held)
        return [("text", held)]

    def close(self, *, stopped: bool) -> list[Piece]:
        """Say that no more text will come.

        Args:
            stopped: The model ended by itself. A thought without either tag was then the answer, and is given as
                text too.
        """
        pieces = self.flush()
        if stopped and self._unopened and self._state is _State.THINKING:
            pieces.append(("text", "".join(self._unopened)))
        return pieces

    def _decide(self, text: str) -> list[Piece]:
        begun = text.lstrip()
        if begun.startswith(OPENING):
            self._state = _State.OPENED
            return self._begin(begun[len(OPENING) :])
        if OPENING.startswith(begun):
            self._held = text
            return []
        if self._inline:
            self._state = _State.THINKING
            self._unopened = []
            return self._think(text)
        self._pass()
        return [("text", text)]

    def _begin(self, text: str) -> list[Piece]:
        # Like those behind the thought, the line breaks before it belong to the template.
        text = text.lstrip("\n")
        if not text:
            return []
        self._state = _State.THINKING
        return self._think(text)

    def _think(self, text: str) -> list[Piece]:
        thought, tag, rest = text.partition(CLOSING)
        if tag:
            self._state = _State.AFTER
            return [*self._thought(thought), *self._after(rest)]
        kept = _tail(text)
        self._held = text[len(text) - kept :]
        return self._thought(text[: len(text) - kept])

    def _after(self, text: str) -> list[Piece]:
        # Neither the thought nor the answer: the template's.
        text = text.lstrip("\n")
        if not text:
            return []
        self._pass()
        return [("text", text)]

    def _thought(self, text: str) -> list[Piece]:
        if not text:
            return []
        if self._unopened is not None:
            self._unopened.append(text)
        return [("reasoning", text)]

    def _pass(self) -> None:
        self._state = _State.PASSING
        self.passing = True
        self._unopened = None


def _tail(text: str) -> int:
    """Count the characters at the end that may be the beginning of a closing tag."""
    for size in range(min(len(CLOSING) - 1, len(text)), 0, -1):
        if CLOSING.startswith(text[-size:]):
            return size
    return 0
