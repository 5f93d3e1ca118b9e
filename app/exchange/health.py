"""What is known of each target's health: what refused is left alone for a while, what keeps failing is given a pause.

A target is one model on one account. Time is an argument, in Unix seconds: a day's quota is renewed by the calendar,
also while the machine sleeps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from app.exchange.attempts import Shun, Trouble
from app.exchange.breaker import Breaker, Tolerance

MOST: Final = 1024
"""How many targets are remembered. Models are as many as clients can think of."""


class Standing(NamedTuple):
    """Why a target is not to be asked, and for how many seconds more."""

    trouble: Trouble
    seconds: float


class _Block(NamedTuple):
    trouble: Trouble
    since: float
    until: float

    def left(self, now: float) -> float:
        # A clock that was set back must not lengthen it.
        return self.until - now if self.since <= now else 0.0


class Health:
    """The health of all targets.

    Args:
        tolerance: What the circuit breaker of each target bears; ``None`` for no breakers.
    """

    def __init__(self, tolerance: Tolerance | None = None) -> None:
        self._tolerance = tolerance
        # Of a whole account under no model.
        self._blocks: dict[tuple[str, str | None], _Block] = {}
        # Only of targets that have failed.
        self._breakers: dict[tuple[str, str], Breaker] = {}

    @property
    def clear(self) -> bool:
        """Nothing bad is known of any target."""
        return not self._blocks and not self._breakers

    def standing(self, account: str, model: str, now: float) -> Standing | None:
        """Why a target is not to be asked now; ``None`` when it may be. Of several reasons, the worst."""
        found = []
        for key in ((account, None), (account, model)):
            block = self._blocks.get(key)
            if block is None:
                continue
            if (left := block.left(now)) > 0:
                found.append(Standing(block.trouble, left))
            else:
                del self._blocks[key]
        breaker = self._breakers.get((account, model))
        if breaker is not None and (seconds := breaker.wait(now)) > 0:
            found.append(Standing(Trouble.BROKEN, seconds))
        return max(found, default=None)

    def shun(self, account: str, model: str, shun: Shun, seconds: float | None, now: float) -> bool:
        """Note that a target, or its whole account, is not to be asked for a while; false when that was known.

        Args:
            account: The account.
            model: The model.
            shun: What is not to be asked, and for how long at least.
            seconds: For how long the upstream says.
            now: The time.
        """
        if len(self._blocks) >= MOST:
            self._blocks = {key: block for key, block in self._blocks.items() if block.left(now) > 0}
        if len(self._blocks) >= MOST:
            del self._blocks[next(iter(self._blocks))]
        key = (account, model if shun.scope == "target" else None)
        known = self._blocks.get(key)
        self._blocks[key] = _Block(shun.trouble, now, now + max(shun.seconds, seconds or 0.0))
        return known is None or known.left(now) <= 0

    def enter(self, account: str, model: str, now: float) -> int:
        """A call is made; returns the number that its outcome has to bear."""
        breaker = self._breakers.get((account, model))
        return 0 if breaker is None else breaker.enter(now)

    def answered(self, account: str, model: str, number: int, now: float) -> None:
        """An answer has begun: that is enough for a probe."""
        breaker = self._breakers.get((account, model))
        if breaker is not None and breaker.open:
            breaker.succeed(number, now)

    def succeed(self, account: str, model: str, number: int, now: float) -> None:
        """A call was answered."""
        self._blocks.pop((account, model), None)
        breaker = self._breakers.get((account, model))
        if breaker is None:
            return
        breaker.succeed(number, now)
        if breaker.spotless:
            del self._breakers[account, model]

    def fail(self, account: str, model: str, number: int, now: float) -> bool:
        """A call has failed, by the upstream's fault; true when that has opened the target's circuit breaker."""
        if self._tolerance is None:
            return False
        breaker = self._breakers.get((account, model))
        if breaker is None:
            if len(self._breakers) >= MOST:
                del self._breakers[next(iter(self._breakers))]
            breaker = self._breakers[account, model] = Breaker(self._tolerance)
        was_open = breaker.open
        breaker.fail(number, now)
        return breaker.open and not was_open

    def abandon(self, account: str, model: str, number: int, now: float) -> None:
        """A call was given up before it said anything."""
        breaker = self._breakers.get((account, model))
        if breaker is not None:
            breaker.abandon(number, now)

    def __repr__(self) -> str:
        return f"Health({len(self._blocks)} blocked, {len(self._breakers)} failing)"
