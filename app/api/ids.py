"""Ids that nobody can guess."""

from __future__ import annotations

import os
from collections import deque
from typing import Final

_DIGITS: Final = 32
_DRAWN: Final = 128
"""So many are drawn at once: asking the system for each costs more than all the rest of an id."""


class _Drawn:
    """The system's random bits, some drawn ahead; never given twice, neither to two threads nor to a forked process."""

    __slots__ = ("_digits", "_pid")

    def __init__(self) -> None:
        self._digits: deque[str] = deque()
        self._pid = 0

    def take(self) -> str:
        """128 bits, in hexadecimal digits."""
        if self._pid != (pid := os.getpid()):
            self._digits, self._pid = deque(), pid
        try:
            return self._digits.popleft()
        except IndexError:
            digits = os.urandom(_DRAWN * _DIGITS // 2).hex()
            self._digits.extend(digits[at : at + _DIGITS] for at in range(_DIGITS, len(digits), _DIGITS))
            return digits[:_DIGITS]


_drawn: Final = _Drawn()


def new_id(prefix: str) -> str:
    """Make an id: the prefix and 128 random bits."""
    return prefix + _drawn.take()
