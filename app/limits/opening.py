"""Asking for what was spent already, once for all who wait for the same."""

from __future__ import annotations

import asyncio

from app.limits.buckets import Opening, Period
from app.limits.spec import MAX_SPENT


class SharedOpening:
    """Asks an ``Opening`` once at a time for each owner and period.

    When a day begins, or a process starts, all of an owner's requests want to know the same.

    Args:
        opening: Who knows.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._asked: dict[tuple[str, Period], asyncio.Task[int]] = {}

    async def __call__(self, owner: str, period: Period) -> int:
        """What an owner has spent, in micro-neurons, from 0 to ``MAX_SPENT``.

        Raises:
            Overloaded: It cannot be found out.
        """
        asked = owner, period
        task = self._asked.get(asked)
        if task is None:
            task = self._asked[asked] = asyncio.ensure_future(self._opening(owner, period))
            task.add_done_callback(lambda done: self._forget(asked, done))
        # Who is cancelled leaves it to the others.
        return min(max(await asyncio.shield(task), 0), MAX_SPENT)

    def _forget(self, asked: tuple[str, Period], task: asyncio.Task[int]) -> None:
        del self._asked[asked]
        if not task.cancelled():
            # Where nobody waits for it any more, its failure is nobody's.
            task.exception()
