"""How long an exchange waits for others. The rest of its time is what the proxy itself takes."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Waits:
    """Adds up how long something had to wait. The work that it does between its waits is not counted.

    Args:
        timer: Monotonic seconds.

    Attributes:
        seconds: The sum so far.
    """

    __slots__ = ("_timer", "seconds")

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self.seconds = 0.0

    @types.coroutine
    def of(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await something, and add its waits; returns what it returns, and raises what it raises."""
        timer = self._timer
        step: Callable[[Any], Any] = work.send
        given: BaseException | None = None
        while True:
            try:
                awaited = step(given)
            except StopIteration as end:
                result: T = end.value
                return result
            began = timer()
            try:
                yield awaited
                step, given = work.send, None
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is for the one who waits
                step, given = work.throw, error
            self.seconds += timer() - began
