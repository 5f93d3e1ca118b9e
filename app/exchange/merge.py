"""Several choices heard at once, in whatever order they speak."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.core.events import Event, Failed, Finished
from app.exchange.gate import Gate
from app.exchange.leg import Leg

AHEAD = 64
"""How many batches of events may wait for a slow client before the legs wait too."""


class Merge:
    """Hears several legs at once.

    Args:
        legs: The legs, already open.

    Attributes:
        ended: Every choice's terminal event has been given, or one that failed them all. The legs themselves may
            have ended long before what they said last is heard here.
    """

    def __init__(self, legs: Sequence[Leg]) -> None:
        self.ended = False
        self._open = len(legs)
        self._queue: asyncio.Queue[tuple[int, Sequence[Event]] | BaseException] = asyncio.Queue(AHEAD)
        self._tasks = [asyncio.create_task(self._hear(choice, leg)) for choice, leg in enumerate(legs)]

    async def hear_more(self) -> tuple[int, Sequence[Event]]:
        """The next events of any choice, with its number. To be called only while a leg has not ended."""
        heard = await self._queue.get()
        if isinstance(heard, BaseException):
            raise heard
        last = heard[1][-1]
        if isinstance(last, Finished | Failed):
            self._open -= 1
            self.ended = self._open == 0 or isinstance(last, Failed)
        return heard

    async def aclose(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hear(self, choice: int, leg: Leg) -> None:
        try:
            while not leg.ended:
                events = await leg.hear_more()
                if events:
                    await self._queue.put((choice, events))
        except Exception as error:  # noqa: BLE001 - a defect here is a defect of the exchange, and is raised there
            await self._queue.put(error)


async def open_all(legs: Sequence[Leg]) -> None:
    """Call the upstream for every leg at once, but for none before each may be called.

    Raises:
        ApiError: One of them was refused; the others are given up.
    """
    if len(legs) == 1:
        await legs[0].open()
        return
    gate = Gate(len(legs))
    tasks = [asyncio.create_task(leg.open(gate)) for leg in legs]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
