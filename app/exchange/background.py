"""Work that goes on without its client: claimed from the store, done like any other exchange, and logged for replay.

A worker holds what it does by a lease, which it renews; when it dies, the lease runs out and another replica takes
over. An answer that had begun to be streamed cannot be begun anew under the eyes of those who follow it: it is failed,
with a reason; any other is done again.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from app.core.errors import ApiError, Internal
from app.exchange.memory import Memory
from app.exchange.waking import woken
from app.store.contract import Claim, Frame, Store, StoreUnavailable

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 4.0
POLL_SECONDS: Final = 2.0
"""How often work of other replicas is looked for; work of this one is known at once."""

BATCH_SECONDS: Final = 0.2
"""How long events wait to be logged together: a commit per token would slow the tokens."""

MAX_ATTEMPTS: Final = 3

_NUMBER = re.compile(rb'"sequence_number":(\d+)')
_log = logging.getLogger(__name__)


class Piece(Protocol):
    """One piece of background work, being done."""

    async def run(self, log: Callable[[list[Frame]], None]) -> None:
        """Do it; ``log`` takes frames as they come. Returns when there is an outcome to be finished with."""

    async def finish(self, store: Store, claim: Claim, frames: list[Frame]) -> None:
        """Put the outcome into the store."""

    async def give_up(self, store: Store, claim: Claim, error: ApiError, frames: list[Frame]) -> None:
        """Put a failure into the store."""


class Bells:
    """Wakes those who wait for something about a response, within this process."""

    def __init__(self) -> None:
        self._bells: dict[str, asyncio.Event] = {}

    async def wait(self, response_id: str, seconds: float) -> None:
        """Wait until the bell of a response rings, or so many seconds, for other replicas' bells are not heard."""
        bell = self._bells.setdefault(response_id, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()

    def ring(self, response_id: str) -> None:
        """Wake all who wait for a response."""
        bell = self._bells.pop(response_id, None)
        if bell is not None:
            bell.set()


class Workers:
    """Does the background work of one process.

    Args:
        memory: Where the work is.
        begin: Makes a piece of work from a claim.
        bells: Rung at every step.
        name: This process's name among the replicas.
        clock: Unix seconds.
        places: How many pieces are done at once.
    """

    def __init__(
        self,
        memory: Memory,
        begin: Callable[[Claim], Piece],
        bells: Bells,
        *,
        name: str,
        clock: Callable[[], float],
        places: int,
    ) -> None:
        self._memory = memory
        self._begin = begin
        self._bells = bells
        self._name = name
        self._clock = clock
        self._places = asyncio.Semaphore(places)
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._resting = False

    @property
    def _store(self) -> Store:
        store = self._memory.store
        if store is None:
            raise StoreUnavailable
        return store

    @property
    def running(self) -> int:
        """How many pieces are being done."""
        return len(self._running)

    def rest(self) -> None:
        """Take up nothing more, because this process ends; other replicas will."""
        self._resting = True
        self.wake()

    async def finish(self, seconds: float) -> None:
        """Wait until what is being done is done, but no longer than that; then it is to be cancelled."""
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=seconds)

    def wake(self) -> None:
        """Say that there is new work."""
        self._wake.set()

    def stop(self, response_id: str) -> None:
        """Say that a piece of work has been cancelled; a replica that does it will find out by itself."""
        task = self._running.get(response_id)
        if task is not None:
            task.cancel()
        self._bells.ring(response_id)

    async def run(self) -> None:
        """Do work for ever; on cancellation give back what is not finished."""
        try:
            while True:
                await self._places.acquire()
                claim = None if self._resting else await self._next()
                if claim is None:
                    self._places.release()
                    self._wake.clear()
                    await woken(self._wake, POLL_SECONDS)
                    continue
                task = asyncio.create_task(self._work(claim))
                self._running[claim.response.id] = task
                task.add_done_callback(partial(self._done, claim.response.id))
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, response_id: str, _: asyncio.Task[None]) -> None:
        self._running.pop(response_id, None)
        self._places.release()
        self._bells.ring(response_id)

    async def _next(self) -> Claim | None:
        try:
            return await self._store.work.claim(self._name, self._clock(), LEASE_SECONDS)
        except StoreUnavailable as error:
            _log.warning("background work cannot be claimed: %s", error.message)
            return None

    async def _work(self, claim: Claim) -> None:
        self._bells.ring(claim.response.id)
        piece = self._begin(claim)
        journal = Journal(self._store, claim, self._bells, self._clock)
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - this is a coroutine
        keeper = asyncio.create_task(self._keep(claim, journal, me))
        try:
            if claim.attempt > 1 and (claim.last_sequence is not None or claim.attempt > MAX_ATTEMPTS):
                raise _interrupted()  # noqa: TRY301 - it ends like every other failure of the work
            await piece.run(journal.add)
            await piece.finish(self._store, claim, await journal.take())
        except ApiError as error:
            await piece.give_up(self._store, claim, error, await journal.take())
        except asyncio.CancelledError:
            # Either its caller has cancelled it, and the store knows, or this process ends. Then others may have it,
            # unless somebody has already seen how it began.
            with suppress(StoreUnavailable):
                if journal.began:
                    await piece.give_up(self._store, claim, _interrupted(), await journal.take())
                elif not journal.lost:
                    await self._store.work.release(claim)
            raise
        except Exception:  # noqa: BLE001 - whatever went wrong, the work must not stay open for ever
            _log.exception("background work failed by a defect of this proxy")
            await piece.give_up(self._store, claim, Internal(), await journal.take())
        finally:
            keeper.cancel()

    async def _keep(self, claim: Claim, journal: Journal, worker: asyncio.Task[None]) -> None:
        """Renew the lease and log events, until the claim is lost; then stop the work."""
        renewed = self._clock()
        while True:
            await asyncio.sleep(BATCH_SECONDS)
            try:
                held = await journal.write()
                if held and self._clock() - renewed >= RENEW_SECONDS:
                    renewed = self._clock()
                    held = await self._store.work.renew(claim, renewed, LEASE_SECONDS)
            except StoreUnavailable:
                continue
            if not held:
                journal.lost = True
                worker.cancel()
                return


