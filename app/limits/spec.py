"""What a caller may use, as it is set and as it is worked with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

from app.limits.admission import Estimate
from app.limits.gcra import DAY, MINUTE, span, stretched

MAX_COUNT: Final = 10**9

DEFAULT_RESERVATION: Final = 2_048
"""Output tokens reserved for a request that states no limit."""

Unit = Literal["requests", "tokens"]


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """What a caller may use; ``None`` where there is no limit.

    Attributes:
        requests_per_minute: Requests, also those that fail later.
        requests_per_day: Likewise, in any 24 hours.
        tokens_per_minute: Input and output tokens together.
        tokens_per_day: Likewise, in any 24 hours.
        concurrency: Requests under way at the same time.

    Raises:
        ValueError: A limit is below 1 or above ``MAX_COUNT``.
    """

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise ValueError(f"{field.name} must be between 1 and {MAX_COUNT}, not {value}")


class Dimension(NamedTuple):
    """One limit on one quantity.

    Attributes:
        name: Names its bucket among those of a caller.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """A ``LimitSpec``, prepared.

    Attributes:
        dimensions: What is counted; a request is admitted when all of them admit it.
        concurrency: How many requests may be under way.
        tokens: The smallest limit on tokens; no single request may be larger.
        holds: A request holds something that it gives back at its end.
    """

    dimensions: tuple[Dimension, ...]
    concurrency: int | None
    tokens: int | None
    holds: bool

    @classmethod
    def of(cls, spec: LimitSpec) -> Plan:
        """Prepare what a caller may use."""
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
        tokens = min((row.limit for row in dimensions if row.unit == "tokens"), default=None)
        return cls(dimensions, spec.concurrency, tokens, tokens is not None or spec.concurrency is not None)

    def reserve(self, estimate: Estimate, default: int) -> int:
        """How many tokens to reserve for a request.

        A token limit that the client states is reserved whole. The rest of the context window, which stands in for
        one that is not stated, would empty a small bucket at once: then ``default`` is reserved, or what the smallest
        limit leaves beside the prompt, and what is used beyond is charged at the end.

        Args:
            estimate: What it may cost.
            default: Output tokens for a request that states no limit.
        """
        output = estimate.max_tokens
        if not estimate.stated:
            output = min(output, default)
            if self.tokens is not None:
                output = min(output, max(self.tokens - estimate.prompt_tokens, 1))
        return estimate.prompt_tokens + output


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
