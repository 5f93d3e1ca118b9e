"""What a caller may use."""

from __future__ import annotations

from typing import Final, Self

from msgspec import Struct
from msgspec.structs import fields

MAX_COUNT: Final = 10**9
"""The largest limit; also of a budget, in its own unit."""

MAX_USD: Final = 49_000
"""The largest budget in USD: as neurons it still fits into a counter of whole micro-neurons."""

MIN_BUDGET: Final = 0.000_1
"""The smallest budget, in USD or in neurons."""


BUDGETS: Final = frozenset({"neurons_per_day", "neurons_per_month", "usd_per_day", "usd_per_month"})
"""The limits that are budgets: they may have a fraction, and they are renewed by the calendar."""


def bounds(name: str) -> tuple[float, float]:
    """The smallest and the largest value of a limit."""
    if name not in BUDGETS:
        return 1, MAX_COUNT
    return MIN_BUDGET, MAX_USD if name.startswith("usd_") else MAX_COUNT


class LimitSpec(Struct, frozen=True):
    """What a caller may use; ``None`` where there is no limit.

    Attributes:
        requests_per_minute: Requests, also those that fail later.
        requests_per_day: Likewise, in any 24 hours.
        tokens_per_minute: Input and output tokens together.
        tokens_per_day: Likewise, in any 24 hours.
        concurrency: Requests under way at the same time.
        neurons_per_day: Neurons in a calendar day (UTC).
        neurons_per_month: Neurons in a calendar month (UTC).
        usd_per_day: US dollars in a calendar day (UTC).
        usd_per_month: US dollars in a calendar month (UTC).

    Raises:
        ValueError: A limit is out of range.
    """

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    concurrency: int | None = None
    neurons_per_day: float | None = None
    neurons_per_month: float | None = None
    usd_per_day: float | None = None
    usd_per_month: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least, most = bounds(field.name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{field.name} must be between {least} and {most}, not {value}")

    def over(self, default: LimitSpec) -> Self | LimitSpec:
        """These limits, and those of ``default`` where nothing is set here."""
        if default == UNLIMITED_SPEC:
            return self
        return LimitSpec(
            *(
                getattr(default, field.name) if (own := getattr(self, field.name)) is None else own
                for field in fields(self)
            )
        )


UNLIMITED_SPEC: Final = LimitSpec()
