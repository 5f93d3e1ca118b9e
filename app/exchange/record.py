"""What one exchange has come to: the headers of its answer are made of it, and the ``Outcome`` that is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from app.core.cost import Cost, cost, total
from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.model import Model
from app.core.outcome import Ending, Outcome
from app.core.request import GenerationRequest
from app.core.usage import Usage, summed
from app.exchange.leg import Leg
from app.exchange.waits import Waits
from app.limits.admission import Reservation

OK: Final = 200

CLIENT_LEFT: Final = 499
"""The status in the record of a request whose client left before it had one."""


class Spent(NamedTuple):
    """What an answer has taken.

    Attributes:
        usage: Tokens.
        cost: What they cost.
    """

    usage: Usage
    cost: Cost


class Record:
    """What one exchange has come to so far. The exchange writes its attributes.

    Args:
        timer: Monotonic seconds.
        request_id: What the client sees as ``x-request-id``.
        surface: What the client speaks.
        caller: The caller's public name.
        now: When the request arrived, in Unix seconds.

    Attributes:
        now: The same; of background work, when its answer was made.
        request: The request, once it is read.
        model: What is to answer it, once that is known.
        legs: The choices of the answer, once there are any.
        reservation: What was taken of the caller's limits.
        first_byte: Seconds to the first byte of the answer.
        error: Why the exchange ended before its answer did.
        status: The HTTP status that the client sees.
        left: The client has left.
        queued: It is left to a worker.
        waits: For the limits, and for what the request names elsewhere.
    """

    def __init__(self, timer: Callable[[], float], *, request_id: str, surface: str, caller: str, now: float) -> None:
        self._timer = timer
        self._began = timer()
        self._body_seconds = 0.0
        self._spent: Spent | None = None
        self._request_id = request_id
        self._surface = surface
        self._caller = caller
        self.now = now
        self.request: GenerationRequest | None = None
        self.model: Model | None = None
        self.legs: Sequence[Leg] = ()
        self.reservation: Reservation | None = None
        self.first_byte: float | None = None
        self.error: ApiError | None = None
        self.status = CLIENT_LEFT
        self.left = False
        self.queued = False
        self.waits = Waits(timer)

    @property
    def stream(self) -> bool:
        """The client wants a stream; known once the request is read."""
        return self.request is not None and self.request.stream

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._timer() - self._began

    @property
    def failure(self) -> ApiError | None:
        """Why the answer broke off: one failing choice fails them all."""
        for leg in self.legs:
            if leg.generation.error is not None:
                return leg.generation.error
        return None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields that could not be sent."""
        dropped = self.request.dropped if self.request is not None else ()
        return (*dropped, *self.legs[0].sent.dropped) if self.legs else dropped

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Fields whose value had to be changed."""
        return self.legs[0].sent.adjusted if self.legs else ()

    @property
    def generations(self) -> Sequence[Generation]:
        """What was generated, one for each choice."""
        return [leg.generation for leg in self.legs]

    def has_body(self) -> None:
        """The request's body is there."""
        self._body_seconds = self.seconds

    def spent(self) -> Spent | None:
        """What the answer has taken so far; ``None`` when the upstream was never asked."""
        if self._spent is not None:
            return self._spent
        heard = [(usage, leg.model) for leg in self.legs if (usage := leg.settled_usage()) is not None]
        if not heard:
            return None
        spent = Spent(summed([usage for usage, _ in heard]), total([cost(usage, model) for usage, model in heard]))
        if all(leg.ended for leg in self.legs):
            # Nothing of it changes any more.
            self._spent = spent
        return spent

    def headers(self) -> dict[str, str]:
        """What the answer says about how the request was served."""
        headers: dict[str, str] = {}
        if self.legs:
            # Each choice may have been served by another model.
            headers["x-flarelay-model"] = ",".join(dict.fromkeys(leg.model.id for leg in self.legs))
            headers["x-flarelay-attempts"] = str(max(leg.attempts for leg in self.legs))
            if self.legs[0].upstream_request_id:
                headers["x-flarelay-upstream-request-id"] = self.legs[0].upstream_request_id
            headers.update(self.legs[0].gateway)
        elif self.model is not None:
            headers["x-flarelay-model"] = self.model.id
        if dropped := self.dropped:
            headers["x-flarelay-dropped"] = ",".join(dropped)
        if adjusted := self.adjusted:
            headers["x-flarelay-adjusted"] = ",".join(adjusted)
        if self.reservation is not None:
            headers.update(self.reservation.headers)
        if not self.stream and self.status == OK and (spent := self.spent()):
            headers.update(spent.cost.headers())
        return headers

    def outcome(self, usage: Usage | None, cost: Cost | None) -> Outcome:
        """The record as it is reported in the end.

        Args:
            usage: What was used in the end.
            cost: What that cost.
        """
        request, model, legs = self.request, self.model, self.legs
        leg = legs[0] if legs else None
        # The reader calls an answer that nobody waited for truncated; it was the client's doing.
        error = None if self.left else self.error or self.failure
        upstream = queue = others = 0.0
        attempts: list[int] = []
        for choice in legs:
            # They are waited for side by side.
            upstream = max(upstream, choice.upstream_seconds)
            queue = max(queue, choice.queue_seconds)
            others = max(others, choice.waited_seconds)
            attempts.extend(choice.statuses)
        seconds = self.seconds
        return Outcome(
            request_id=self._request_id,
            surface=self._surface,
            caller=self._caller,
            model=request.model if request is not None else None,
            upstream_model=leg.model.id if leg is not None else model.id if model is not None else None,
            dialect=leg.dialect.name if leg is not None else None,
            stream=self.stream,
            status=self.status,
            ending=self._ending(),
            finish_reason=leg.generation.reason if leg is not None else None,
            error_code=(error.code or error.type) if error is not None else None,
            upstream_status=(error and error.upstream_status) or (leg.status if leg is not None else None),
            upstream_code=error.upstream_code if error is not None else None,
            upstream_request_id=(error and error.upstream_request_id) or (leg.upstream_request_id if leg else None),
            usage=usage,
            cost=cost,
            dropped=self.dropped,
            adjusted=self.adjusted,
            began=self.now,
            seconds=seconds,
            first_byte_seconds=self.first_byte,
            account=leg.account if leg is not None and leg.attempts else None,
            upstream_attempts=tuple(attempts),
            upstream_seconds=upstream,
            queue_seconds=queue,
            own_seconds=max(0.0, seconds - self._body_seconds - self.waits.seconds - others),
        )

    def _ending(self) -> Ending:
        if self.queued:
            return "queued"
        if self.left:
            return "disconnected"
        if self.error is not None:
            return "failed" if any(leg.attempts for leg in self.legs) else "refused"
        return "failed" if self.failure is not None else "completed"
