"""Characters that came in two halves: a token may end in the middle of a surrogate pair, the next one completes it."""

from __future__ import annotations

from collections.abc import Hashable

REPLACEMENT = "\ufffd"


class Halves:
    """Joins the halves of one answer, channel by channel (its text, its reasoning, each tool call).

    Only needed once a frame was not strict JSON: a lone half cannot come any other way.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[Hashable, str] = {}

    def join(self, channel: Hashable, text: str) -> str:
        """Complete a text with the half that waits for it; hold a half at its end back."""
        if not text:
            return ""
        text = self._pending.pop(channel, "") + text
        if "\ud800" <= text[-1] <= "\udbff":
            self._pending[channel] = text[-1]
            text = text[:-1]
        return whole(text)

    def rest(self, channel: Hashable) -> str:
        """Give up waiting: a half without its other is a replacement character."""
        return REPLACEMENT if self._pending.pop(channel, None) else ""

    def channels(self) -> list[Hashable]:
        """The channels on which a half waits."""
        return list(self._pending)


def whole(text: str) -> str:
    """Join the halves within a text; each that stays alone becomes a replacement character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
