"""The local queue of batches: lines are taken from the store a few at a time, asked, and their answers kept.

It has low priority: few places, and nothing new is begun while other requests wait for their turn at the account's
limits. A line that a limit refuses goes back, and its batch rests for as long as the limit says: batches wait where
others are told to. An answer counts when it is committed; what was being asked when the process died is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from msgspec import Struct

from app.catalog.catalogue import Catalogue
from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest, Internal, UpstreamRefused
from app.core.surface import NewId
from app.exchange.asking_lines import Ask
from app.exchange.memory import Memory
from app.exchange.waking import woken
from app.files.contract import BlobMissing, Blobs
from app.store.batching import BatchUsage, LineClaim, LineState, NewLine, StoredBatch
from app.store.contract import Store, StoreUnavailable
from app.surfaces.batches.shapes import answered_line, failed_line, line_id, problem, usage_of
from app.wire.codec import decode, encode

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 4.0
POLL_SECONDS: Final = 2.0
"""How often work of other replicas is looked for; work of this one is known at once."""

BUSY_SECONDS: Final = 0.2
"""How often it is looked whether others still wait."""

MAX_ATTEMPTS: Final = 3
"""How often a line is asked when the upstream fails."""

MAX_CLAIMS: Final = 30
"""How often a line is begun: one that kills the process each time must come to an end as well."""

LEAST_REST: Final = 1.0
MOST_REST: Final = 300.0
REST: Final = 10.0
"""How long a batch rests, when it is not known better."""

_TOO_MUCH: Final = frozenset({429, 503})

_log = logging.getLogger(__name__)

Outcome: TypeAlias = tuple[LineState, bytes, BatchUsage]
"""What is kept of a line: how it ended, its line in a file of results, and what it used."""

REVOKED: Final = problem("invalid_api_key", "The API key that asked for this batch is not accepted any more.")


class Batching(Struct, frozen=True):
    """What everything about batches works with.

    Attributes:
        memory: Has the store.
        blobs: Where the bytes of files are.
        catalogue: The catalogue as it is now.
        find: The caller with an id, as it is now; ``None`` when its key is not accepted any more.
        asks: How a line is asked, by the endpoint.
        new_id: Makes ids.
        clock: Unix seconds.
        worker: This process's name among the replicas.
    """

    memory: Memory
    blobs: Callable[[], Blobs]
    catalogue: Callable[[], Catalogue]
    find: Callable[[str], Caller | None]
    asks: Mapping[str, Ask]
    new_id: NewId
    clock: Callable[[], float]
    worker: str

    @property
    def store(self) -> Store:
        """The open store."""
        if self.memory.store is None:
            raise StoreUnavailable
        return self.memory.store

    async def body(self, batch: StoredBatch, start: int, length: int) -> bytes:
        """Read the body of a line.

        Raises:
            FilesUnavailable: The file cannot be read now.
        """
        pieces = self.blobs().read(batch.input_file_id, start, length)
        try:
            entry = decode(b"".join([piece async for piece in pieces]))
        except BlobMissing:
            raise BadRequest("The batch's input file is gone.", code="file_not_found") from None
        return encode(entry["body"])

    async def stop(self, batch: StoredBatch) -> None:
        """End a batch whose key is not accepted any more."""
        await self.store.batches.cancel(batch.caller, batch.id, self.clock(), [REVOKED])


class LineWorkers:
    """Has lines of batches answered in one process.

    Args:
        batching: What it works with.
        places: How many lines are asked at once.
        busy: Others wait for their turn.
        idle: Called when there is no line to be asked: perhaps a batch is done.
    """

    def __init__(self, batching: Batching, *, places: int, busy: Callable[[], bool], idle: Callable[[], None]) -> None:
        self._batching = batching
        self._free = asyncio.Semaphore(places)
        self._places = places
        self._busy = busy
        self._idle = idle
        self._wake = asyncio.Event()
        self._ready: deque[LineClaim] = deque()
        self._running: dict[asyncio.Task[None], LineClaim] = {}
        self._resting = False

    def wake(self) -> None:
        """Say that there may be lines to be asked."""
        self._wake.set()

    def rest(self) -> None:
        """Begin nothing more, because this process ends; other replicas will."""
        self._resting = True
        self.wake()

    async def finish(self, seconds: float) -> None:
        """Wait until what is being asked is answered, but no longer than that."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=seconds)

    async def stop(self, batch_id: str) -> None:
        """Begin no more lines of a batch, which was cancelled; those that are being asked are paid for, and end."""
        await self._put_back(batch_id)

    async def run(self) -> None:
        """Work for ever; on cancellation give back what is not answered."""
        keeper = asyncio.create_task(self._keep())
        try:
            while True:
                await self._free.acquire()
                claim = await self._next()
                if claim is None:
                    self._free.release()
                    await self._pause()
                    continue
                task = asyncio.create_task(self._work(claim))
                self._running[task] = claim
                task.add_done_callback(self._done)
        finally:
            keeper.cancel()
            tasks = list(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(keeper, *tasks, return_exceptions=True)
            with suppress(StoreUnavailable):
                await self._put_back(None)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._free.release()
        if not self._running and not self._ready:
            self._idle()

    async def _pause(self) -> None:
        self._wake.clear()
        await woken(self._wake, POLL_SECONDS)

    async def _next(self) -> LineClaim | None:
        """The next line to be asked; a few are taken at once, for each taking is a commit."""
        while self._busy() and not self._resting:  # noqa: ASYNC110 - a line that is empty again tells nobody
            await asyncio.sleep(BUSY_SECONDS)
        if self._resting:
            return None
        if not self._ready:
            batching = self._batching
            try:
                claims = await batching.store.batch_lines.claim(
                    batching.worker, batching.clock(), LEASE_SECONDS, 2 * self._places
                )
            except StoreUnavailable as error:
                _log.warning("lines of batches cannot be taken: %s", error.message)
                return None
            self._ready.extend(claims)
        return self._ready.popleft() if self._ready else None

    async def _work(self, claim: LineClaim) -> None:
        try:
            await self._answer(claim)
        except StoreUnavailable as error:
            # Its lease runs out, and it is asked again: nothing is known to be kept.
            _log.warning("the answer to a line of a batch could not be kept: %s", error.message)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await self._batching.store.batch_lines.put_back([claim], self._batching.clock(), counts=False)
            raise

    async def _answer(self, claim: LineClaim) -> None:
        batching, batch = self._batching, claim.batch
        caller = batching.find(batch.caller)
        if caller is None:
            await batching.store.batch_lines.put_back([claim], batching.clock(), counts=False)
            await batching.stop(batch)
            await self._put_back(batch.id)
            return
        if claim.attempt > MAX_CLAIMS:
            error = Internal("The server was restarted too often while this request was being answered.")
            result = failed_line(line_id(batch.id, claim.line.number), claim.line.custom_id, "", error)
            await batching.store.batch_lines.answer(claim, "failed", result, BatchUsage())
            return
        ask = batching.asks[batch.endpoint]
        outcome = await outcome_of(batching, batch, claim.line, caller, ask, retries=claim.attempt < MAX_ATTEMPTS)
        if not isinstance(outcome, ApiError):
            await batching.store.batch_lines.answer(claim, *outcome)
            return
        rest = rest_after(outcome)
        # The longer, the more often it has failed.
        seconds = 2.0 ** (claim.attempt - 1) if rest is None else rest
        await batching.store.batch_lines.rest(batch.id, batching.clock() + seconds)
        await batching.store.batch_lines.put_back([claim], batching.clock(), counts=rest is None)
        await self._put_back(batch.id)

    async def _put_back(self, batch_id: str | None) -> None:
        """Give back what is not begun, of one batch or of all."""
        back = [claim for claim in self._ready if batch_id in {None, claim.batch.id}]
        for claim in back:
            self._ready.remove(claim)
        await self._batching.store.batch_lines.put_back(back, self._batching.clock(), counts=False)

    async def _keep(self) -> None:
        """Renew the leases."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            held = [*self._running.values(), *self._ready]
            with suppress(StoreUnavailable):
                await self._batching.store.batch_lines.renew(held, self._batching.clock(), LEASE_SECONDS)


async def outcome_of(
    batching: Batching, batch: StoredBatch, line: NewLine, caller: Caller, ask: Ask, *, retries: bool = True
) -> Outcome | ApiError:
    """Ask a line.

    Args:
        batching: What it works with.
        batch: Its batch.
        line: The line.
        caller: Whose it is.
        ask: How it is asked.
        retries: It may be asked again when the upstream fails.

    Returns:
        What is to be kept; or the failure, when the line is to be asked again.
    """
    result_id, request_id = line_id(batch.id, line.number), batching.new_id("req_")
    try:
        answer = await ask(await batching.body(batch, line.start, line.length), caller, request_id)
        usage = BatchUsage(*usage_of(decode(answer)))
    except StoreUnavailable:
        raise
    except ApiError as error:
        failure = error
    except Exception:  # noqa: BLE001 - whatever went wrong, the line must not be asked for ever
        _log.exception("a line of a batch failed by a defect of this proxy")
        failure = Internal()
    else:
        return "answered", answered_line(result_id, line.custom_id, 200, request_id, answer), usage
    theirs = failure.status >= 500 and not isinstance(failure, Internal)
    if rest_after(failure) is not None or (theirs and retries):
        return failure
    return "failed", failed_line(result_id, line.custom_id, request_id, failure), BatchUsage()


def rest_after(error: ApiError) -> float | None:
    """How long a batch rests after a failure that is not its line's: a limit, a budget, no capacity, no account.

    Returns:
        Seconds; ``None`` when the failure is the line's.
    """
    if isinstance(error, UpstreamRefused):
        # Whoever runs the proxy can mend it, and no line shall be lost until then.
        return MOST_REST
    if error.status not in _TOO_MUCH:
        return None
    if error.should_retry is False and error.retry_after is None and error.status == 429:
        spent = error.code == "insufficient_quota"
        # A request that alone is larger than a limit never gets through.
        return MOST_REST if spent else None
    return min(max(REST if error.retry_after is None else error.retry_after, LEAST_REST), MOST_REST)
