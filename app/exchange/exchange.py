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
from dataclasses import replace
from typing import Any

from app.cloudflare.documents import inline_files
from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest, NotFound
from app.core.events import Event, Started
from app.core.model import Model
from app.core.outcome import Ending, Outcome
from app.core.request import FileContent, GenerationRequest, ImageContent, Message
from app.core.surface import NO_PAST, BackgroundSurface, KeptWriter, Surface, Writer
from app.core.usage import Usage, summed
from app.exchange import affinity
from app.exchange.job import Job
from app.exchange.leg import Leg
from app.exchange.merge import Merge, open_all
from app.exchange.wiring import Wiring
from app.fetch.inline import inline_images
from app.limits.admission import Estimate, Reservation
from app.wire.codec import CodecError, decode

CLIENT_LEFT = 499
"""The status in the record of a request whose client left before it had one."""


class Exchange:
    """One request with its answer. Use: ``open``, then ``whole`` or ``first`` and ``more``; always ``settle``.

    Args:
        wiring: What it works with.
        surface: What the client speaks.
        caller: Who asks.
        request_id: What the client sees as ``x-request-id``.
        conversation: What the client calls the conversation in the upstream's own header, if it does.

    Attributes:
        final: The answer as it is kept; ``None`` until it has ended, and for surfaces that keep nothing.
    """

    def __init__(
        self, wiring: Wiring, surface: Surface, caller: Caller, request_id: str, conversation: str | None = None
    ) -> None:
        self._wiring = wiring
        self._surface = surface
        self._caller = caller
        self.request_id = request_id
        self._conversation = conversation
        self._began = wiring.timer()
        self._now = wiring.clock()
        self._first_byte: float | None = None
        self._past = NO_PAST
        self._new_id = wiring.new_id
        self._works = False
        self._queued = False
        self._request: GenerationRequest | None = None
        self._model: Model | None = None
        self._legs: list[Leg] = []
        self._merge: Merge | None = None
        self._reservation: Reservation | None = None
        self._writer: Writer | None = None
        self._error: ApiError | None = None
        self._status = CLIENT_LEFT
        self._left = False
        self._reported = False
        self.final: Mapping[str, Any] | None = None

    @property
    def stream(self) -> bool:
        """The client wants a stream; known once the request is read."""
        return self._request is not None and self._request.stream

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says about how the request was served; known once it was sent."""
        headers: dict[str, str] = {}
        if self._model is not None:
            headers["x-flarelay-model"] = self._model.id
        if self._legs and self._legs[0].upstream_request_id:
            headers["x-flarelay-upstream-request-id"] = self._legs[0].upstream_request_id
        if dropped := self._dropped():
            headers["x-flarelay-dropped"] = ",".join(dropped)
        if adjusted := self._adjusted():
            headers["x-flarelay-adjusted"] = ",".join(adjusted)
        if self._reservation is not None:
            headers.update(self._reservation.headers)
        return headers

    @property
    def seconds(self) -> float:
        """How long the exchange has taken so far."""
        return self._wiring.timer() - self._began

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
        body = _decoded(raw)
        self._past = await self._wiring.memory.recall(self._caller, self._surface.wants(body))
        request = self._request = self._surface.read(body, self._past)
        model = self._model = self._wiring.catalogue().resolve(request.model)
        if model.task != "Text Generation":
            raise NotFound(f"The model '{request.model}' does not generate text ({model.task}).", param="model")
        return request

    async def send(self) -> None:
        """Translate, admit and send the request that was read.

        Raises:
            ApiError: As for ``open``.
        """
        wiring = self._wiring
        request, model = self._request, self._model
        assert request is not None  # noqa: S101 - read() came before
        assert model is not None  # noqa: S101 - read() came before
        name = affinity.affinity(wiring.affinity_secret, self._caller, request, self._conversation)
        headers = {affinity.HEADER: name}
        made: dict[int, tuple[Message, ...]] = {}
        for branch in request.branches or (request,):
            # Choices of one answer share their conversation; what it names is fetched once.
            messages = made.get(id(branch.messages))
            if messages is None:
                messages = made[id(branch.messages)] = await self._inlined(branch.messages, model)
            limit = wiring.default_max_tokens if branch.max_tokens is None else branch.max_tokens
            if messages is not branch.messages or limit != branch.max_tokens:
                branch = replace(branch, messages=messages, max_tokens=limit)  # noqa: PLW2901
            self._legs.append(Leg(wiring, branch, model, headers, self._now))
        if wiring.strict:
            _refuse_changes(self._dropped(), self._adjusted())
        estimate = Estimate(
            sum(leg.prompt_tokens for leg in self._legs),
            sum(leg.sent.max_tokens or 0 for leg in self._legs),
            stated=request.max_tokens is not None or wiring.default_max_tokens is not None,
        )
        self._reservation = await wiring.limits.admit(self._caller, model.id, estimate)
        await open_all(self._legs)
        if len(self._legs) > 1:
            self._merge = Merge(self._legs)

    async def whole(self) -> dict[str, Any]:
        """Hear the whole answer and write it as one body.

        Raises:
            ApiError: It broke off, however much of it had come.
        """
        assert self._request is not None  # noqa: S101 - open() came before
        while not self._ended:
            await self._hear_more()
            self._first_byte = self._first_byte or self.seconds
        if error := self._failure():
            raise error
        generations = [leg.generation for leg in self._legs]
        seal = self._wiring.memory.sealer(self._caller)
        model, new_id = self._request.model, self._new_id
        body = self.final = self._surface.body(self._request, generations, model, new_id, self._now, seal)
        if self._keeps:
            await self._wiring.memory.keep(self._caller, self._request, self._past, body)
        self._status = 200
        return body

    async def first(self) -> bytes:
        """The first bytes of a streamed answer. Only after them may a status be sent.

        Raises:
            ApiError: The upstream failed before it had said anything.
        """
        assert self._request is not None  # noqa: S101 - open() came before
        seal = self._wiring.memory.sealer(self._caller)
        self._writer = self._surface.writer(self._request, self._request.model, self._new_id, self._now, seal)
        blocks: list[bytes] = []
        said = False
        while not said:
            choice, events = await self._hear_more()
            said = any(type(event) is not Started for event in events)
            if (error := self._failure()) and not any(leg.generation.parts for leg in self._legs):
                raise error
            blocks.append(await self._write(choice, events))
        self._first_byte = self.seconds
        self._status = 200
        return b"".join(blocks)

    async def more(self) -> bytes:
        """More bytes of a streamed answer, as soon as there are any; empty at the end. Failures are written too."""
        while not self._ended:
            choice, events = await self._hear_more()
            if block := await self._write(choice, events):
                return block
        return b""

    def fail(self, error: ApiError) -> None:
        """Note why the exchange ended before an answer began."""
        self._error = error
        self._status = error.status

    def skip(self) -> None:
        """Note that the request, which was read, is answered without its being sent."""
        self._status = 200

    def leave(self) -> None:
        """Note that the client has left."""
        self._left = True

    async def settle(self) -> None:
        """Close what is open, account for what was used, and report. Safe to call again; never raises ApiError."""
        if self._reported:
            return
        self._reported = True
        try:
            if self._merge is not None:
                await self._merge.aclose()
            finished = not self._left and self._failure() is None
            if len(self._legs) == 1:
                await self._legs[0].close(finished=finished)
            elif self._legs:
                await asyncio.gather(*(leg.close(finished=finished) for leg in self._legs))
        finally:
            usages = [usage for leg in self._legs if (usage := leg.settled_usage()) is not None]
            usage = summed(usages) if usages else None
            try:
                if self._reservation is not None:
                    await self._reservation.settle(usage)
            finally:
                self._wiring.report(self._outcome(usage))

    @property
    def background(self) -> bool:
        """The client does not wait for the answer; known once the request is read."""
        return self._keeps and self._request is not None and self._request.raw.get("background") is True

    async def enqueue(self, raw: bytes, surface: BackgroundSurface) -> dict[str, Any]:
        """Leave the request that was read to a worker; return the Response object of work that waits.

        Raises:
            StoreUnavailable: It could not be left.
        """
        request, memory = self._request, self._wiring.memory
        assert request is not None  # noqa: S101 - read() came before
        assert memory.store is not None  # noqa: S101 - without a store there is no background
        queued = surface.queued(request, self._new_id("resp_"), self._now)
        job = Job(raw.decode(), self._caller, self.request_id)
        response = memory.stored(self._caller, request, queued)
        await memory.store.work.enqueue(response, memory.inputs(request, self._past), job.encoded())
        self._status = 200
        self._queued = True
        return queued

    def work_on(self, response_id: str, created_at: float) -> None:
        """Be the worker's half of a background exchange: the answer has its id already, and is kept by the worker."""
        self._works = True
        self._now = created_at
        self._new_id = lambda prefix: response_id if prefix == "resp_" else self._wiring.new_id(prefix)

    @property
    def _keeps(self) -> bool:
        return self._request is not None and self._request.keep and not self._works

    async def _write(self, choice: int, events: Sequence[Event]) -> bytes:
        """Write events; the end of an answer that is kept is written only when it is."""
        writer = self._writer
        assert writer is not None  # noqa: S101 - first() came before
        feed = writer.feed
        if not (self._ended and (self._keeps or self._works)):
            return b"".join([feed(event, choice) for event in events])
        blocks = [feed(event, choice) for event in events[:-1]]
        end = feed(events[-1], choice)
        assert isinstance(writer, KeptWriter)  # noqa: S101 - no other surface asks for it
        self.final = writer.final
        if self._keeps and self.final is not None:
            assert self._request is not None  # noqa: S101 - it is being answered
            try:
                await self._wiring.memory.keep(self._caller, self._request, self._past, self.final)
            except ApiError as error:
                self._error = error
                # A failure that could not be kept is told all the same, as what it was.
                end = end if self._failure() is not None else writer.retract(error)
        return b"".join([*blocks, end])

    @property
    def _ended(self) -> bool:
        return self._merge.ended if self._merge is not None else self._legs[0].ended

    async def _hear_more(self) -> tuple[int, Sequence[Event]]:
        if self._merge is not None:
            return await self._merge.hear_more()
        return 0, await self._legs[0].hear_more()

    def _failure(self) -> ApiError | None:
        """Why the answer broke off: one failing choice fails them all."""
        for leg in self._legs:
            if leg.generation.error is not None:
                return leg.generation.error
        return None

    async def _inlined(self, messages: tuple[Message, ...], model: Model) -> tuple[Message, ...]:
        """The conversation with everything in it that it only names."""
        # For a model without eyes nothing is fetched: its dialect refuses images by name.
        if model.vision and _holds(messages, ImageContent):
            messages = await inline_images(messages, self._wiring.images)
        if _holds(messages, FileContent):
            messages = await inline_files(messages, self._wiring.upstream)
        return messages

    def _dropped(self) -> tuple[str, ...]:
        dropped = self._request.dropped if self._request is not None else ()
        return (*dropped, *self._legs[0].sent.dropped) if self._legs else dropped

    def _adjusted(self) -> tuple[str, ...]:
        return self._legs[0].sent.adjusted if self._legs else ()

    def _ending(self) -> Ending:
        if self._queued:
            return "queued"
        if self._left:
            return "disconnected"
        if self._error is not None:
            return "failed" if any(leg.status for leg in self._legs) else "refused"
        return "failed" if self._failure() is not None else "completed"

    def _outcome(self, usage: Usage | None) -> Outcome:
        request, model = self._request, self._model
        leg = self._legs[0] if self._legs else None
        # The reader calls an answer that nobody waited for truncated; it was the client's doing.
        error = None if self._left else self._error or self._failure()
        return Outcome(
            request_id=self.request_id,
            surface=self._surface.name,
            caller=self._caller.id,
            model=request.model if request is not None else None,
            upstream_model=model.id if model is not None else None,
            dialect=leg.dialect.name if leg is not None else None,
            stream=self.stream,
            status=self._status,
            ending=self._ending(),
            finish_reason=leg.generation.reason if leg is not None else None,
            error_code=(error.code or error.type) if error is not None else None,
            upstream_status=(error and error.upstream_status) or (leg.status if leg is not None else None),
            upstream_code=error.upstream_code if error is not None else None,
            upstream_request_id=(error and error.upstream_request_id) or (leg.upstream_request_id if leg else None),
            usage=usage,
            dropped=self._dropped(),
            adjusted=self._adjusted(),
            seconds=self.seconds,
            first_byte_seconds=self._first_byte,
        )


def _decoded(raw: bytes) -> Mapping[str, Any]:
    try:
        body = decode(raw)
    except CodecError:
        raise BadRequest(
            "We could not parse the JSON body of your request. (Hint: this is expected to be a JSON object, in UTF-8.)"
        ) from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request must be a JSON object.")
    return body


def _holds(messages: Sequence[Message], kind: type[ImageContent | FileContent]) -> bool:
    return any(type(part) is kind for message in messages if type(message.content) is tuple for part in message.content)


def _refuse_changes(dropped: Sequence[str], adjusted: Sequence[str]) -> None:
    if dropped:
        raise BadRequest(
            f"Unsupported parameter: '{dropped[0]}' is not supported with this model.",
            param=dropped[0],
            code="unsupported_parameter",
        )
    if adjusted:
        raise BadRequest(
            f"Unsupported value: '{adjusted[0]}' does not support this value with this model.",
            param=adjusted[0],
            code="unsupported_value",
        )
