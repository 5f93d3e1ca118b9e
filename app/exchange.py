"""One request with its answer: the only place where translation and I/O meet.

The steps of an exchange:

1.  its route hands over the raw body, the surface and the caller (``app.api``);
2.  the body is decoded and read by the surface;
3.  the model's name is looked up in the catalogue;
4.  the dialect writes the upstream's request;
5.  the limits admit it, with an estimate of what it may cost;
6.  the upstream is opened: a bad status ends the exchange here, with that status;
7.  every network read is cut into frames, frames become events, the generation hears them;
8.  the first events are waited for, so that a failure before them is still an HTTP status;
9.  the writer turns events into the client's bytes, or the folded generation into one body;
10. however it ends (whole, broken, or the client left), the upstream is closed at once,
11. the reservation is settled with what was really used,
12. and one ``Outcome`` is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.catalog.catalogue import Catalogue
from app.cloudflare.client import Answer, CloudflareClient
from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest, NotFound, UpstreamBroken
from app.core.events import Event, Failed, Finished, Started
from app.core.generation import Generation
from app.core.model import Model
from app.core.outcome import Ending, Outcome
from app.core.request import GenerationRequest
from app.core.surface import NewId, Surface, Writer
from app.core.upstream import Dialect, Reader, UpstreamRequest
from app.core.usage import Usage
from app.dialects.messages import estimate_messages
from app.limits.admission import Estimate, Limits, Reservation
from app.wire.codec import CodecError, decode
from app.wire.sse import Framer, FrameTooLargeError

CLIENT_LEFT = 499
"""The status in the record of a request whose client left before it had one."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every exchange needs; made once, at the start.

    Attributes:
        upstream: The connection to Workers AI.
        catalogue: The catalogue as it is now.
        dialects: By name.
        limits: Who may send what.
        report: Takes the record of every exchange.
        new_id: Makes ids.
        clock: Unix seconds.
        timer: Monotonic seconds.
        default_max_tokens: The token limit of requests that state none; ``None`` for what the model's window leaves.
        strict: Refuse what could be served only with a field dropped or changed.
    """

    upstream: CloudflareClient
    catalogue: Callable[[], Catalogue]
    dialects: Mapping[str, Dialect]
    limits: Limits
    report: Callable[[Outcome], None]
    new_id: NewId
    clock: Callable[[], float]
    timer: Callable[[], float]
    default_max_tokens: int | None = None
    strict: bool = False


class Exchange:
    """One request with its answer. Use: ``open``, then ``whole`` or ``first`` and ``more``; always ``settle``.

    Args:
        wiring: What it works with.
        surface: What the client speaks.
        caller: Who asks.
        request_id: What the client sees as ``x-request-id``.
    """

    def __init__(self, wiring: Wiring, surface: Surface, caller: Caller, request_id: str) -> None:
        self._wiring = wiring
        self._surface = surface
        self._caller = caller
        self.request_id = request_id
        self._began = wiring.timer()
        self._now = wiring.clock()
        self._first_byte: float | None = None
        self._request: GenerationRequest | None = None
        self._model: Model | None = None
        self._dialect: Dialect | None = None
        self._sent: UpstreamRequest | None = None
        self._prompt_tokens = 0
        self._reservation: Reservation | None = None
        self._answer: Answer | None = None
        self._upstream_request_id: str | None = None
        self._upstream_status: int | None = None
        self._reader: Reader | None = None
        self._framer: Framer | None = None
        self._writer: Writer | None = None
        self._generation = Generation()
        self._error: ApiError | None = None
        self._status = CLIENT_LEFT
        self._left = False
        self._reported = False

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
        if self._upstream_request_id:
            headers["x-flarelay-upstream-request-id"] = self._upstream_request_id
        if dropped := self._dropped():
            headers["x-flarelay-dropped"] = ",".join(dropped)
        if self._sent is not None and self._sent.adjusted:
            headers["x-flarelay-adjusted"] = ",".join(self._sent.adjusted)
        return headers

    @property
    def seconds(self) -> float:
        """How long the exchange has taken so far."""
        return self._wiring.timer() - self._began

    async def open(self, raw: bytes) -> None:
        """Read, translate, admit and send the request.

        Raises:
            ApiError: It cannot be served; nothing has been written to the client.
        """
        wiring = self._wiring
        request = self._surface.read(_decoded(raw))
        if request.max_tokens is None and wiring.default_max_tokens is not None:
            request = replace(request, max_tokens=wiring.default_max_tokens)
        self._request = request
        model = self._model = wiring.catalogue().resolve(request.model)
        if model.task != "Text Generation":
            raise NotFound(f"The model '{request.model}' does not generate text ({model.task}).", param="model")
        dialect = self._dialect = wiring.dialects[model.dialect]
        sent = self._sent = dialect.write(request, model, stream=True)
        if wiring.strict:
            _refuse_changes(self._dropped(), sent.adjusted)
        self._prompt_tokens = estimate_messages(request.messages)
        estimate = Estimate(self._prompt_tokens, sent.max_tokens or 0)
        self._reservation = await wiring.limits.admit(self._caller, model.id, estimate)
        await self._ask(sent)

    async def whole(self) -> dict[str, Any]:
        """Hear the whole answer and write it as one body.

        Raises:
            ApiError: It broke off, however much of it had come.
        """
        while not self._generation.ended:
            self._first_byte = self._first_byte or self.seconds
            await self._hear_more()
        if self._generation.error is not None:
            raise self._generation.error
        assert self._request is not None  # noqa: S101 - open() came before
        body = self._surface.body(
            self._request, (self._generation,), self._request.model, self._wiring.new_id, self._now
        )
        self._status = 200
        return body

    async def first(self) -> bytes:
        """The first bytes of a streamed answer. Only after them may a status be sent.

        Raises:
            ApiError: The upstream failed before it had said anything.
        """
        assert self._request is not None  # noqa: S101 - open() came before
        self._writer = self._surface.writer(self._request, self._request.model, self._wiring.new_id, self._now)
        events: list[Event] = []
        while all(type(event) is Started for event in events):
            events.extend(await self._hear_more())
            if self._generation.error is not None and not self._generation.parts:
                raise self._generation.error
        self._first_byte = self.seconds
        self._status = 200
        return b"".join(map(self._writer.feed, events))

    async def more(self) -> bytes:
        """More bytes of a streamed answer, as soon as there are any; empty at the end. Failures are written too."""
        assert self._writer is not None  # noqa: S101 - first() came before
        while not self._generation.ended:
            if block := b"".join(map(self._writer.feed, await self._hear_more())):
                return block
        return b""

    def fail(self, error: ApiError) -> None:
        """Note why the exchange ended before an answer began."""
        self._error = error
        self._status = error.status

    def leave(self) -> None:
        """Note that the client has left."""
        self._left = True

    async def settle(self) -> None:
        """Close what is open, account for what was used, and report. Safe to call again; never raises ApiError."""
        if self._reported:
            return
        self._reported = True
        try:
            if self._answer is not None:
                await (self._answer.finish() if self._generation.reason is not None else self._answer.aclose())
        finally:
            usage = self._settled_usage()
            try:
                if self._reservation is not None:
                    await self._reservation.settle(usage)
            finally:
                self._wiring.report(self._outcome(usage))

    async def _ask(self, sent: UpstreamRequest) -> None:
        assert self._dialect is not None  # noqa: S101 - set by open()
        assert self._model is not None  # noqa: S101 - set by open()
        answer = self._answer = await self._wiring.upstream.open(sent)
        self._upstream_request_id = answer.request_id
        self._upstream_status = answer.status
        self._reader = self._dialect.reader(sent, self._model, self._now)
        self._framer = Framer() if answer.content_type == "text/event-stream" else None

    async def _hear_more(self) -> Sequence[Event]:
        """Wait for the next events; at least the terminal one comes in the end."""
        assert self._answer is not None  # noqa: S101 - set by open()
        assert self._reader is not None  # noqa: S101 - set by open()
        if self._framer is None:
            return await self._hear_body()
        try:
            block = await self._answer.read()
            frames = self._framer.feed(block) if block else self._framer.close()
        except FrameTooLargeError:
            return self._hear(self._broken_off(UpstreamBroken("Workers AI sent a frame that is too large to read.")))
        except ApiError as error:
            return self._hear(self._broken_off(error))
        feed = self._reader.feed
        events = [event for frame in frames for event in feed(frame)]
        if not block:
            events.extend(self._reader.close())
        return self._hear(events)

    async def _hear_body(self) -> Sequence[Event]:
        """Hear an unstreamed answer, which the upstream may also give to a request for a stream."""
        assert self._answer is not None  # noqa: S101 - set by open()
        assert self._reader is not None  # noqa: S101 - set by open()
        assert self._sent is not None  # noqa: S101 - set by open()
        events = self._reader.read(await self._answer.read_all())
        if self._sent.stream and _is_empty(events):
            # Some models answer a request for a stream with an empty JSON result: they must be asked without.
            await self._answer.aclose()
            assert self._dialect is not None and self._request is not None and self._model is not None  # noqa: S101, PT018
            self._sent = self._dialect.write(self._request, self._model, stream=False)
            await self._ask(self._sent)
            return await self._hear_more()
        return self._hear(events)

    def _broken_off(self, error: ApiError) -> Sequence[Event]:
        """The reader's closing events, with the real reason in place of its own."""
        assert self._reader is not None  # noqa: S101 - set by open()
        events = list(self._reader.close())
        if not self._generation.started and not any(type(event) is Started for event in events):
            events.insert(0, Started())
        return [replace(event, error=error) if type(event) is Failed else event for event in events]

    def _hear(self, events: Sequence[Event]) -> Sequence[Event]:
        hear = self._generation.hear
        for event in events:
            hear(event)
        if self._generation.reason is not None and self._generation.usage is None:
            usage = self._generation.usage = self._generation.settled_usage(self._prompt_tokens)
            return [replace(event, usage=usage) if type(event) is Finished else event for event in events]
        return events

    def _settled_usage(self) -> Usage | None:
        if self._reader is not None and not self._generation.ended:
            # The client left: what had been produced until then is what it is charged for.
            for event in self._reader.close():
                self._generation.hear(event)
        if self._answer is None:
            return None
        return self._generation.settled_usage(self._prompt_tokens)

    def _dropped(self) -> tuple[str, ...]:
        dropped = self._request.dropped if self._request is not None else ()
        return (*dropped, *self._sent.dropped) if self._sent is not None else dropped

    def _ending(self) -> Ending:
        if self._left:
            return "disconnected"
        if self._error is not None:
            return "refused" if self._answer is None else "failed"
        return "failed" if self._generation.error is not None else "completed"

    def _outcome(self, usage: Usage | None) -> Outcome:
        request, model, dialect = self._request, self._model, self._dialect
        # The reader calls an answer that nobody waited for truncated; it was the client's doing.
        error = None if self._left else self._error or self._generation.error
        return Outcome(
            request_id=self.request_id,
            surface=self._surface.name,
            caller=self._caller.id,
            model=request.model if request is not None else None,
            upstream_model=model.id if model is not None else None,
            dialect=dialect.name if dialect is not None else None,
            stream=self.stream,
            status=self._status,
            ending=self._ending(),
            finish_reason=self._generation.reason,
            error_code=(error.code or error.type) if error is not None else None,
            upstream_status=self._upstream_status or (error.upstream_status if error is not None else None),
            upstream_code=error.upstream_code if error is not None else None,
            upstream_request_id=self._upstream_request_id or (error.upstream_request_id if error else None),
            usage=usage,
            dropped=self._dropped(),
            adjusted=self._sent.adjusted if self._sent is not None else (),
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


def _is_empty(events: Sequence[Event]) -> bool:
    last = events[-1]
    return isinstance(last, Failed) and last.error.code == "upstream_empty"


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
