"""What is used, collected for each request and given to the ledger about once a second.

What a process has collected and not yet given away is lost when it is killed: at most what it used since the last time,
which is about a second, or the whole outage of a database that was away. At an orderly end nothing is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from app.core.cost import Cost
from app.core.usage import Source, Usage
from app.exchange.usage import day_of, month_of
from app.limits.buckets import MICRO, Period
from app.limits.window import DAY_SECONDS
from app.store.accounts import UsageLedger, UsageRow
from app.store.contract import StoreUnavailable

FLUSH_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0
"""Between two tries while the store is away: each of them may wait for as long."""

MOST_ROWS: Final = 500
"""Of one transaction: others wait for it."""

MEMORY_DAYS: Final = 62
"""How long a process without a store remembers: this month and the last."""

LEAST_DAYS: Final = 32
"""How long usage is kept at least: what was used in the running month must be known to its last day."""

PURGED_AT_ONCE: Final = 500
PURGE_EVERY_SECONDS: Final = 3600.0
PURGE_PAUSE_SECONDS: Final = 0.2
"""Between two bounded deletes, so that they never hold up what people wait for."""

OPENING_SECONDS: Final = 2.0
"""How long a request waits to know what was spent before it."""

ACCOUNT: Final = "account:"
"""Begins the name of an owner that is everybody together."""

_log = logging.getLogger(__name__)


class _Key(NamedTuple):
    day: int
    caller: str
    model: str
    source: Source


class _Figures:
    """Adds up what is for one row."""

    __slots__ = ("cached", "completion", "neurons", "prompt", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.prompt = 0
        self.cached = 0
        self.completion = 0
        self.neurons = 0.0

    def add(self, other: _Figures) -> None:
        self.requests += other.requests
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        self.neurons += other.neurons


_Collected: TypeAlias = dict[_Key, _Figures]


class Accounting:
    """Collects usage by UTC day, caller, model and source.

    What the store cannot take at the moment is kept and added later. It is added up by row, so it is never more than
    there are callers times models times days.

    **What is counted twice.** The ledger adds all rows of a call or none, and figures are kept until it says that it
    has added them. When the connection is lost between a commit and the word of it, nobody can know, and what was in
    that one transaction (about a second's usage of this process, or what an outage collected, at most ``MOST_ROWS``
    rows) is added again: budgets then err to the side of less. Within one process nothing else is counted twice: a
    flush that was begun is never cut off.

    Args:
        ledger: The ledger, or ``None`` for a process that has no store: it then remembers by itself, since its start.
            While a store is being opened, this raises ``StoreUnavailable``.
    """

    def __init__(self, ledger: Callable[[], UsageLedger | None]) -> None:
        self._ledger = ledger
        self._collected: _Collected = {}
        self._turns = _Turns()
        self._flight: asyncio.Task[None] | None = None
        self._away = False

    def add(self, when: float, caller_id: str, model_id: str, usage: Usage, cost: Cost) -> None:
        """Count one request that reached a model.

        Args:
            when: Any time of the UTC day to which it belongs, in Unix seconds.
            caller_id: The caller's public id.
            model_id: Cloudflare's id of the model.
            usage: What it used.
            cost: What that cost; the row is as sure as this is.
        """
        key = _Key(int(when // DAY_SECONDS), caller_id, model_id, cost.source)
        figures = self._collected.get(key)
        if figures is None:
            figures = self._collected[key] = _Figures()
        figures.requests += 1
        figures.prompt += usage.prompt_tokens
        figures.cached += usage.cached_tokens or 0
        figures.completion += usage.completion_tokens
        figures.neurons += cost.neurons

    async def run(self) -> None:
        """Give the ledger what was collected, again and again, for ever."""
        while True:
            await asyncio.sleep(RETRY_SECONDS if self._away else FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Give the ledger what was collected, or join the flush that is under way. Never raises ``ApiError``."""
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._flush())
        # Who waits may be cancelled; a transaction that nobody sees the end of would be given a second time.
        await asyncio.shield(self._flight)

    async def aclose(self) -> None:
        """Give the ledger what is left. To be called when requests have ended and before the store is closed."""
        if self._flight is not None:
            await asyncio.wait([self._flight])
        await self.flush()
        if self._collected and self._away:
            requests = sum(figures.requests for figures in self._collected.values())
            _log.error("the usage of %d requests is lost: the store was away to the end", requests)

    async def rows(
        self, since: str, until: str, *, caller: str | None = None, model: str | None = None
    ) -> list[UsageRow]:
        """What was used on the days from ``since`` to ``until``, both included, to this moment, in no order.

        Of other replicas it knows what they have given to the ledger: all but about the last second.

        Raises:
            StoreUnavailable: The ledger does not answer.
        """

        def own() -> Iterator[UsageRow]:
            for key, figures in self._collected.items():
                row = _row(key, figures)
                if since <= row.day <= until and caller in {None, row.caller} and model in {None, row.model}:
                    yield row

        ledger = self._ledger()
        if ledger is None:
            return list(own())
        async with self._turns.reading():
            return [*await ledger.rows(since, until, caller=caller, model=model), *own()]

    async def neurons(self, since: str, *, caller: str | None = None) -> float:
        """All neurons since a day to this moment, of one caller or of all.

        Raises:
            StoreUnavailable: The ledger does not answer.
        """

        def own() -> float:
            return sum(
                figures.neurons
                for key, figures in self._collected.items()
                if caller in {None, key.caller} and _day(key) >= since
            )

        ledger = self._ledger()
        if ledger is None:
            return own()
        async with self._turns.reading():
            return await ledger.neurons(since, caller=caller) + own()

    async def _flush(self) -> None:
        try:
            ledger = self._ledger()
        except StoreUnavailable:
            return
        if ledger is None:
            self._forget()
            return
        if not self._collected:
            return
        async with self._turns.flushing():
            batch, self._collected = self._collected, {}
            try:
                while batch:
                    keys = list(islice(batch, MOST_ROWS))
                    await ledger.add([_row(key, batch[key]) for key in keys])
                    for key in keys:
                        del batch[key]
            except Exception as error:  # noqa: BLE001 - no failure of the store may end the counting
                self._went_away(error)
            else:
                self._came_back()
            for key, figures in batch.items():
                self._collected.setdefault(key, _Figures()).add(figures)

    def _forget(self) -> None:
        """Drop what is so old that nobody asks for it."""
        oldest = max((key.day for key in self._collected), default=0) - MEMORY_DAYS
        for key in [key for key in self._collected if key.day < oldest]:
            del self._collected[key]

    def _went_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            # What the store says of its own absence it has logged itself; anything else is a defect.
            defect = None if isinstance(error, StoreUnavailable) else error
            _log.error("usage cannot be added to the ledger; it is kept until it can be", exc_info=defect)

    def _came_back(self) -> None:
        if self._away:
            self._away = False
            _log.warning("usage is added to the ledger again, with what was kept")


