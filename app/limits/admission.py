"""Admission as the exchange knows it, and the limiter that a proxy without limits has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.core.caller import Caller
from app.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request may cost, before it is sent.

    Attributes:
        prompt_tokens: The input, estimated.
        max_tokens: The most that may be produced.
    """

    prompt_tokens: int
    max_tokens: int


class Reservation(Protocol):
    """A place that one request holds."""

    async def settle(self, usage: Usage | None) -> None:
        """Give the place back and say what was used; ``None`` when nothing was. Called exactly once."""


class Limits(Protocol):
    """Decides who may send what."""

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve a place.

        Raises:
            RateLimited: Not now.
            QuotaExhausted: Not before the budget is renewed.
        """


class _Unlimited:
    async def settle(self, usage: Usage | None) -> None:
        """Nothing was reserved."""


class NoLimits:
    """Admits everybody."""

    def __init__(self) -> None:
        self._reservation = _Unlimited()

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve nothing."""
        del caller, model, estimate
        return self._reservation
