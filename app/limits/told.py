"""What a caller is told about its limits: headers on every answer, and the errors when one is reached."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from app.core.caller import Caller
from app.core.cost import USD_PER_NEURON
from app.core.errors import QuotaExhausted, RateLimited
from app.limits.buckets import Refused
from app.limits.duration import go_duration, roughly, whole_milliseconds
from app.limits.gcra import SECOND, Decision, decide
from app.limits.spec import MICRO, Budget, Dimension
from app.limits.standing import Standing

_SMALLEST: Final = 0.000_001
"""The smallest amount that is told as a number."""


def headers(standing: Standing) -> dict[str, str]:
    """The ``x-ratelimit-*`` headers.

    There are three for requests and three for tokens. Where a quantity is limited per minute and per day, they tell of
    the limit that leaves less.
    """
    tightest: dict[str, Decision] = {}
    for row, tat in zip(standing.plan.dimensions, standing.tats, strict=True):
        state = decide(tat, standing.now, row.limit, row.period, 0)
        known = tightest.get(row.unit)
        if known is None or (state.remaining, -state.reset) < (known.remaining, -known.reset):
            tightest[row.unit] = state
    told: dict[str, str] = {}
    for unit, state in tightest.items():
        told[f"x-ratelimit-limit-{unit}"] = str(state.limit)
        told[f"x-ratelimit-remaining-{unit}"] = str(state.remaining)
        told[f"x-ratelimit-reset-{unit}"] = go_duration(whole_milliseconds(state.reset))
    return told


def refusal(refused: Refused, caller: Caller, model: str) -> RateLimited | QuotaExhausted:
    """The error for a request that was refused; it names the limit.

    Args:
        refused: How the caller stands, and what was asked; nothing has been taken for the request.
        caller: Who asks.
        model: For what.
    """
    standing, charge = refused.standing, refused.charge
    told = headers(standing)
    worst = standing.refusal(charge)
    by, wait = (None, None) if worst is None else worst
    if isinstance(by, Budget):
        return QuotaExhausted(_spent(standing, by, charge.least), headers=told)
    if by is None:
        figures = standing.plan.concurrency or 0, standing.running, 1
        return _limited(caller, model, "concurrent requests", figures, wait or 0, "requests", told)
    tat = standing.tats[standing.plan.dimensions.index(by)]
    requested = charge.tokens if by.unit == "tokens" else 1
    if wait is None:
        return _too_large(by, caller, model, requested, told)
    used = decide(tat, standing.now, by.limit, by.period, requested).used
    return _limited(caller, model, by.label, (by.limit, used, requested), wait, by.unit, told)


def _too_large(row: Dimension, caller: Caller, model: str, tokens: int, told: Mapping[str, str]) -> RateLimited:
    """The error for a request that alone is larger than a limit: waiting does not help, so no wait is told."""
    return RateLimited(
        f"Request too large for {model} in organization {caller.id} on {row.label}: "
        f"Limit {row.limit}, Requested {tokens}. Shorten the input or lower the token limit of the output.",
        type_=row.unit,
        should_retry=False,
        headers=told,
    )


def _limited(
    caller: Caller, model: str, label: str, figures: tuple[int, int, int], wait: int, unit: str, told: Mapping[str, str]
) -> RateLimited:
    limit, used, requested = figures
    wait = whole_milliseconds(wait)
    return RateLimited(
        f"Rate limit reached for {model} in organization {caller.id} on {label}: "
        f"Limit {limit}, Used {used}, Requested {requested}. Please try again in {go_duration(wait)}.",
        type_=unit,
        retry_after=wait / SECOND,
        headers=told,
    )


def _spent(standing: Standing, budget: Budget, needed: int) -> str:
    """The message for a request that a budget refuses.

    Args:
        standing: How the caller stands.
        budget: What refuses it.
        needed: What the request needs of it, in micro-neurons.
    """
    begin = "You exceeded your current quota:"
    name = f"budget of {_number(budget.amount)} {budget.currency} per {budget.period}"
    end = standing.window(budget).end
    when = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    renewed = f"it is renewed at {when} (in {roughly(end - standing.wall)})"
    if needed > budget.limit:
        return (
            f"{begin} this request may cost {_amount(needed, budget)}, more than the whole {name}. "
            "Shorten the input or lower the token limit of the output."
        )
    left = standing.left(budget)
    if not left:
        return f"{begin} the {name} is used up; {renewed}."
    return (
        f"{begin} of the {name} {_amount(left, budget)} are left, and this request may cost {_amount(needed, budget)}. "
        f"Lower the token limit of the output, or wait: {renewed}."
    )


def _amount(micro: int, budget: Budget) -> str:
    """A cost in the budget's currency."""
    neurons = micro / MICRO
    amount = neurons * USD_PER_NEURON if budget.currency == "USD" else neurons
    return f"{_number(amount) if amount >= _SMALLEST else f'less than {_SMALLEST:f}'} {budget.currency}"


def _number(amount: float) -> str:
    """A number without an exponent, and without zeros at its end."""
    return f"{amount:.6f}".rstrip("0").rstrip(".")
