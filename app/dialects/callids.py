"""Ids of tool calls that occur again in a later turn: each call gets its own, and its result goes with it.

Some models number their calls anew in every answer, and some clients make up ids of their own; engines that match
results to calls over the whole conversation would take one for the other.
"""

from __future__ import annotations

from collections import deque


class CallIds:
    """Gives the calls of one conversation, taken in order, ids that occur once."""

    __slots__ = ("_given", "_last", "_waiting")

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._last: dict[str, str] = {}
        self._waiting: dict[str, deque[str]] = {}

    def turn(self) -> None:
        """Begin another answer: what earlier ones still wait for will not come."""
        self._waiting.clear()

    def call(self, call_id: str) -> str:
        """Take a call's id; return the one to send."""
        unique, number = call_id, 1
        while unique in self._given:
            number += 1
            unique = f"{call_id}_{number}"
        self._given.add(unique)
        self._last[call_id] = unique
        self._waiting.setdefault(call_id, deque()).append(unique)
        return unique

    def result(self, call_id: str) -> str:
        """Take the id that a result names; return the one of its call.

        Of calls with one id in the same turn, the first result belongs to the first call.
        """
        waiting = self._waiting.get(call_id)
        return waiting.popleft() if waiting else self._last.get(call_id, call_id)
