"""What is written on the command line in a form of its own: times, durations, lists, pairs, limits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final, TypeVar

import click

from app.core.limits import BUDGETS
from app.keys.fields import LIMITS, FieldError, checked_limit, checked_models, checked_name, checked_time
from app.keys.secret import ID_PREFIX, PREFIX

T = TypeVar("T")

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999, the last that a date can be written of."""

_MEANING: Final[Mapping[str, str]] = {
    "requests_per_minute": "Most requests in a minute.",
    "requests_per_day": "Most requests in 24 hours.",
    "tokens_per_minute": "Most tokens in a minute, input and output together.",
    "tokens_per_day": "Most tokens in 24 hours.",
    "concurrency": "Most requests at the same time.",
    "neurons_per_day": "Most neurons in a calendar day (UTC).",
    "neurons_per_month": "Most neurons in a calendar month (UTC).",
    "usd_per_day": "Most US dollars in a calendar day (UTC).",
    "usd_per_month": "Most US dollars in a calendar month (UTC).",
}


def parse_duration(text: str) -> float:
    """Read a duration such as ``90s``, ``15m``, ``24h``, ``30d`` or ``2w``; in seconds.

    Raises:
        ValueError: It is no duration.
    """
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError("must be a number with a unit, such as 90s, 15m, 24h, 30d or 2w")
    return float(int(found[1]) * _SECONDS[found[2]])


def parse_expiry(text: str, now: float) -> float:
    """Read when a key expires: after a duration, or at a date or a time with its offset; in Unix seconds.

    Raises:
        ValueError: It is neither, or not to come.
    """
    if _DURATION.fullmatch(text):
        seconds = now + parse_duration(text)
    else:
        try:
            seconds = checked_time(_date(text))
        except FieldError:
            raise
        except ValueError:
            raise ValueError("must be a duration such as 30d, or a date or time such as 2027-01-01") from None
    if not now < seconds <= _LAST_SECOND:
        raise ValueError("must be in the future" if seconds <= now else "must be before the year 10000")
    return seconds


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text)


class Written(click.ParamType[T, Any]):
    """An option whose text is read by a function.

    Args:
        name: What stands for the value in the help.
        read: Reads it; its ``ValueError`` is the rest of a sentence about the option.
    """

    def __init__(self, name: str, read: Callable[[str], T]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:  # noqa: ANN401 - click's own
        """Read the option's text."""
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"it {error}.", param, ctx)


def _key_id(text: str) -> str:
    if text.startswith(PREFIX):
        public = text.removeprefix(PREFIX).partition("-")[0]
        raise ValueError(f"must be the key's public id, {ID_PREFIX}{public}, and not the key itself")
    return text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("must be a name and a text, such as team=search")
    return name.strip(), value.strip()


def _models(text: str) -> tuple[str, ...]:
    return checked_models([name.strip() for name in text.split(",") if name.strip()])


def _limit(name: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text) if name in BUDGETS else int(text)
        except ValueError:
            return checked_limit(name, None)
        return checked_limit(name, value)

    return read


NAME: Final = Written("text", checked_name)
KEY_ID: Final = Written("id", _key_id)
MODELS: Final = Written("names", _models)
PAIR: Final = Written("name=text", _pair)
DURATION: Final = Written("duration", parse_duration)
EXPIRY: Final = Written("when", lambda text: parse_expiry(text, time.time()))


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each limit, by its name."""
    for name in reversed(LIMITS):
        kind = Written("number", _limit(name))
        command = click.option(f"--{name.replace('_', '-')}", name, type=kind, help=_MEANING[name])(command)
    return command
