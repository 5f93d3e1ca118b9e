"""Buckets that are made when they are first asked: those on Redis belong to the running event loop."""

from __future__ import annotations

from collections.abc import Callable

from app.limits.buckets import Buckets, BucketStats, Charge, Hold
from app.limits.spec import Plan


class MadeOnFirstUse:
    """Admits as the buckets do that it makes.

    Args:
        make: Makes them, in the running event loop.
    """

    def __init__(self, make: Callable[[], Buckets]) -> None:
        self._make = make
        self._buckets: Buckets | None = None

    @property
    def stats(self) -> BucketStats:
        """What they have done so far."""
        return BucketStats() if self._buckets is None else self._buckets.stats

    async def take(self, owner: str, plan: Plan, charge: Charge) -> Hold:
        """Take one request's charge; see ``app.limits.buckets.Buckets``."""
        if self._buckets is None:
            self._buckets = self._make()
        return await self._buckets.take(owner, plan, charge)

    async def aclose(self) -> None:
        """Close what was made."""
        if self._buckets is not None:
            await self._buckets.aclose()
