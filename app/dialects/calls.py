"""One tool call as it comes in: fragments of arguments, an id and a name in whatever order."""

from __future__ import annotations

from typing import Any, Final

from app.wire.codec import CodecError, decode

MAX_ENCODINGS: Final = 3
"""How many times over arguments may have been encoded as JSON."""

_ENDS: Final = ("}", "]", '"')


class IncomingCall:
    """A tool call that may still be growing.

    Arguments pass through as they come, except those that turn out to be a JSON text within a JSON string: they can
    only be decoded when they are complete.

    Attributes:
        name: The tool's name, once known.
        call_id: The upstream's id, once known.
        part: The number of its part, once opened.
        closed: No more is taken.
    """

    __slots__ = ("_direct", "_pieces", "call_id", "closed", "name", "part")

    def __init__(self) -> None:
        self.name: str | None = None
        self.call_id: str | None = None
        self.part: int | None = None
        self.closed = False
        self._pieces: list[str] = []
        self._direct: bool | None = None

    @property
    def arguments(self) -> str:
        """Everything that came so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def add(self, fragment: str) -> str:
        """Take more arguments; return what may be passed on now."""
        self._pieces.append(fragment)
        if self._direct:
            return fragment
        return self.release() if self.part is not None else ""

    def release(self) -> str:
        """Return what was held back until the part was opened, if it can be passed on."""
        if self._direct is None:
            begun = self.arguments.lstrip()
            if begun:
                self._direct = begun[0] != '"'
                return self.arguments if self._direct else ""
        return ""

    def rest(self) -> str:
        """Return what is still held back at the end: arguments that were encoded twice, decoded."""
        return "" if self._direct is not False else unwrapped(self.arguments)

    def is_complete(self) -> bool:
        """Its name is known and its arguments are a whole JSON text."""
        # A look at the end first: this may be asked at every fragment.
        if self.name is None or not self._pieces or not self._pieces[-1].rstrip().endswith(_ENDS):
            return False
        text = self.arguments
        try:
            decode(text.encode("utf-8", "replace"))
        except CodecError:
            return False
        return True


def unwrapped(arguments: str) -> str:
    """Decode arguments that are a JSON text within a JSON string; anything else stays as it is."""
    text = arguments
    for _ in range(MAX_ENCODINGS):
        value = _decoded(text)
        if not isinstance(value, str):
            # A container: the text is what was meant. Anything else was just a string in quotes.
            return text if isinstance(value, dict | list) else arguments
        text = value
        if not text.strip():
            return ""
    return arguments


def _decoded(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return decode(text.encode("utf-8", "replace"))
    except CodecError:
        return None
