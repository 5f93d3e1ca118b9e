"""How an owner stands with its limits, and what that means for a request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from app.limits.gcra import SECOND, decide
from app.limits.spec import Budget, Charge, Dimension, Plan
from app.limits.window import Window, window

SLOT_WAIT: Final = SECOND
"""When to ask again for a place among the requests under way: nobody knows when one ends."""


class Spent(NamedTuple):
    """What was spent of one budget.

    Attributes:
        window: When its day or month began, in Unix seconds.
        cost: What was spent or is reserved in it, in micro-neurons.
    """

    window: int
    cost: int


class Refusal(NamedTuple):
    """What refuses a charge, and for how long.

    Attributes:
        by: The limit; ``None`` for that on requests under way.
        wait: Until it would not refuse any more, in microseconds; ``None`` for never.
    """

    by: Dimension | Budget | None
    wait: int | None


class Standing(NamedTuple):
    """How an owner stands with its limits, before or after one request.

    Attributes:
        plan: What it may use.
        now: The time of the limits' clock, in microseconds.
        tats: When each bucket of the plan will be full again, in the plan's order.
        running: Requests under way.
        wall: The time of the calendar, in Unix seconds.
        spent: What was spent of each budget, in the plan's order.
    """

    plan: Plan
    now: int
    tats: Sequence[int]
    running: int
    wall: float = 0.0
    spent: Sequence[Spent] = ()

    def wait(self, charge: Charge) -> int | None:
        """How long until a charge would fit, if nobody else took anything.

        Returns:
            Microseconds; 0 when it fits, ``None`` when it never will, being larger than a limit alone.
        """
        waits = [refusal.wait for refusal in (*self._budgets(charge), *self._dimensions(charge), *self._places())]
        return None if None in waits else max((wait for wait in waits if wait is not None), default=0)

    def refusal(self, charge: Charge) -> Refusal | None:
        """What refuses a charge most; ``None`` when it fits.

        A budget comes before everything else, because waiting a little does not help there; then what is never going
        to fit, and then the longest wait. That there is no place is told only where that is all.
        """
        for refusals in (self._budgets(charge), self._dimensions(charge), self._places()):
            worst = max(refusals, key=lambda refusal: _length(refusal.wait), default=None)
            if worst is not None:
                return worst
        return None

    def window(self, budget: Budget) -> Window:
        """The day or month in which a budget of the plan is counted."""
        return window(budget.period, self.spent[self.plan.budgets.index(budget)].window)

    def left(self, budget: Budget) -> int:
        """What is left of a budget of the plan, in micro-neurons."""
        return max(budget.limit - self.spent[self.plan.budgets.index(budget)].cost, 0)

    def _budgets(self, charge: Charge) -> Iterator[Refusal]:
        for row, (start, cost) in zip(self.plan.budgets, self.spent, strict=True):
            if charge.least > row.limit:
                yield Refusal(row, None)
            elif cost + charge.least > row.limit:
                yield Refusal(row, max(math.ceil((window(row.period, start).end - self.wall) * SECOND), 1))

    def _dimensions(self, charge: Charge) -> Iterator[Refusal]:
        for row, tat in zip(self.plan.dimensions, self.tats, strict=True):
            state = decide(tat, self.now, row.limit, row.period, charge.tokens if row.unit == "tokens" else 1)
            if not state.admitted:
                yield Refusal(row, state.retry_after)

    def _places(self) -> Iterator[Refusal]:
        if self.plan.concurrency is not None and self.running >= self.plan.concurrency:
            yield Refusal(None, SLOT_WAIT)


def _length(wait: int | None) -> float:
    return math.inf if wait is None else wait
