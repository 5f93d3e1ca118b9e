"""What was used today, this month and before, and what both are likely to come to. All days are UTC."""

from __future__ import annotations

import calendar
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from msgspec import Struct, field

from app.core.cost import USD_PER_NEURON
from app.core.usage import Source
from app.limits.window import DAY_SECONDS
from app.store.accounts import UsageRow

RECENT_DAYS: Final = 7
"""The days before today from which a forecast learns."""

LEAST_PACE: Final = 1 / 24
"""The part of a day that counts as gone at least, where only today is known: one early request is not yet a pace."""

Breakdown: TypeAlias = Literal["day", "key", "model"]
"""What the history tells of each day: the day's sum alone, or also each key's or each model's part."""


def day_of(when: float) -> str:
    """The UTC day of a Unix time, as ``2026-11-21``."""
    return datetime.fromtimestamp(when, UTC).date().isoformat()


def month_of(when: float) -> str:
    """The first day of the UTC month of a Unix time."""
    return f"{day_of(when)[:7]}-01"


def first_day(now: float, days: int) -> str:
    """The first day whose rows a report of the last ``days`` days is made from: more, where a forecast needs more."""
    return min(day_of(now - max(days - 1, RECENT_DAYS) * DAY_SECONDS), month_of(now))


class Totals(Struct):
    """Sums.

    Attributes:
        requests: Requests that reached a model.
        prompt_tokens: Tokens of the input, cached ones included.
        cached_tokens: Tokens of the input from a prefix cache.
        completion_tokens: Tokens produced.
        neurons: What it cost.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    neurons: float = 0.0

    @property
    def usd(self) -> float:
        """What it cost in US dollars."""
        return self.neurons * USD_PER_NEURON

    def add(self, other: UsageRow | Self) -> None:
        """Add figures to these."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.completion_tokens += other.completion_tokens
        self.neurons += other.neurons

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: the attributes and ``usd``."""
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            **_money(self.neurons),
        }


class Day(Struct, frozen=True):
    """One day of the history.

    Attributes:
        day: Which.
        totals: All of it.
        parts: By key or by model; empty where that was not asked for.
    """

    day: str
    totals: Totals = field(default_factory=Totals)
    parts: Mapping[str, Totals] = field(default_factory=dict)


class UsageReport(Struct, frozen=True):
    """What was used.

    Attributes:
        day: Today.
        today: All of today.
        by_model: Today by Cloudflare's id of the model, the dearest first.
        by_key: Today by the caller's id, the dearest first.
        by_source: Today by how sure the figures are.
        forecast: Neurons that today is likely to come to.
        allocation: Neurons that may be used in a day; ``None`` where there is no such limit.
        month: The month's first day.
        month_so_far: From that day to now.
        month_forecast: Neurons that the month is likely to come to.
        history: Day by day, the oldest first, ending with today; days without usage are in it.
        breakdown: What the history's days are divided by.
    """

    day: str
    today: Totals
    by_model: Mapping[str, Totals]
    by_key: Mapping[str, Totals]
    by_source: Mapping[Source, Totals]
    forecast: float
    allocation: float | None
    month: str
    month_so_far: Totals
    month_forecast: float
    history: tuple[Day, ...]
    breakdown: Breakdown = "day"

    @property
    def remaining(self) -> float | None:
        """Neurons that are left of today's allocation."""
        return None if self.allocation is None else max(self.allocation - self.today.neurons, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready.

        ``TOTALS`` stands for ``requests``, ``prompt_tokens``, ``cached_tokens``, ``completion_tokens``, ``neurons`` and
        ``usd``; days are texts such as ``2026-11-21``, in UTC::

            {"object": "usage.report",
             "today": {"day": …, TOTALS,
                       "forecast": {"neurons": …, "usd": …},
                       "allocation": null | {"neurons": …, "remaining": …},
                       "by_model": [{"model": …, TOTALS}, …],        the dearest first
                       "by_key": [{"key": …, TOTALS}, …],
                       "by_source": [{"source": "reported" | "summed" | "estimated", TOTALS, "share": …}, …]},
             "month": {"since": …, TOTALS, "forecast": {"neurons": …, "usd": …}},
             "history": [{"day": …, TOTALS}, …]}                     the oldest first

        ``share`` is a part of today's neurons, from 0 to 1. Days of the history have also ``by_key`` or ``by_model``
        where the report was asked for that.
        """
        spent = self.today.neurons
        return {
            "object": "usage.report",
            "today": {
                "day": self.day,
                **self.today.as_dict(),
                "forecast": _money(self.forecast),
                "allocation": None
                if self.remaining is None
                else {"neurons": self.allocation, "remaining": round(self.remaining, 6)},
                "by_model": _listed("model", self.by_model),
                "by_key": _listed("key", self.by_key),
                "by_source": [
                    {"source": source, **totals.as_dict(), "share": round(totals.neurons / spent, 6) if spent else 0.0}
                    for source, totals in self.by_source.items()
                ],
            },
            "month": {"since": self.month, **self.month_so_far.as_dict(), "forecast": _money(self.month_forecast)},
            "history": [self._day(day) for day in self.history],
        }

    def _day(self, day: Day) -> dict[str, Any]:
        told = {"day": day.day, **day.totals.as_dict()}
        return told if self.breakdown == "day" else {**told, f"by_{self.breakdown}": _listed(self.breakdown, day.parts)}


def report(
    rows: Iterable[UsageRow],
    now: float,
    allocation: float | None,
    *,
    days: int = 30,
    breakdown: Breakdown = "day",
) -> UsageReport:
    """Make a report.

    Args:
        rows: Usage since ``first_day(now, days)``; several for the same day, key and model are added up. What is
            dated after today, by another replica's clock, is left out.
        now: The time, in Unix seconds.
        allocation: Neurons that may be used in a day.
        days: How many days of history, today included.
        breakdown: What each of them is divided by.
    """
    today, month = day_of(now), month_of(now)
    tally = _Tally(today, _PART[breakdown])
    for row in rows:
        tally.add(row)
    recent = _recent(tally.days, now)
    gone = now % DAY_SECONDS / DAY_SECONDS
    forecast = _forecast(tally.of(today).neurons, gone, recent)
    this_month = Totals()
    for day, totals in tally.days.items():
        if month <= day:
            this_month.add(totals)
    date = datetime.fromtimestamp(now, UTC)
    days_left = calendar.monthrange(date.year, date.month)[1] - date.day
    expected = [*recent, forecast]
    rest_of_today = forecast - tally.of(today).neurons
    return UsageReport(
        day=today,
        today=tally.of(today),
        by_model=_dearest_first(tally.by_model),
        by_key=_dearest_first(tally.by_key),
        by_source={source: tally.by_source[source] for source in get_args(Source) if source in tally.by_source},
        forecast=forecast,
        allocation=allocation,
        month=month,
        month_so_far=this_month,
        month_forecast=this_month.neurons + rest_of_today + days_left * sum(expected) / len(expected),
        history=tuple(
            Day(day, tally.of(day), _dearest_first(tally.parts.get(day, {})))
            for day in (day_of(now - back * DAY_SECONDS) for back in range(days - 1, -1, -1))
        ),
        breakdown=breakdown,
    )


class _Tally:
    def __init__(self, today: str, part: Callable[[UsageRow], str] | None) -> None:
        self._today = today
        self._part = part
        self.days: dict[str, Totals] = defaultdict(Totals)
        self.parts: dict[str, dict[str, Totals]] = defaultdict(lambda: defaultdict(Totals))
        self.by_model: dict[str, Totals] = defaultdict(Totals)
        self.by_key: dict[str, Totals] = defaultdict(Totals)
        self.by_source: dict[Source, Totals] = defaultdict(Totals)

    def of(self, day: str) -> Totals:
        return self.days.get(day) or Totals()

    def add(self, row: UsageRow) -> None:
        if row.day > self._today:
            return
        self.days[row.day].add(row)
        if self._part is not None:
            self.parts[row.day][self._part(row)].add(row)
        if row.day == self._today:
            self.by_model[row.model].add(row)
            self.by_key[row.caller].add(row)
            self.by_source[row.source].add(row)


_PART: Final[Mapping[Breakdown, Callable[[UsageRow], str] | None]] = {
    "day": None,
    "key": lambda row: row.caller,
    "model": lambda row: row.model,
}


def _recent(days: Mapping[str, Totals], now: float) -> list[float]:
    """Neurons of the days before today, from the first that had any: before it there may have been no proxy."""
    before = [day_of(now - back * DAY_SECONDS) for back in range(RECENT_DAYS, 0, -1)]
    first = next((index for index, day in enumerate(before) if day in days), len(before))
    return [days[day].neurons if day in days else 0.0 for day in before[first:]]


def _forecast(spent: float, gone: float, recent: list[float]) -> float:
    """What a day comes to.

    Its rest is expected to go on at a rate between the average of the days before and today's own pace: the former at
    the day's beginning, the latter at its end, and in between as much of each as the day is old. Written out,
    ``gone * (spent / gone) + (1 - gone) * average``; nothing is divided by the first minutes of a day.

    Args:
        spent: Neurons so far.
        gone: How much of the day has gone, from 0 to 1.
        recent: Neurons of the days before; where none are known there is only today's pace.
    """
    rate = spent + (1 - gone) * sum(recent) / len(recent) if recent else spent / max(gone, LEAST_PACE)
    return spent + (1 - gone) * rate


def _dearest_first(parts: Mapping[str, Totals]) -> dict[str, Totals]:
    return dict(sorted(parts.items(), key=lambda part: (-part[1].neurons, -part[1].requests, part[0])))


def _listed(name: str, parts: Mapping[str, Totals]) -> list[dict[str, Any]]:
    return [{name: part, **totals.as_dict()} for part, totals in parts.items()]


def _money(neurons: float) -> dict[str, float]:
    return {"neurons": round(neurons, 6), "usd": round(neurons * USD_PER_NEURON, 9)}
