"""All or none: several calls that belong together are made only when each of them may be made."""

from __future__ import annotations

import asyncio


class Gate:
    """Opens when so many have come, and then stays open.

    Args:
        count: How many are waited for.
    """

    __slots__ = ("_missing", "_open")

    def __init__(self, count: int) -> None:
        self._missing = count
        self._open = asyncio.Event()

    async def passed(self) -> None:
        """Wait until all have come. Each comes once; who comes again finds it open."""
        if self._open.is_set():
            return
        self._missing -= 1
        if self._missing:
            await self._open.wait()
            return
        self._open.set()
        # Who has waited goes first.
        await asyncio.sleep(0)
