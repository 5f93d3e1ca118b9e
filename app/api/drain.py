"""The server's end, as those see it who serve requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from app.core.errors import Overloaded

RETRY_SECONDS = 1.0
"""After which another try makes sense: another replica, or the next process, is there already."""


class Interruptible(Protocol):
    """Something that can be told to end."""

    def interrupt(self) -> None:
        """End, telling the client why."""


class Drain:
    """Joins the server, which knows when it has to end, and the requests, which know how.

    The server begins the drain, gives what is under way its time, and ends it. All of it happens in the event loop.

    Attributes:
        begun: Nothing new is to be begun, and nobody is to be sent here any more.
        over: What is still under way has to end now.
    """

    def __init__(self) -> None:
        self.begun = False
        self.over = False
        self._deadline = 0.0
        self._told: list[Callable[[], None]] = []
        self._under_way: set[Interruptible] = set()

    def tell(self, begin: Callable[[], None]) -> None:
        """Have a function called when the drain begins."""
        self._told.append(begin)

    def enter(self, one: Interruptible) -> None:
        """Note something that is under way. When the time is over it is interrupted, now or later, but not at once."""
        self._under_way.add(one)
        if self.over:
            asyncio.get_running_loop().call_soon(self._interrupt, one)

    def leave(self, one: Interruptible) -> None:
        """Note that it has ended."""
        self._under_way.discard(one)

    def begin(self, seconds: float) -> None:
        """Begin; safe to call again.

        Args:
            seconds: How long what is under way has.
        """
        if self.begun:
            return
        self.begun = True
        self._deadline = asyncio.get_running_loop().time() + seconds
        for begin in self._told:
            begin()

    def seconds_left(self) -> float:
        """How long what is under way still has; 0 also when no drain has begun."""
        if not self.begun or self.over:
            return 0.0
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def end(self) -> None:
        """Interrupt all that is under way."""
        self.begin(0.0)
        self.over = True
        for one in tuple(self._under_way):
            self._interrupt(one)

    def _interrupt(self, one: Interruptible) -> None:
        if one in self._under_way:
            one.interrupt()


def shutting_down() -> Overloaded:
    """The failure of a request for which the server's end came too early."""
    return Overloaded("The server is shutting down. Please try again.", retry_after=RETRY_SECONDS)
