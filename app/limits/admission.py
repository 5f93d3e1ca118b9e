"""Admission as the exchange knows it, and the limiter that a proxy without limits has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

from app.core.caller import Caller
from app.core.cost import FREE, Cost, Rates
from app.core.usage import Usage

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Estimate(Struct, frozen=True):
    """What a request may cost, before it is sent.

    Attributes:
        prompt_tokens: The input, estimated.
        max_tokens: The most that may be produced.
        stated: The client stated ``max_tokens`` itself. Otherwise it is the rest of the context window, which hardly
            any answer fills, and a smaller number is reserved.
        rates: What its tokens cost.
        neurons: What it costs where that is not by tokens; ``None`` where it is.
    """

    prompt_tokens: int
    max_tokens: int
    stated: bool = True
    rates: Rates = FREE
    neurons: float | None = None


class Reservation(Protocol):
    """A place that one request holds."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The ``x-ratelimit-*`` headers of the answer, as things stood when the request was admitted."""

    async def settle(self, usage: Usage | None, cost: Cost | None = None) -> None:
        """Give the place back and say what was used and spent; ``None`` when nothing was. Called exactly once."""


class Limits(Protocol):
    """Decides who may send what."""

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve a place.

        Raises:
            RateLimited: Not now, or never because the request alone is larger than a limit.
            QuotaExhausted: Not before the budget is renewed.
            Overloaded: Whether it may be admitted cannot be found out at the moment.
        """


class Unlimited:
    """The place of a request that nothing limits."""

    @property
    def headers(self) -> Mapping[str, str]:
        """None: there is nothing to tell."""
        return NO_HEADERS

    async def settle(self, usage: Usage | None, cost: Cost | None = None) -> None:
        """Nothing was reserved."""


UNLIMITED: Final = Unlimited()


class NoLimits:
    """Admits everybody."""

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve nothing."""
        del caller, model, estimate
        return UNLIMITED
