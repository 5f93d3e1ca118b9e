"""Lines of batches in Cloudflare's own queue: packed, queued, asked after, and taken apart again.

Each line of a pack is an exchange like any other, with the limits, the records and the translation of every other: only
that what carries its bytes is the pack. It waits there until the queue has an answer for it. A pack is noted before it
is queued, and so is what the queue calls it: another process can fetch its answers when this one dies. What the queue
never answers is asked line by line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from app.cloudflare.client import CloudflareClient, Timeouts
from app.core.caller import Caller
from app.core.errors import ApiError, UpstreamBroken
from app.core.model import Model
from app.core.upstream import UpstreamRequest
from app.dialects.queued import MAX_BYTES, Finished, finished, item, request_id, submission
from app.exchange.asking_lines import Packable
from app.exchange.batch_lines import LEASE_SECONDS, POLL_SECONDS, RENEW_SECONDS, Batching, outcome_of, rest_after
from app.exchange.route import Account
from app.exchange.upstream import Upstream
from app.exchange.waking import woken
from app.store.batching import LineClaim, NewLine, Pack, PackedResult, StoredBatch
from app.store.contract import StoreUnavailable
from app.wire.codec import CodecError, decode, decode_leniently, encode

PACKS: Final = 4
"""How many packs of one process are in the queue at once."""

PACK_LINES: Final = 200
PROBE_LINES: Final = 1
"""The first pack to a model: its answers show whether answers can be matched with requests."""

FIRST_POLL_SECONDS: Final = 1.0
LAST_POLL_SECONDS: Final = 30.0
POLL_GROWTH: Final = 1.5

_WAIT_SECONDS: Final = 2 * 86_400.0
"""Longer than any batch lives."""

_ADDRESS: Final = "http://queue.invalid"

_log = logging.getLogger(__name__)


class _Slot(Struct):
    """One line in a pack.

    Attributes:
        line: The line.
        here: Its request has come to the pack.
        item: What is queued for it.
        answer: What came back.
        task: The exchange; gives what is to be kept, ``None`` for a line that is to be asked again.
    """

    line: NewLine
    here: asyncio.Event = field(default_factory=asyncio.Event)
    item: Mapping[str, Any] | None = None
    answer: asyncio.Future[Finished] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[PackedResult | ApiError] | None = None

    @property
    def name(self) -> str:
        """What it is called in the queue."""
        return str(self.line.number)


class _Carrier(httpx.AsyncBaseTransport):
    """Carries the request of one line into a pack, and its answer back."""

    def __init__(self, slot: _Slot, model: Model) -> None:
        self._slot = slot
        self._model = model

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for the pack's answer."""
        slot = self._slot
        # Whether a limit is to hold was looked at before the line came here.
        slot.item = item(self._model, decode(request.read()), limited=False)
        slot.here.set()
        given = await slot.answer
        status, body = (200, given.result) if given.failure is None else (400, given.failure)
        headers = {"content-type": "application/json"}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(encode(body)))


