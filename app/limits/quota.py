"""The account's own quota of a day: better to know here that it is used up than to be told by the upstream."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Literal

from app.core.errors import QuotaExhausted
from app.core.limits import LimitSpec
from app.limits.admission import Estimate
from app.limits.buckets import Buckets, Hold, Refused
from app.limits.gcra import SECOND
from app.limits.spec import DEFAULT_RESERVATION, MICRO, Plan
from app.limits.window import DAY_SECONDS

FREE_NEURONS_PER_DAY: Final = 10_000
"""What Cloudflare gives to an account on the free plan, in a calendar day (UTC)."""

_EARLY: Final = 300
_ASK_AGAIN: Final = 60


class AccountQuota:
    """Admits requests to one account as long as the neurons of its day are enough for them.

    What is spent outside this proxy is not known; of that the upstream has to tell (``exhausted``).

    Args:
        buckets: Where neurons are counted. The owner is ``account:`` and the account's id; its budget begins with what
            all callers together have spent.
        account_id: Whose neurons they are.
        plan: The account's plan at Cloudflare: ``free`` has an allocation that nothing can pass.
        neurons_per_day: A budget besides, on any plan.
        default_reservation: Output tokens reserved for a request that states no limit.
        clock: Unix seconds.
    """

    def __init__(
        self,
        buckets: Buckets,
        account_id: str,
        *,
        plan: Literal["free", "paid"],
        neurons_per_day: float | None = None,
        default_reservation: int = DEFAULT_RESERVATION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._buckets = buckets
        self._owner = f"account:{account_id}"
        self._free = plan == "free" and (neurons_per_day is None or neurons_per_day >= FREE_NEURONS_PER_DAY)
        self._plan = Plan.of(LimitSpec(neurons_per_day=FREE_NEURONS_PER_DAY if self._free else neurons_per_day))
        self._default = default_reservation
        self._clock = clock
        self._exhausted_until = 0.0

    async def admit(self, estimate: Estimate) -> Hold | None:
        """Take from the day's neurons what a request may cost.

        Returns:
            What was taken, to be settled with what was spent; ``None`` where there is no quota.

        Raises:
            QuotaExhausted: It is more than what is left of the day; a cheaper model may still fit.
            Overloaded: Whether it is cannot be found out at the moment.
        """
        left = self._exhausted_until - self._clock()
        if left > 0:
            raise QuotaExhausted(
                "The Cloudflare account has used up today's free allocation of neurons. It is renewed at 00:00 UTC, "
                f"try again in {math.ceil(left)} seconds; the Workers Paid plan lifts the limit.",
                retry_after=float(math.ceil(left)),
            )
        if self._plan.free:
            return None
        try:
            return await self._buckets.take(self._owner, self._plan, self._plan.charge(estimate, self._default))
        except Refused as refused:
            raise self._refusal(refused) from None

    def exhausted(self) -> None:
        """The upstream has said that the account's allocation is used up: nothing is admitted before it is renewed."""
        now = self._clock()
        of_day = now % DAY_SECONDS
        # Clocks disagree: early in the day it may be yesterday's allocation that is meant, so it is asked again soon.
        self._exhausted_until = now + (_ASK_AGAIN if of_day < _EARLY else DAY_SECONDS - of_day)

    def _refusal(self, refused: Refused) -> QuotaExhausted:
        standing, charge = refused.standing, refused.charge
        budget = self._plan.budgets[0]
        what = "free allocation" if self._free else "budget, which all keys share,"
        what = f"The Cloudflare account's {what} of {budget.amount:,.10g} neurons a day"
        request = f"this request, which may cost {-(-charge.cost // MICRO):,}"
        advice = " A lower token limit costs less"
        advice += ", and the Workers Paid plan lifts the limit." if self._free else "."
        wait = standing.wait(charge)
        if wait is None:
            return QuotaExhausted(f"{what} is too small for {request}.{advice}")
        seconds = math.ceil(wait / SECOND)
        return QuotaExhausted(
            f"{what} has {standing.left(budget) // MICRO:,} left, too few for {request}. It is renewed at 00:00 UTC, "
            f"in {seconds} seconds.{advice}",
            retry_after=float(seconds),
        )