def _interrupted() -> Internal:
    return Internal("The server was restarted while this response was being generated.")


class Journal:
    """The frames of one piece of work on their way into the store.

    Attributes:
        lost: Somebody else has the work, or nobody.
        began: Frames have been logged.
    """

    def __init__(self, store: Store, claim: Claim, bells: Bells, clock: Callable[[], float]) -> None:
        self._store = store
        self._claim = claim
        self._bells = bells
        self._clock = clock
        self._frames: list[Frame] = []
        self._writing = asyncio.Lock()
        self.lost = False
        self.began = False

    def add(self, frames: list[Frame]) -> None:
        """Take frames; they are logged with the next batch."""
        self._frames.extend(frames)

    async def take(self) -> list[Frame]:
        """The frames that are not logged yet, to be logged with the end.

        What is being logged is waited for: the end takes the claim away, and with it the right to log anything more.
        """
        async with self._writing:
            frames, self._frames = self._frames, []
        return frames

    async def write(self) -> bool:
        """Log what there is; false when the work is lost."""
        async with self._writing:
            frames, self._frames = self._frames, []
            if not frames:
                return True
            try:
                held = await self._store.work.append_events(self._claim, frames, self._clock())
            except StoreUnavailable:
                self._frames = frames + self._frames
                raise
            self.began = True
        self._bells.ring(self._claim.response.id)
        return held


def numbered(block: bytes) -> list[Frame]:
    """Cut a block of a stream into its frames; those without a number (``[DONE]``) are not events."""
    frames = []
    for part in block.split(b"\n\n"):
        found = _NUMBER.search(part)
        if found is not None:
            frames.append((int(found[1]), part + b"\n\n"))
    return frames