class PackWorkers:
    """Does packs in one process.

    Args:
        batching: What it works with.
        packables: The endpoints whose lines can be packed.
        accounts: Where packs can go; new ones go to the first.
    """

    def __init__(self, batching: Batching, packables: Mapping[str, Packable], accounts: Sequence[Account]) -> None:
        self._batching = batching
        self._packables = packables
        self._accounts = accounts
        self._proven: set[str] = set()
        self._useless: set[str] = set()
        self._places = asyncio.Semaphore(PACKS)
        self._running: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._resting = False

    def wake(self) -> None:
        """Say that there may be lines to be packed."""
        self._wake.set()

    def rest(self) -> None:
        """Begin nothing more, because this process ends."""
        self._resting = True

    def fits(self, endpoint: str, body: Mapping[str, Any]) -> bool:
        """A line with this body can be packed."""
        packable = self._packables.get(endpoint)
        return packable is not None and packable.fits(body)

    async def run(self) -> None:
        """Work for ever; on cancellation let others have the packs."""
        try:
            while True:
                await self._places.acquire()
                work = None if self._resting else await self._next()
                if work is None:
                    self._places.release()
                    self._wake.clear()
                    await woken(self._wake, POLL_SECONDS)
                    continue
                task = asyncio.create_task(work)
                self._running.add(task)
                task.add_done_callback(self._done)
        finally:
            tasks = list(self._running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its lease runs out, and somebody takes it up again.
            _log.warning("a pack of lines could not be done: %r", error)

    async def _next(self) -> Coroutine[None, None, None] | None:
        """A pack that somebody left, or lines for a new one."""
        batching = self._batching
        store, now = batching.store, batching.clock()
        try:
            pack = await store.batch_packs.claim(batching.worker, now, LEASE_SECONDS)
            if pack is not None:
                return self._take_over(pack)
            most = PACK_LINES if self._proven else PROBE_LINES
            claims = await store.batch_lines.claim(batching.worker, now, LEASE_SECONDS, most, together=True)
            return self._begin(claims) if claims else None
        except StoreUnavailable:
            return None

    async def _begin(self, claims: Sequence[LineClaim]) -> None:
        """Pack lines, and see the pack to its end."""
        batching, batch = self._batching, claims[0].batch
        caller, model = batching.find(batch.caller), self._model(batch)
        if caller is None:
            await batching.store.batch_lines.put_back(claims, batching.clock(), counts=False)
            await batching.stop(batch)
            return
        if model.id in self._useless:
            await batching.store.batch_lines.put_back(claims, batching.clock(), counts=False, alone=True)
            return
        claims = await self._measured(claims, 1 if model.id not in self._proven else len(claims))
        slots = {claim.line.number: self._slot(claim.line, batch, caller, model) for claim in claims}
        try:
            ready = [claim for claim in claims if await self._is_ready(claim, slots[claim.line.number])]
            if not ready:
                return
            now = batching.clock()
            pack = Pack(batching.new_id("pack_"), batch, self._accounts[0].name, now, batching.worker, 1)
            pack = await batching.store.batch_packs.create(pack, ready, now, LEASE_SECONDS)
            if pack.lines:
                await self._held(pack, [slots[line.number] for line in pack.lines], model, caller)
        finally:
            await _end(slots.values())

    async def _take_over(self, pack: Pack) -> None:
        """See a pack to its end that another process had queued."""
        caller, model = self._batching.find(pack.batch.caller), self._model(pack.batch)
        if caller is None or pack.request_id is None or self._account(pack) is None:
            # What was killed before the queue had answered may never have been queued.
            await self._batching.store.batch_packs.end(pack, alone=caller is not None)
            return
        slots = [self._slot(line, pack.batch, caller, model) for line in pack.lines]
        try:
            for slot in slots:
                await _settled(slot)
            await self._held(pack, slots, model, caller)
        finally:
            await _end(slots)

    async def _held(self, pack: Pack, slots: Sequence[_Slot], model: Model, caller: Caller) -> None:
        """Do a pack for as long as it is held."""
        work = asyncio.create_task(self._do(pack, slots, model, caller))
        keeper = asyncio.create_task(self._keep(pack))
        try:
            await asyncio.wait({work, keeper}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable):
                await self._batching.store.batch_packs.renew(pack, self._batching.clock(), 0.0)
            raise
        finally:
            work.cancel()
            keeper.cancel()
            ended, _ = await asyncio.gather(work, keeper, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _keep(self, pack: Pack) -> None:
        """Renew the lease; return when it is lost."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with suppress(StoreUnavailable):
                if not await self._batching.store.batch_packs.renew(pack, self._batching.clock(), LEASE_SECONDS):
                    return

    async def _do(self, pack: Pack, slots: Sequence[_Slot], model: Model, caller: Caller) -> None:
        """Queue a pack, unless it is queued, and fetch its answers."""
        packs, account = self._batching.store.batch_packs, self._account(pack)
        assert account is not None  # noqa: S101 - whoever began it has looked
        try:
            if pack.request_id is None:
                pack = await self._queue(pack, slots, model, caller, account)
            found = await self._fetch(pack, model, account)
        except ApiError as error:
            await self._given_up(pack, model, error)
            return
        self._judge(model, slots, found)
        results = []
        for slot in slots:
            if slot.name in found and slot.task is not None and not slot.task.done():
                slot.answer.set_result(found[slot.name])
                outcome = await slot.task
                if isinstance(outcome, PackedResult):
                    results.append(outcome)
        await packs.answer(pack, results)
        await packs.end(pack)

    async def _queue(self, pack: Pack, slots: Sequence[_Slot], model: Model, caller: Caller, account: Account) -> Pack:
        if account.guard is not None:
            await account.guard.enter(caller.id, model)
        items = {slot.name: slot.item for slot in slots if slot.item is not None}
        called = request_id(await self._post(model, account, submission(items)))
        if called is None:
            raise UpstreamBroken("Workers AI did not queue the requests.")
        await self._batching.store.batch_packs.queued(pack, called)
        return replace(pack, request_id=called)

    async def _fetch(self, pack: Pack, model: Model, account: Account) -> Mapping[str, Finished]:
        """Ask for the answers until they are there; failures of the moment are waited out.

        Raises:
            ApiError: The queue does not know the pack.
        """
        pause = FIRST_POLL_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * POLL_GROWTH, LAST_POLL_SECONDS)
            try:
                said = await self._post(model, account, {"request_id": pack.request_id})
            except ApiError as error:
                if error.status >= 500 or rest_after(error) is not None:
                    continue
                raise
            found = finished(said, [str(line.number) for line in pack.lines])
            if found is not None:
                return found

    async def _post(self, model: Model, account: Account, body: Mapping[str, Any]) -> object:
        request = UpstreamRequest(f"/run/{model.id}?queueRequest=true", body, stream=False)
        answer = await account.client.open(request)
        try:
            payload = decode_leniently(await answer.read_all())
        except CodecError:
            raise UpstreamBroken("Workers AI sent an answer that cannot be read.") from None
        finally:
            await answer.aclose()
        return payload.get("result") if isinstance(payload, dict) else None

    async def _given_up(self, pack: Pack, model: Model, error: ApiError) -> None:
        """A pack came to nothing: its lines are packed again later, or asked one by one."""
        rest = rest_after(error)
        if rest is None and error.status < 500:
            _log.warning("the queue of %s cannot be used: %s", model.id, error.code or error.status)
            self._useless.add(model.id)
        if rest is not None:
            await self._batching.store.batch_lines.rest(pack.batch.id, self._batching.clock() + rest)
        await self._batching.store.batch_packs.end(pack, alone=rest is None)

    def _judge(self, model: Model, slots: Sequence[_Slot], found: Mapping[str, Finished]) -> None:
        """Learn from a pack whether the model's queue is of use."""
        if not found or not all(one.named for one in found.values()):
            self._useless.add(model.id)
        elif all(slot.name in found for slot in slots):
            self._proven.add(model.id)

    async def _measured(self, claims: Sequence[LineClaim], most: int) -> Sequence[LineClaim]:
        """As many lines as a pack may hold; the others go back."""
        size, count = 0, 0
        for claim in claims[:most]:
            size += claim.line.length + len(claim.line.custom_id)
            if count and size > MAX_BYTES:
                break
            count += 1
        await self._batching.store.batch_lines.put_back(claims[count:], self._batching.clock(), counts=False)
        return claims[:count]

    def _slot(self, line: NewLine, batch: StoredBatch, caller: Caller, model: Model) -> _Slot:
        slot = _Slot(line)
        slot.task = asyncio.create_task(self._ask(slot, batch, caller, model))
        return slot

    async def _ask(self, slot: _Slot, batch: StoredBatch, caller: Caller, model: Model) -> PackedResult | ApiError:
        """The exchange of one line."""
        batching = self._batching
        upstream = Upstream(
            [Account("queue", _client(_Carrier(slot, model), batching.clock))], clock=batching.clock, roll=lambda: 0.0
        )
        ask = self._packables[batch.endpoint].through(upstream)
        outcome = await outcome_of(batching, batch, slot.line, caller, ask)
        if isinstance(outcome, ApiError):
            return outcome
        state, result, usage = outcome
        return PackedResult(slot.line.number, state, result, usage)

    async def _is_ready(self, claim: LineClaim, slot: _Slot) -> bool:
        """Wait until a line has come to its pack, or has ended before."""
        outcome = await _settled(slot)
        if outcome is None:
            return slot.item is not None
        lines, now = self._batching.store.batch_lines, self._batching.clock()
        if isinstance(outcome, PackedResult):
            await lines.answer(claim, outcome.state, outcome.result, outcome.usage)
            return False
        rest = rest_after(outcome)
        if rest is not None:
            await lines.rest(claim.batch.id, now + rest)
        await lines.put_back([claim], now, counts=False, alone=rest is None)
        return False

    def _model(self, batch: StoredBatch) -> Model:
        return self._batching.catalogue().resolve(batch.details["model"])

    def _account(self, pack: Pack) -> Account | None:
        return next((account for account in self._accounts if account.name == pack.account), None)


def _client(carrier: httpx.AsyncBaseTransport, clock: Callable[[], float]) -> CloudflareClient:
    timeouts = Timeouts(first_byte=_WAIT_SECONDS)
    return CloudflareClient(
        carrier, base_url=_ADDRESS, account_id="queue", token="", timeouts=timeouts, user_agent="", clock=clock
    )


async def _settled(slot: _Slot) -> PackedResult | ApiError | None:
    """Wait until a line has come to its pack; what became of it, if it ended before."""
    assert slot.task is not None  # noqa: S101 - every slot has one
    here = asyncio.create_task(slot.here.wait())
    try:
        await asyncio.wait({here, slot.task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        here.cancel()
    return slot.task.result() if slot.task.done() else None


async def _end(slots: Collection[_Slot]) -> None:
    """Give up the lines that have no answer."""
    tasks = [slot.task for slot in slots if slot.task is not None]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
