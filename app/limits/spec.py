"""What an owner may use, as it is set and as it is worked with, and what a request takes of it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from app.core.cost import USD_PER_NEURON
from app.core.limits import LimitSpec
from app.limits.admission import Estimate
from app.limits.gcra import DAY, MINUTE, span, stretched
from app.limits.window import Period

DEFAULT_RESERVATION: Final = 2_048
"""Output tokens reserved for a request that states no limit."""

MICRO: Final = 1_000_000
"""Micro-neurons in a neuron: budgets are counted in whole ones."""

MAX_COST: Final = 1 << 50
"""The most that one request is charged, in micro-neurons: about a thousand million neurons."""

MAX_SPENT: Final = 1 << 52
"""The largest count and the largest budget, in micro-neurons: what Lua's numbers hold exactly, with room to add."""

Unit = Literal["requests", "tokens"]
Currency = Literal["neurons", "USD"]


def micro_neurons(neurons: float) -> int:
    """A cost as it is counted: in whole micro-neurons, rounded up, from 0 to ``MAX_COST``."""
    cost = neurons * MICRO
    return math.ceil(cost) if 0 <= cost <= MAX_COST else MAX_COST if cost > 0 else 0


class Charge(NamedTuple):
    """What a request takes.

    Attributes:
        tokens: Out of the buckets that count tokens.
        cost: Out of budgets, in micro-neurons; at least one is taken, so that nothing gets past a used-up budget.
        whole: A budget that holds less than the cost refuses. Otherwise it gives what it has left, however little.
    """

    tokens: int = 0
    cost: int = 0
    whole: bool = True

    @property
    def most(self) -> int:
        """What is taken out of a budget that holds it, in micro-neurons."""
        return max(self.cost, 1)

    @property
    def least(self) -> int:
        """What a budget must hold, in micro-neurons."""
        return max(self.cost, 1) if self.whole else 1


class Dimension(NamedTuple):
    """One limit on one quantity.

    Attributes:
        name: Names its bucket among those of an owner.
        unit: What it counts.
        label: What it is called in an error.
        limit: What it allows.
        period: In which time, in microseconds.
        one: The time in which a cost of one is regained.
    """

    name: str
    unit: Unit
    label: str
    limit: int
    period: int
    one: int

    def span(self, cost: int) -> int:
        """The time in which ``cost`` is regained."""
        return span(cost, self.limit, self.period)


class Budget(NamedTuple):
    """What may be spent in a day or a month. There is one of each: where two are set, it is the smaller.

    Attributes:
        period: For which time; it also names its counter among those of an owner.
        limit: What it allows, in micro-neurons.
        amount: The same as it was set, in its currency.
        currency: What it was set in.
    """

    period: Period
    limit: int
    amount: float
    currency: Currency


class Plan(Struct, frozen=True):
    """A ``LimitSpec``, prepared.

    Attributes:
        dimensions: What is counted; a request is admitted when all of them admit it.
        concurrency: How many requests may be under way.
        budgets: What may be spent.
        tokens: The smallest limit on tokens; no single request may be larger.
        holds: A request holds something that it gives back at its end.
    """

    dimensions: tuple[Dimension, ...]
    concurrency: int | None
    budgets: tuple[Budget, ...]
    tokens: int | None
    holds: bool

    @classmethod
    def of(cls, spec: LimitSpec) -> Plan:
        """Prepare what an owner may use."""
        rows: list[tuple[str, Unit, str, int | None, int]] = [
            ("rm", "requests", "requests per min (RPM)", spec.requests_per_minute, MINUTE),
            ("rd", "requests", "requests per day (RPD)", spec.requests_per_day, DAY),
            ("tm", "tokens", "tokens per min (TPM)", spec.tokens_per_minute, MINUTE),
            ("td", "tokens", "tokens per day (TPD)", spec.tokens_per_day, DAY),
        ]
        dimensions = tuple(
            Dimension(name, unit, label, count, stretched(count, period), span(1, count, stretched(count, period)))
            for name, unit, label, count, period in rows
            if count is not None
        )
        budgets = (
            *_budget("day", spec.neurons_per_day, spec.usd_per_day),
            *_budget("month", spec.neurons_per_month, spec.usd_per_month),
        )
        tokens = min((row.limit for row in dimensions if row.unit == "tokens"), default=None)
        holds = tokens is not None or spec.concurrency is not None or bool(budgets)
        return cls(dimensions, spec.concurrency, budgets, tokens, holds)

    @property
    def free(self) -> bool:
        """Nothing is limited."""
        return not self.dimensions and not self.holds

    def charge(self, estimate: Estimate, default: int) -> Charge:
        """What to take for a request.

        A token limit that the client states is reserved whole. The rest of the context window, which stands in for
        one that is not stated, would empty a small bucket at once: then ``default`` is reserved, or what the smallest
        limit leaves beside the prompt, or what a budget has left, and what is used beyond is charged at the end.

        Args:
            estimate: What it may cost.
            default: Output tokens for a request that states no limit.
        """
        prompt, output = estimate.prompt_tokens, estimate.max_tokens
        if not estimate.stated:
            output = min(output, default)
            if self.tokens is not None:
                output = min(output, max(self.tokens - prompt, 1))
        if not self.budgets:
            return Charge(prompt + output)
        rates = estimate.rates
        by_tokens = prompt * rates.input + output * rates.output
        cost = micro_neurons(by_tokens if estimate.neurons is None else estimate.neurons)
        return Charge(prompt + output, cost, estimate.stated)


def _budget(period: Period, neurons: float | None, usd: float | None) -> list[Budget]:
    """The smaller of two budgets for one period, in whole micro-neurons, rounded down; none where none is set."""
    prices: list[tuple[float | None, Currency, Fraction]] = [
        (neurons, "neurons", Fraction(1)),
        (usd, "USD", Fraction(repr(USD_PER_NEURON))),
    ]
    # By its decimal digits: 0.0001 is meant to be a ten-thousandth, whatever the nearest double is.
    set_ = [
        Budget(period, min(int(Fraction(repr(amount)) / price * MICRO), MAX_SPENT), amount, currency)
        for amount, currency, price in prices
        if amount is not None
    ]
    return [min(set_, key=lambda budget: budget.limit)] if set_ else []


class Plans:
    """Plans by what they were made of; there are about as many as there are kinds of keys."""

    __slots__ = ("_plans",)

    _MOST: Final = 10_000

    def __init__(self) -> None:
        self._plans: dict[LimitSpec, Plan] = {}

    def __call__(self, spec: LimitSpec) -> Plan:
        """The plan of a spec."""
        plan = self._plans.get(spec)
        if plan is None:
            if len(self._plans) >= self._MOST:
                self._plans.clear()
            plan = self._plans[spec] = Plan.of(spec)
        return plan
