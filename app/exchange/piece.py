"""One background exchange, as a worker does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.core.caller import Caller
from app.core.errors import ApiError, Unauthorized
from app.core.surface import BackgroundSurface
from app.exchange.background import numbered
from app.exchange.exchange import Exchange
from app.exchange.job import Job
from app.exchange.wiring import Wiring
from app.store.contract import Claim, Frame, Store
from app.wire.codec import decode, encode


class BackgroundExchange:
    """Does one claimed request.

    Args:
        wiring: What it works with.
        surface: What its client speaks.
        claim: The work.
        find: The caller with an id, as it is now; ``None`` when its key is not accepted any more.
    """

    def __init__(
        self, wiring: Wiring, surface: BackgroundSurface, claim: Claim, find: Callable[[str], Caller | None]
    ) -> None:
        job = Job.decoded(claim.request)
        self._wiring = wiring
        self._surface = surface
        self._raw = job.body.encode()
        self._last_number = claim.last_sequence
        caller = find(job.caller_id)
        self._refused = caller is None
        self._exchange = Exchange(wiring, surface, caller or Caller(job.caller_id, job.caller_id), job.request_id)
        self._exchange.work_on(claim.response.id, claim.response.created_at)

    async def run(self, log: Callable[[list[Frame]], None]) -> None:
        """Do it.

        Raises:
            ApiError: It came to nothing.
        """
        exchange = self._exchange
        try:
            if self._refused:
                raise Unauthorized("The API key that asked for this response is not accepted any more.")
            await exchange.open(self._raw)
            if not exchange.stream:
                await exchange.whole()
                return
            block = await exchange.first()
            while block:
                frames = numbered(block)
                self._last_number = frames[-1][0] if frames else self._last_number
                log(frames)
                block = await exchange.more()
        except ApiError as error:
            exchange.fail(error)
            raise
        except asyncio.CancelledError:
            # Its client has cancelled it, or the process ends: either way nobody here waits for it any more.
            exchange.leave()
            raise
        finally:
            await exchange.settle()

    async def finish(self, store: Store, claim: Claim, frames: list[Frame]) -> None:
        """Put the answer into the store."""
        final = self._exchange.final
        assert final is not None  # noqa: S101 - run() has returned
        await store.work.finish(
            claim,
            status=final["status"],
            body=encode(final),
            now=self._wiring.clock(),
            completed_at=final["completed_at"],
            output_items=final["output"],
            events=frames,
        )

    async def give_up(self, store: Store, claim: Claim, error: ApiError, frames: list[Frame]) -> None:
        """Put a failure into the store."""
        final, block = self._surface.failed(decode(claim.response.body), error, self._last_number)
        events = [*frames, *numbered(block)] if self._exchange.stream else []
        await store.work.finish(claim, status="failed", body=encode(final), now=self._wiring.clock(), events=events)
