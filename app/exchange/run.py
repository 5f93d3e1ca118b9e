"""One request with its answer, for a model that answers in one piece: embeddings, ranking, moderation, sound, pictures.

What an ``Exchange`` is to text generation, a ``Run`` is to everything else. Its steps:

1.  its route hands over the body, decoded or as bytes, and the caller (``app.api.running``);
2.  the surface reads it, the model's name is looked up, and the dialect must serve that model;
3.  the dialect writes one or several calls, each with an estimate of what it may use;
4.  the account's day and the caller's limits admit the sum of the estimates;
5.  the calls are made, ``MOST_AT_ONCE`` at a time; each is retried, and made on other accounts, by the rules of all
    requests (``app.exchange.asking``). The first that fails for good ends the others;
6.  the dialect reads the answers, with what was used; the surface writes the client's;
7.  however it ends, open calls are closed at once, what was reserved is settled, and one ``Outcome`` is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic

from msgspec import Struct

from app.core.caller import Caller
from app.core.cost import Cost, cost, rates
from app.core.errors import ApiError, NotFound
from app.core.model import Model
from app.core.outcome import Ending, Outcome
from app.core.task import A, Call, Given, R, TaskDialect, TaskReply, TaskRequest, TaskSurface
from app.core.usage import Usage, summed
from app.exchange.access import check_access
from app.exchange.asking import Asking
from app.exchange.bodies import decoded, refuse_changes
from app.exchange.gateway import passed_on
from app.exchange.leg import OVERFLOW
from app.exchange.record import CLIENT_LEFT, OK
from app.exchange.waits import Waits
from app.exchange.wiring import Wiring
from app.limits.admission import Estimate, Reservation
from app.limits.buckets import Hold
from app.limits.spec import micro_neurons

MOST_AT_ONCE: Final = 4
"""How many calls of one request are under way at once: one client must not fill the account's queue."""


class Service(Struct, Generic[R, A], frozen=True):
    """One endpoint: what its clients speak, and what is spoken to its models."""

    surface: TaskSurface[R, A]
    dialect: TaskDialect[R, A]


