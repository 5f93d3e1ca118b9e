"""A limiter that is made when it is first asked: one on Redis belongs to the running event loop."""

from __future__ import annotations

from collections.abc import Callable

from app.core.caller import Caller
from app.limits.admission import Estimate, Reservation
from app.limits.redis import RedisLimits


class MadeOnFirstUse:
    """Admits as the limiter does that it makes.

    Args:
        make: Makes it, in the running event loop.
    """

    def __init__(self, make: Callable[[], RedisLimits]) -> None:
        self._make = make
        self._limits: RedisLimits | None = None

    async def admit(self, caller: Caller, model: str, estimate: Estimate) -> Reservation:
        """Reserve a place; see ``app.limits.admission.Limits``."""
        if self._limits is None:
            self._limits = self._make()
        return await self._limits.admit(caller, model, estimate)

    async def aclose(self) -> None:
        """Close its connection."""
        if self._limits is not None:
            await self._limits.aclose()
