"""The limits of callers: what each may use, reserved before a request is sent and settled after it."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.caller import Caller
from app.core.cost import Cost
from app.core.limits import UNLIMITED_SPEC
from app.core.usage import Usage
from app.limits.admission import UNLIMITED, Estimate, Reservation
from app.limits.buckets import Buckets, Hold, Refused
from app.limits.spec import DEFAULT_RESERVATION, Plans, micro_neurons
from app.limits.told import headers, refusal


class CallerLimits:
    """Admits callers by their own limits.

    **The bound.** Requests and places are never over-admitted. Tokens and costs are reserved as estimated, and what
    turns out to be more is charged at the end, so that

    - with a limit of L tokens per window W, what the requests admitted in a time t use is at most L + L·t/W, plus what
      those of them that were still under way at the last admission use beyond their reservation, plus what requests
      from before that time had reserved and gave back within it;
    - with a budget B for a day or month, what the requests admitted in it cost is at most B, plus what those that were
      still under way at its last admission cost beyond their reservation. When a counter had to be opened within the
      window (after a restart, for one), then also what requests cost that were under way at that moment, and that
      the ledger did not know.

    Beyond its reservation a request uses nothing, where the client states a token limit and the prompt was not
    underestimated. Otherwise it is at most one answer less what was reserved: ``default_reservation`` output tokens,
    or as many as the smallest limit on tokens leaves; of a budget that holds less than these cost, what is left of it,
    after which nobody else is admitted until some of it is given back.

    Args:
        buckets: Where it is counted, by the callers' ids.
        default_reservation: Output tokens reserved for a request that states no limit.
    """

    def __init__(self, buckets: Buckets, *, default_reservation: int = DEFAULT_RESERVATION) -> None:
        self._buckets = buckets
        self._default = default_reservation
        self._plans = Plans()

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve one request, its tokens, its cost and a place among those under way: all of them, or nothing.

        Raises:
            RateLimited: A limit refuses it.
            QuotaExhausted: A budget does.
            Overloaded: Whether it may be admitted cannot be found out at the moment.
        """
        if caller.limits is UNLIMITED_SPEC:
            return UNLIMITED
        plan = self._plans(caller.limits)
        if plan.free:
            return UNLIMITED
        try:
            hold = await self._buckets.take(caller.id, plan, plan.charge(estimate, self._default))
        except Refused as refused:
            raise refusal(refused, caller, model) from None
        return _Reserved(hold)


class _Reserved:
    __slots__ = ("_hold",)

    def __init__(self, hold: Hold) -> None:
        self._hold = hold

    @property
    def headers(self) -> Mapping[str, str]:
        return headers(self._hold.standing)

    async def settle(self, usage: Usage | None, cost: Cost | None = None) -> None:
        self._hold.settle(
            0 if usage is None else usage.total_tokens,
            0 if cost is None else micro_neurons(cost.neurons),
        )
