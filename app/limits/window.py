"""The stretches of the calendar for which budgets hold: days and months, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple

Period = Literal["day", "month"]

DAY_SECONDS: Final = 86_400
_MORE_THAN_A_MONTH: Final = timedelta(days=32)


class Window(NamedTuple):
    """One day or one month.

    Attributes:
        period: Which of them.
        start: When it begins, in Unix seconds.
        end: When the next one begins, in Unix seconds.
    """

    period: Period
    start: int
    end: int


def window(period: Period, at: float) -> Window:
    """The day or month that a moment is in.

    Args:
        period: Which of them.
        at: The moment, in Unix seconds.
    """
    return _window(period, int(at // DAY_SECONDS))


@lru_cache(maxsize=256)
def _window(period: Period, day: int) -> Window:
    if period == "day":
        return Window(period, day * DAY_SECONDS, (day + 1) * DAY_SECONDS)
    first = datetime.fromtimestamp(day * DAY_SECONDS, UTC).replace(day=1)
    following = (first + _MORE_THAN_A_MONTH).replace(day=1)
    return Window(period, int(first.timestamp()), int(following.timestamp()))
