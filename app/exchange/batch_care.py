"""The beginning and the end of batches: their input files are checked, and their results are written into files.

Both are held by a lease, and can be done again by another: the lines of a file are the same each time, and the files of
results have ids that were chosen when the batch was made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from app.core.caller import Caller
from app.core.errors import ApiError, Forbidden
from app.exchange.batch_lines import LEASE_SECONDS, POLL_SECONDS, RENEW_SECONDS, REVOKED, Batching
from app.exchange.waking import woken
from app.files.contract import BlobMissing, BlobWriter
from app.store.batching import BatchClaim, BatchStatus, LineResult, NewLine, StoredBatch
from app.store.contract import StoreUnavailable
from app.store.filing import StoredFile
from app.surfaces.batches.lines import Line, LineChecker, LineCutter
from app.surfaces.batches.shapes import line_id, problem, unsent_line
from app.surfaces.files.shapes import BATCH_OUTPUT, default_seconds

LINES_AT_ONCE: Final = 500
"""How many lines are kept in one transaction."""

LINES_BETWEEN_PAUSES: Final = 16

RESULTS_AT_ONCE: Final = 32
"""How many results are in memory at once; each can be as large as an answer."""

MAX_FILE_BYTES: Final = 200 * 1_000_000
"""The largest input file, as at OpenAI."""

_log = logging.getLogger(__name__)


class LostError(Exception):
    """Somebody else has the batch by now."""


class BatchCare:
    """Takes care of batches in one process, one at a time.

    Args:
        batching: What it works with.
        begun: Called when there are lines to be asked.
        packs: A line of an endpoint, with this body, can go to the upstream's own queue.
        max_lines: The most lines of a batch.
        max_line_bytes: The longest line.
    """

    def __init__(
        self,
        batching: Batching,
        begun: Callable[[], None],
        packs: Callable[[str, Mapping[str, Any]], bool],
        *,
        max_lines: int,
        max_line_bytes: int,
    ) -> None:
        self._batching = batching
        self._begun = begun
        self._packs = packs
        self._max_lines = max_lines
        self._max_line_bytes = max_line_bytes
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that there may be a batch to take care of."""
        self._wake.set()

    async def run(self) -> None:
        """Work for ever."""
        while True:
            self._wake.clear()
            if not await self._step():
                await woken(self._wake, POLL_SECONDS)

    async def _step(self) -> bool:
        """Take care of one batch, if one needs it."""
        batching = self._batching
        try:
            claim = await batching.store.batches.claim(batching.worker, batching.clock(), LEASE_SECONDS)
            if claim is None:
                return False
            await self._held(claim)
        except ApiError as error:
            # The store or the files are away. Its lease runs out, and it is done again.
            _log.warning("a batch could not be taken care of: %s", error.message)
            return False
        return True

    async def _held(self, claim: BatchClaim) -> None:
        """Take care of a batch for as long as it is held."""
        work = asyncio.create_task(self._care(claim))
        keeper = asyncio.create_task(self._keep(claim))
        try:
            await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            with suppress(StoreUnavailable):
                await self._batching.store.batches.release(claim)
            raise
        finally:
            keeper.cancel()
            work.cancel()
            ended, _ = await asyncio.gather(work, keeper, return_exceptions=True)
        if isinstance(ended, ApiError):
            raise ended

    async def _care(self, claim: BatchClaim) -> None:
        try:
            if claim.batch.status == "validating":
                await self._check(claim)
            else:
                await self._end(claim)
        except (ApiError, LostError):
            raise
        except Exception:  # noqa: BLE001 - one batch must not keep the others from being taken care of
            _log.exception("a batch could not be taken care of, by a defect of this proxy")

    async def _keep(self, claim: BatchClaim) -> None:
        """Renew the lease; return when it is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(StoreUnavailable):
                if not await self._batching.store.batches.renew(claim, self._batching.clock(), LEASE_SECONDS):
                    return

    async def _check(self, claim: BatchClaim) -> None:
        """Check the input file, and let its lines be asked or end the batch."""
        batching, batch = self._batching, claim.batch
        caller = batching.find(batch.caller)
        if caller is None:
            await self._reject(claim, 0, [REVOKED])
            return
        checker = LineChecker(batch.endpoint, lambda name: self._check_model(caller, name), self._max_lines)
        try:
            await self._read(claim, checker)
        except BlobMissing:
            message = "The batch's input file is gone."
            await self._reject(claim, 0, [problem("file_not_found", message, param="input_file_id")])
            return
        if checker.problems:
            await self._reject(claim, checker.total, checker.problems)
            return
        now = batching.clock()
        details = {**batch.details, "model": checker.model, "in_progress_at": now}
        if not await batching.store.batches.start(claim, now, total=checker.total, details=details):
            raise LostError
        self._begun()

    async def _read(self, claim: BatchClaim, checker: LineChecker) -> None:
        cutter = LineCutter(self._max_line_bytes)
        new: list[NewLine] = []
        size = 0

        async def check(lines: Sequence[Line]) -> None:
            for line in lines:
                if (good := checker.check(line)) is not None:
                    alone = not self._packs(claim.batch.endpoint, good.body)
                    new.append(NewLine(line.number, line.start, good.length, good.custom_id, alone))
                if line.number % LINES_BETWEEN_PAUSES == 0:
                    # Others shall not wait for a long file.
                    await asyncio.sleep(0)
            if len(new) >= LINES_AT_ONCE:
                await self._add(claim, new)

        async for piece in self._batching.blobs().read(claim.batch.input_file_id):
            size += len(piece)
            if size > MAX_FILE_BYTES:
                message = f"The batch input file is larger than {MAX_FILE_BYTES} bytes."
                checker.problems.append(problem("file_too_large", message, param="input_file_id"))
                return
            await check(cutter.feed(piece))
            if checker.hopeless:
                return
        await check(cutter.close())
        checker.finish()
        if not checker.problems:
            await self._add(claim, new)

    async def _add(self, claim: BatchClaim, new: list[NewLine]) -> None:
        if not await self._batching.store.batches.add_lines(claim, new):
            raise LostError
        new.clear()

    def _check_model(self, caller: Caller, name: str) -> None:
        model = self._batching.catalogue().resolve(name)
        if not caller.may_use(name, *model.names):
            raise Forbidden(f"This key does not have access to the model '{name[:64]}'.", code="model_not_found")

    async def _reject(self, claim: BatchClaim, total: int, problems: list[dict[str, Any]]) -> None:
        details = {**claim.batch.details, "errors": problems, "failed_at": self._batching.clock()}
        if not await self._batching.store.batches.reject(
            claim, total=total, details=details, purge_at=self._batching.memory.expiry()
        ):
            raise LostError

    async def _end(self, claim: BatchClaim) -> None:
        """Write the results of a batch, and end it."""
        batching = self._batching
        batch = await batching.store.batches.settle(claim, batching.clock())
        if batch is None:
            raise LostError
        status: BatchStatus = "completed"
        if batch.status == "cancelling":
            status = "cancelled"
        elif batch.details.get("expired"):
            status = "expired"
        output, errors = _Output(batching, batch, "output"), _Output(batching, batch, "error")
        try:
            if batch.details.get("in_progress_at") is not None:
                await self._write(batch, status, output, errors)
            made = [file for one in (output, errors) if (file := await one.finish()) is not None]
        finally:
            await output.abandon()
            await errors.abandon()
        details: Mapping[str, Any] = {
            **batch.details,
            "output_file_id": output.file_id,
            "error_file_id": errors.file_id,
            f"{status}_at": batching.clock(),
        }
        if not await batching.store.batches.finish(
            claim, status, files=made, details=details, purge_at=batching.memory.expiry()
        ):
            raise LostError

    async def _write(self, batch: StoredBatch, status: BatchStatus, output: _Output, errors: _Output) -> None:
        after = 0
        while results := await self._batching.store.batches.results(batch.id, after=after, limit=RESULTS_AT_ONCE):
            for one in results:
                await (output if one.state == "answered" else errors).write(_line(batch, one, status))
            after = results[-1].number


class _Output:
    """A file of results, which is there only if there are any."""

    def __init__(self, batching: Batching, batch: StoredBatch, kind: str) -> None:
        self._batching = batching
        self._batch = batch
        self._kind = kind
        self._writer: BlobWriter | None = None
        self._size = 0

    @property
    def file_id(self) -> str | None:
        """Its id; ``None`` while nothing is in it."""
        return self._batch.details["planned"][self._kind] if self._size else None

    async def write(self, line: bytes) -> None:
        """Add a line."""
        if self._writer is None:
            self._writer = await self._batching.blobs().writer(self._batch.details["planned"][self._kind])
        self._size += len(line) + 1
        await self._writer.write(line + b"\n")

    async def finish(self) -> StoredFile | None:
        """Have it there for good; ``None`` when nothing is in it."""
        if self._writer is None or self.file_id is None:
            return None
        await self._writer.finish()
        now = self._batching.clock()
        seconds = self._batch.details.get("output_seconds") or default_seconds(BATCH_OUTPUT)
        return StoredFile(
            self.file_id,
            self._batch.caller,
            now,
            BATCH_OUTPUT,
            self._size,
            f"{self._batch.id}_{self._kind}.jsonl",
            None if seconds is None else int(now) + seconds,
        )

    async def abandon(self) -> None:
        """Forget what is not finished."""
        if self._writer is not None:
            await self._writer.abandon()


def _line(batch: StoredBatch, one: LineResult, status: BatchStatus) -> bytes:
    if one.result is not None:
        return one.result
    return unsent_line(line_id(batch.id, one.number), one.custom_id, status)
