"""All that one process does for batches, as one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from app.exchange.batch_care import BatchCare
from app.exchange.batch_lines import Batching, LineWorkers
from app.exchange.batch_packs import PackWorkers


class BatchWork:
    """Does batches in one process.

    Args:
        batching: What it works with.
        packs: Sends lines to the upstream's own queue; ``None`` to ask all of them one by one.
        places: How many lines are asked at once; with none, batches are left to other processes.
        busy: Others wait for their turn.
        max_lines: The most lines of a batch.
        max_line_bytes: The longest line.
    """

    def __init__(
        self,
        batching: Batching,
        packs: PackWorkers | None,
        *,
        places: int,
        busy: Callable[[], bool],
        max_lines: int,
        max_line_bytes: int,
    ) -> None:
        self._places = places
        self._lines = LineWorkers(batching, places=places, busy=busy, idle=self.wake)
        self._packs = packs
        fits = _nothing if packs is None else packs.fits
        self._care = BatchCare(batching, self._begun, fits, max_lines=max_lines, max_line_bytes=max_line_bytes)

    def _begun(self) -> None:
        """There are lines to be asked."""
        if self._packs is not None:
            self._packs.wake()
        self._lines.wake()

    def jobs(self) -> list[Coroutine[None, None, None]]:
        """What goes on for ever."""
        if not self._places:
            return []
        packs = [] if self._packs is None else [self._packs.run()]
        return [self._care.run(), self._lines.run(), *packs]

    def wake(self) -> None:
        """Say that there may be a batch to take care of."""
        self._care.wake()

    async def stop(self, batch_id: str) -> None:
        """Begin no more lines of a batch that was cancelled."""
        await self._lines.stop(batch_id)

    def rest(self) -> None:
        """Begin nothing more, because this process ends."""
        self._lines.rest()
        if self._packs is not None:
            self._packs.rest()

    async def finish(self, seconds: float) -> None:
        """Wait until what is being asked is answered, but no longer than that."""
        await self._lines.finish(seconds)


def _nothing(endpoint: str, body: Mapping[str, Any]) -> bool:
    """Nothing goes to the upstream's own queue."""
    del endpoint, body
    return False