class Run:
    """One request with its answer. Use: ``answer`` once, ``more`` while its reply is still coming; always ``settle``.

    Args:
        wiring: What it works with.
        service: The endpoint.
        caller: Who asks.
        request_id: What the client sees as ``x-request-id``.
        asked: The headers of the client's request, names in lower case, for an AI Gateway.
    """

    def __init__(
        self,
        wiring: Wiring,
        service: Service[Any, Any],
        caller: Caller,
        request_id: str,
        *,
        asked: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._wiring = wiring
        self._surface = service.surface
        self._dialect = service.dialect
        self._caller = caller
        self.request_id = request_id
        self._asked = asked
        self._began = wiring.timer()
        self._now = wiring.clock()
        self._request: TaskRequest | None = None
        self._model: Model | None = None
        self._calls: Sequence[Call] = ()
        self._askings: Sequence[Asking] = ()
        self._reservation: Reservation | None = None
        self._account_hold: Hold | None = None
        self._usage: Usage | None = None
        self._answered_at: float | None = None
        self._waits = Waits(wiring.timer)
        self._own_seconds = 0.0
        self._reply: TaskReply | None = None
        self._passing = False
        self._error: ApiError | None = None
        self._status = CLIENT_LEFT
        self._left = False
        self._reported = False

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._wiring.timer() - self._began

    @property
    def ending(self) -> bool:
        """The answer is there, or the failure is; what is left is to send it."""
        return self._error is not None or (self._status == OK and not self._passing)

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says about how the request was served."""
        headers: dict[str, str] = {}
        if self._model is not None:
            headers["x-flarelay-model"] = self._model.id
        if self._askings:
            headers["x-flarelay-attempts"] = str(max(len(asking.statuses) for asking in self._askings))
            first = self._askings[0]
            if first.request_id:
                headers["x-flarelay-upstream-request-id"] = first.request_id
            headers.update(first.gateway)
        if dropped := self._dropped():
            headers["x-flarelay-dropped"] = ",".join(dropped)
        if adjusted := self._adjusted():
            headers["x-flarelay-adjusted"] = ",".join(adjusted)
        if self._reservation is not None:
            headers.update(self._reservation.headers)
        if self._status == OK and (spent := self._cost()):
            headers.update(spent.headers())
        return headers

    async def answer(self, body: bytes | Mapping[str, Any]) -> TaskReply:
        """Serve the request.

        Args:
            body: JSON as it came, or the mapping that was made of a form.

        Raises:
            ApiError: It cannot be served, or was not; nothing has been written to the client.
        """
        timer, waits = self._wiring.timer, self._waits
        began = timer()
        try:
            return await self._answer(body)
        finally:
            self._own_seconds = timer() - began - waits.seconds

    async def _answer(self, body: bytes | Mapping[str, Any]) -> TaskReply:
        request = self._request = self._surface.read(decoded(body) if isinstance(body, bytes) else body)
        model = self._model = self._resolve(request)
        self._calls = self._dialect.write(request, model)
        if self._wiring.strict:
            refuse_changes(self._dropped(), self._adjusted())
        await self._waits.of(self._admit(model))
        try:
            answers = await self._waits.of(self._ask(model))
        except ApiError as error:
            self._name_field(error)
            raise
        if len(answers) == 1:
            reply = self._written(request, model, answers)
        else:
            # Many answers can take long to write, and everybody else waits for the event loop.
            reply = await asyncio.to_thread(self._written, request, model, answers)
        self._answered_at = self.seconds
        self._status = OK
        self._reply = reply
        self._passing = reply.each is not None
        return reply

    def _written(self, request: TaskRequest, model: Model, answers: Sequence[Given]) -> TaskReply:
        understood = self._dialect.read(request, model, answers)
        self._usage = understood.usage
        return self._surface.answer(request, understood.result, model, self._wiring.new_id, self._now)

    async def more(self) -> bytes:
        """More of an answer that is still coming, as its reply writes it; empty at its end.

        Raises:
            ApiError: It broke off.
        """
        assert self._reply is not None  # noqa: S101 - answer() came before
        assert self._reply.each is not None  # noqa: S101 - there is more of it
        try:
            piece = await self._askings[0].more()
        except ApiError as error:
            self.break_off(error)
            raise
        self._passing = bool(piece)
        return self._reply.each(piece) if piece else b""

    def break_off(self, error: ApiError) -> None:
        """Note why an answer ends of which the client has seen the beginning."""
        self._error = error

    def fail(self, error: ApiError) -> None:
        """Note why it ended before there was an answer."""
        self._error = error
        self._status = error.status

    def leave(self) -> None:
        """Note that the client has left."""
        self._left = True

    async def settle(self) -> None:
        """Account for what was used, and report. Safe to call again; never raises ApiError."""
        if self._reported:
            return
        self._reported = True
        for asking in self._askings:
            await asking.aclose()
        usage, spent = self._used(), self._cost()
        if self._account_hold is not None:
            self._account_hold.settle(0, micro_neurons(spent.neurons) if spent is not None else 0)
        try:
            if self._reservation is not None:
                await self._reservation.settle(usage, spent)
        finally:
            self._wiring.report(self._outcome(usage, spent))

    def _resolve(self, request: TaskRequest) -> Model:
        """The model that is to answer.

        Raises:
            NotFound: There is none of that name, or it does something else.
            Forbidden: The caller may not use it.
        """
        catalogue, dialect = self._wiring.catalogue(), self._dialect
        try:
            model = catalogue.resolve(request.model, dialect.task)
        except NotFound:
            stand_in = self._surface.stand_in(request.model)
            if stand_in is None:
                raise
            model = catalogue.resolve(stand_in, dialect.task)
        check_access(self._caller, request.model, model)
        if not dialect.serves(model):
            raise NotFound(f"The model '{request.model}' does not {dialect.verb} ({model.task}).", param="model")
        return model

    async def _admit(self, model: Model) -> None:
        """Reserve what the calls may use.

        Raises:
            ApiError: It is not to be had.
        """
        wiring = self._wiring
        together = summed([call.estimate for call in self._calls])
        estimate = Estimate(
            together.prompt_tokens, together.completion_tokens, rates=rates(model), neurons=together.neurons
        )
        if wiring.quota is not None:
            self._account_hold = await wiring.quota.admit(estimate)
        self._reservation = await wiring.limits.admit(self._caller, model.id, estimate)

    async def _ask(self, model: Model) -> list[Given]:
        """Make all calls; the answers, in their order.

        Raises:
            ApiError: One of them has failed for good; the others are given up.
        """
        wiring = self._wiring
        headers: Mapping[str, str] = {}
        if self._asked is not None and wiring.upstream.through_gateway:
            headers = passed_on(self._asked, wiring.affinity_secret, self._caller)
        self._askings = [Asking(wiring, model, call, self._caller, headers) for call in self._calls]
        total = wiring.upstream.total_seconds
        deadline = None if total is None else asyncio.get_running_loop().time() + total
        if len(self._askings) == 1:
            return [await self._askings[0].ask(deadline)]
        places = asyncio.Semaphore(MOST_AT_ONCE)

        async def ask(asking: Asking) -> Given:
            async with places:
                return await asking.ask(deadline)

        tasks = [asyncio.create_task(ask(asking)) for asking in self._askings]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _name_field(self, error: ApiError) -> None:
        """Let the upstream's complaint name the client's field."""
        if error.code == OVERFLOW:
            error.param = self._surface.main_field
        elif error.param is not None and error.param != "model":
            head = error.param.partition(".")[0].partition("[")[0]
            error.param = self._dialect.fields.get(head)

    def _used(self) -> Usage | None:
        """What was used; ``None`` when the upstream never did anything for it."""
        if self._usage is not None:
            return self._usage
        used = [usage for asking in self._askings if (usage := asking.used) is not None]
        return summed(used) if used else None

    def _cost(self) -> Cost | None:
        usage, model = self._used(), self._model
        return None if usage is None or model is None else cost(usage, model)

    def _dropped(self) -> tuple[str, ...]:
        own = self._request.dropped if self._request is not None else ()
        return tuple(dict.fromkeys([*own, *(name for call in self._calls for name in call.request.dropped)]))

    def _adjusted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for call in self._calls for name in call.request.adjusted))

    def _ending(self) -> Ending:
        if self._left:
            return "disconnected"
        if self._error is not None:
            return "failed" if any(asking.statuses for asking in self._askings) else "refused"
        return "completed"

    def _outcome(self, usage: Usage | None, spent: Cost | None) -> Outcome:
        request, model = self._request, self._model
        error = None if self._left else self._error
        askings = self._askings
        statuses = tuple(status for asking in askings for status in asking.statuses)
        upstream_seconds = max((asking.upstream.seconds for asking in askings), default=0.0)
        queue_seconds = max((asking.queue.seconds for asking in askings), default=0.0)
        return Outcome(
            request_id=self.request_id,
            surface=self._surface.name,
            caller=self._caller.id,
            model=request.model if request is not None else None,
            upstream_model=model.id if model is not None else None,
            dialect=self._dialect.name if self._calls else None,
            stream=False,
            status=self._status,
            ending=self._ending(),
            finish_reason=None,
            error_code=(error.code or error.type) if error is not None else None,
            upstream_status=(error and error.upstream_status) or (statuses[-1] or None if statuses else None),
            upstream_code=error.upstream_code if error is not None else None,
            upstream_request_id=(error and error.upstream_request_id) or (askings[-1].request_id if askings else None),
            usage=usage,
            cost=spent,
            dropped=self._dropped(),
            adjusted=self._adjusted(),
            began=self._now,
            seconds=self.seconds,
            first_byte_seconds=self._answered_at,
            account=askings[-1].account if statuses else None,
            upstream_attempts=statuses,
            upstream_seconds=upstream_seconds,
            queue_seconds=queue_seconds,
            own_seconds=self._own_seconds,
        )