class Openings:
    """What an owner of budgets has spent already, for buckets that begin anew.

    It counts what was settled, to this moment in this process and to about a second ago in other replicas; requests
    under way are not in it.

    Args:
        accounting: Knows it.
        clock: Unix seconds.
    """

    def __init__(self, accounting: Accounting, clock: Callable[[], float]) -> None:
        self._accounting = accounting
        self._clock = clock

    async def spent(self, owner: str, period: Period) -> int:
        """Micro-neurons since the running day or month (UTC) began.

        Without a store it is what this process has seen since its start.

        Args:
            owner: A caller's id, or ``account:`` with anything after it for all callers.
            period: Which.

        Raises:
            StoreUnavailable: The ledger does not answer, or not within ``OPENING_SECONDS``.
        """
        now = self._clock()
        caller = None if owner.startswith(ACCOUNT) else owner
        since = day_of(now) if period == "day" else month_of(now)
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                neurons = await self._accounting.neurons(since, caller=caller)
        except TimeoutError:
            raise StoreUnavailable("It cannot be found out at the moment how much of a budget is left.") from None
        return round(neurons * MICRO)


async def keep_usage_purged(ledger: UsageLedger, clock: Callable[[], float], days: int) -> None:
    """Forget usage of days that are long past, now and then, for ever.

    Args:
        ledger: Where it is.
        clock: Unix seconds.
        days: How many days are kept besides today; never fewer than ``LEAST_DAYS``.
    """
    seconds = max(days, LEAST_DAYS) * DAY_SECONDS
    while True:
        try:
            more = True
            while more:
                more = await ledger.purge(day_of(clock() - seconds), PURGED_AT_ONCE) >= PURGED_AT_ONCE
                await asyncio.sleep(PURGE_PAUSE_SECONDS)
        except StoreUnavailable as error:
            _log.warning("old usage could not be purged: %s", error.message)
        await asyncio.sleep(PURGE_EVERY_SECONDS)


class _Turns:
    """Any number of readings at a time, or one flush.

    What is being flushed is neither surely in the ledger nor surely not: a reading beside it would be wrong by that,
    and a budget that begins with it for all of the month. A flush that waits goes before readings that come later.
    """

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._readings = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with self._door:
            self._readings += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._readings -= 1
            if not self._readings:
                self._empty.set()

    @asynccontextmanager
    async def flushing(self) -> AsyncIterator[None]:
        async with self._door:
            await self._empty.wait()
            yield


def _day(key: _Key) -> str:
    return day_of(key.day * DAY_SECONDS)


def _row(key: _Key, figures: _Figures) -> UsageRow:
    return UsageRow(
        _day(key),
        key.caller,
        key.model,
        key.source,
        figures.requests,
        figures.prompt,
        figures.cached,
        figures.completion,
        figures.neurons,
    )
