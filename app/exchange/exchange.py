"""One request with its answer, from the raw body to the record of how it ended.

The steps of an exchange:

1.  its route hands over the raw body, the surface and the caller (``app.api``);
2.  the body is decoded and read by the surface;
3.  the model's name is looked up in the catalogue;
4.  images and files that the conversation only names are fetched and put in their place;
5.  the dialect writes the upstream's request, one per choice of the answer;
6.  the limits admit it, with an estimate of what it may cost;
7.  the upstream is opened: a bad status ends the exchange here, with that status;
8.  every network read is cut into frames, frames become events, the generation hears them (``app.exchange.leg``);
9.  the first events are waited for, so that a failure before them is still an HTTP status;
10. the writer turns events into the client's bytes, or the folded generations into one body;
11. however it ends (whole, broken, or the client left), the upstream is closed at once;
12. the reservation is settled with what was really used;
13. and one ``Outcome`` is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from app.core.caller import Caller
from app.core.errors import ApiError, NotFound
from app.core.events import Event, Failed, Started
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, BackgroundSurface, KeptWriter, Surface, Writer
from app.exchange.access import check_access
from app.exchange.bodies import decoded, refuse_changes
from app.exchange.drafting import Drafting, upstream_headers
from app.exchange.job import Job
from app.exchange.merge import Merge, open_all
from app.exchange.record import OK, Record
from app.exchange.wiring import Wiring
from app.limits.buckets import Hold
from app.limits.spec import micro_neurons
from app.telemetry.spans import Trace


class Exchange:
    """One request with its answer. Use: ``open``, then ``whole`` or ``first`` and ``more``; always ``settle``.

    Args:
        wiring: What it works with.
        surface: What the client speaks.
        caller: Who asks.
        request_id: What the client sees as ``x-request-id``.
        conversation: What the client calls the conversation in the upstream's own header, if it does.
        comments: A stream of this answer may hold comment lines.
        asked: The headers of the client's request, names in lower case, for an AI Gateway.

    Attributes:
        final: The answer as it is kept; ``None`` until it has ended, and for surfaces that keep nothing.
    """

    def __init__(
        self,
        wiring: Wiring,
        surface: Surface,
        caller: Caller,
        request_id: str,
        conversation: str | None = None,
        *,
        comments: bool = True,
        asked: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._wiring = wiring
        self._surface = surface
        self._caller = caller
        self.request_id = request_id
        self._conversation = conversation
        self._comments = comments
        self._asked = asked
        self._record = Record(
            wiring.timer, request_id=request_id, surface=surface.name, caller=caller.id, now=wiring.clock()
        )
        self._past = NO_PAST
        self._new_id = wiring.new_id
        self._works = False
        self._merge: Merge | None = None
        self._account_hold: Hold | None = None
        self._trace: Trace | None = None
        self._writer: Writer | None = None
        self._reported = False
        self.final: Mapping[str, Any] | None = None

    @property
    def stream(self) -> bool:
        """The client wants a stream; known once the request is read."""
        return self._record.stream

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says about how the request was served; known once it was sent."""
        return self._record.headers()

    async def open(self, raw: bytes) -> None:
        """Read, translate, admit and send the request; the two halves of it are ``read`` and ``send``.

        Raises:
            ApiError: It cannot be served; nothing has been written to the client.
        """
        await self.read(raw)
        await self.send()

    async def read(self, raw: bytes) -> GenerationRequest:
        """Read the request, with what it only names.

        Raises:
            ApiError: It cannot be served.
        """
        self._record.has_body()
        body = decoded(raw)
        self._past = await self._wiring.memory.recall(self._caller, self._surface.wants(body))
        request = self._record.request = self._surface.read(body, self._past)
        model = self._record.model = self._wiring.catalogue().resolve(request.model)
        if model.task != "Text Generation":
            raise NotFound(f"The model '{request.model}' does not generate text ({model.task}).", param="model")
        check_access(self._caller, request.model, model)
        return request

    async def send(self) -> None:
        """Translate, admit and send the request that was read.

        Raises:
            ApiError: As for ``open``.
        """
        wiring, record = self._wiring, self._record
        request, model = record.request, record.model
        assert request is not None  # noqa: S101 - read() came before
        assert model is not None  # noqa: S101 - read() came before
        headers = upstream_headers(wiring, self._caller, request, self._conversation, self._asked)
        if wiring.tracing is not None:
            self._trace = wiring.tracing.begin(self._surface.name, request, model)
            headers.update(self._trace.headers)
        drafting = Drafting(wiring, self._caller, request, headers, record.now)
        draft, self._account_hold = await record.waits.of(drafting.affordable(model))
        record.model, record.legs = draft.model, draft.legs
        if wiring.strict:
            refuse_changes(record.dropped, record.adjusted)
        admission = wiring.limits.admit(self._caller, draft.model.id, draft.estimate)
        record.reservation = await record.waits.of(admission)
        await open_all(draft.legs)
        if len(draft.legs) > 1:
            self._merge = Merge(draft.legs)

    async def whole(self) -> dict[str, Any]:
        """Hear the whole answer and write it as one body.

        Raises:
            ApiError: It broke off, however much of it had come.
        """
        record = self._record
        request = record.request
        assert request is not None  # noqa: S101 - open() came before
        while not self._ended:
            await self._hear_more()
            record.first_byte = record.first_byte or record.seconds
        if error := record.failure:
            raise error
        seal = self._wiring.memory.sealer(self._caller)
        body = self._surface.body(request, record.generations, request.model, self._new_id, record.now, seal)
        self.final = body
        if self._keeps:
            await self._wiring.memory.keep(self._caller, request, self._past, body)
        record.status = OK
        return body

    async def first(self) -> bytes:
        """The first bytes of a streamed answer. Only after them may a status be sent.

        Raises:
            ApiError: The upstream failed before it had said anything.
        """
        record = self._record
        request = record.request
        assert request is not None  # noqa: S101 - open() came before
        seal = self._wiring.memory.sealer(self._caller)
        self._writer = self._surface.writer(request, request.model, self._new_id, record.now, seal)
        blocks: list[bytes] = []
        said = False
        while not said:
            choice, events = await self._hear_more()
            said = any(type(event) is not Started for event in events)
            if (error := record.failure) and not any(leg.generation.parts for leg in record.legs):
                raise error
            blocks.append(await self._write(choice, events))
        record.first_byte = record.seconds
        record.status = OK
        return b"".join(blocks)

    async def more(self) -> bytes:
        """More bytes of a streamed answer, as soon as there are any; empty at the end. Failures are written too."""
        while not self._ended:
            choice, events = await self._hear_more()
            if block := await self._write(choice, events):
                return block
        return b""

    @property
    def ending(self) -> bool:
        """The answer has come to its end; what is left is to keep it, to send it or to leave it to a worker."""
        return self._record.error is not None or self._record.queued or bool(self._record.legs and self._ended)

    @property
    def begun(self) -> bool:
        """The first bytes of a streamed answer exist."""
        return self._writer is not None and self._record.first_byte is not None

    async def break_off(self, error: ApiError) -> bytes:
        """End a streamed answer, after its first bytes and before its end, whose task was stopped; its last bytes."""
        if self._merge is None:
            return await self._write(0, self._record.legs[0].break_off(error))
        # What the other choices have said meanwhile is not known here; one failing choice fails them all.
        self._record.error = error
        assert self._writer is not None  # noqa: S101 - first() came before
        return self._writer.feed(Failed(error), 0)

    def fail(self, error: ApiError) -> None:
        """Note why the exchange ended before an answer began."""
        self._record.error = error
        self._record.status = error.status

    def skip(self) -> None:
        """Note that the request, which was read, is answered without its being sent."""
        self._record.status = OK

    def leave(self) -> None:
        """Note that the client has left."""
        self._record.left = True

    async def settle(self) -> None:
        """Close what is open, account for what was used, and report. Safe to call again; never raises ApiError."""
        if self._reported:
            return
        self._reported = True
        record = self._record
        legs = record.legs
        try:
            if self._merge is not None:
                await self._merge.aclose()
            finished = not record.left and record.failure is None
            if len(legs) == 1:
                await legs[0].close(finished=finished)
            elif legs:
                await asyncio.gather(*(leg.close(finished=finished) for leg in legs))
        finally:
            usage, cost = record.spent() or (None, None)
            if self._account_hold is not None:
                self._account_hold.settle(0, micro_neurons(cost.neurons) if cost is not None else 0)
            try:
                if record.reservation is not None:
                    await record.reservation.settle(usage, cost)
            finally:
                outcome = record.outcome(usage, cost)
                self._wiring.report(outcome)
                if self._trace is not None:
                    self._trace.end(outcome, record.generations)

    @property
    def background(self) -> bool:
        """The client does not wait for the answer; known once the request is read."""
        request = self._record.request
        return self._keeps and request is not None and request.raw.get("background") is True

    async def enqueue(self, raw: bytes, surface: BackgroundSurface) -> dict[str, Any]:
        """Leave the request that was read to a worker; return the Response object of work that waits.

        Raises:
            StoreUnavailable: It could not be left.
        """
        request, memory = self._record.request, self._wiring.memory
        assert request is not None  # noqa: S101 - read() came before
        assert memory.store is not None  # noqa: S101 - without a store there is no background
        queued = surface.queued(request, self._new_id("resp_"), self._record.now)
        job = Job(raw.decode(), self._caller.id, self.request_id)
        response = memory.stored(self._caller, request, queued)
        await memory.store.work.enqueue(response, memory.inputs(request, self._past), job.encoded())
        self._record.status = OK
        self._record.queued = True
        return queued

    def work_on(self, response_id: str, created_at: float) -> None:
        """Be the worker's half of a background exchange: the answer has its id already, and is kept by the worker."""
        self._works = True
        self._comments = False
        self._record.now = created_at
        self._new_id = lambda prefix: response_id if prefix == "resp_" else self._wiring.new_id(prefix)

    @property
    def _keeps(self) -> bool:
        request = self._record.request
        return request is not None and request.keep and not self._works

    async def _write(self, choice: int, events: Sequence[Event]) -> bytes:
        """Write events; the end of an answer that is kept is written only when it is."""
        writer = self._writer
        assert writer is not None  # noqa: S101 - first() came before
        feed = writer.feed
        if not self._ended:
            return b"".join([feed(event, choice) for event in events])
        blocks = [feed(event, choice) for event in events[:-1]]
        end = feed(events[-1], choice)
        if self._comments and (spent := self._record.spent()):
            blocks.append(spent.cost.comment())
        if not (self._keeps or self._works):
            return b"".join([*blocks, end])
        # No other surface asks for it. Not asserted: of a protocol that takes longer than to keep an answer.
        kept = cast("KeptWriter", writer)
        self.final = kept.final
        if self._keeps and self.final is not None:
            assert self._record.request is not None  # noqa: S101 - it is being answered
            try:
                await self._wiring.memory.keep(self._caller, self._record.request, self._past, self.final)
            except ApiError as error:
                self._record.error = error
                # A failure that could not be kept is told all the same, as what it was.
                end = end if self._record.failure is not None else kept.retract(error)
        return b"".join([*blocks, end])

    @property
    def _ended(self) -> bool:
        return self._merge.ended if self._merge is not None else self._record.legs[0].ended

    async def _hear_more(self) -> tuple[int, Sequence[Event]]:
        if self._merge is not None:
            return await self._merge.hear_more()
        return 0, await self._record.legs[0].hear_more()
