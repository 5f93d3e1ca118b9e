"""How many requests a model serves side by side, and who waits."""

import asyncio
from collections import deque
from typing import Any

from app.emulator.errors import CloudflareError


class Place:
    """A request's place at a model: being served, or in the queue.

    Args:
        model: The model's places.
    """

    def __init__(self, model: "_Places") -> None:
        self._model: _Places | None = model
        self._called = asyncio.Event()

    def call(self) -> None:
        """Let it be served."""
        self._called.set()

    @property
    def served(self) -> bool:
        """Whether its turn has come."""
        return self._called.is_set()

    async def reached(self, gone: "asyncio.Future[None]") -> bool:
        """Wait for the turn; return whether it came before the client left."""
        if not self.served:
            turn = asyncio.ensure_future(self._called.wait())
            waiting: set[asyncio.Future[Any]] = {turn, gone}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            turn.cancel()
        return self.served

    def leave(self) -> None:
        """Give the place up; the first in the queue gets it."""
        if self._model is not None:
            self._model.release(self)
            self._model = None


class _Places:
    """The places of one model."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0
        self.queue: deque[Place] = deque()

    def serve(self, place: Place) -> None:
        self.running += 1
        self.peak = max(self.peak, self.running)
        place.call()

    def release(self, place: Place) -> None:
        if not place.served:
            self.queue.remove(place)
            return
        self.running -= 1
        if self.queue:
            self.serve(self.queue.popleft())


class Capacity:
    """The places of every model, shared by all accounts.

    The queue is served in the order of arrival and has no bound, as Cloudflare tells of none.

    Args:
        most: Requests that one model serves at a time; nothing for any number.
    """

    def __init__(self, most: int | None) -> None:
        if most is not None and most < 1:
            raise ValueError("capacity is a number from 1")
        self.most = most
        self._models: dict[str, _Places] = {}

    def busy(self, model: str) -> bool:
        """Whether a request would have to wait."""
        return self.most is not None and model in self._models and self._models[model].running >= self.most

    def enter(self, model: str, *, reject_if_busy: bool) -> Place:
        """Take a place, in the queue if there is no other.

        Raises:
            CloudflareError: 429/3040: the model is busy and the request does not want to wait.
        """
        busy = self.busy(model)
        if busy and reject_if_busy:
            raise CloudflareError(429, 3040, "AiError: Capacity temporarily exceeded, please try again.")
        places = self._models.setdefault(model, _Places())
        place = Place(places)
        if busy:
            places.queue.append(place)
        else:
            places.serve(place)
        return place

    def shown(self) -> dict[str, Any]:
        """Return `{most, models: {id: {running, queued, peak}}}`."""
        models = {
            name: {"running": one.running, "queued": len(one.queue), "peak": one.peak}
            for name, one in self._models.items()
        }
        return {"most": self.most, "models": models}
