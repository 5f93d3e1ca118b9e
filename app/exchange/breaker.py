"""The circuit breaker: a pure state machine that says when to stop asking, and when to try again.

Closed, it lets every call through. After too many failures it opens and lets none through; after a pause it lets one
through as a probe. If that is answered it closes; if not, the next pause is twice as long.
"""

from __future__ import annotations

from msgspec import Struct


class Tolerance(Struct, frozen=True):
    """What a breaker bears.

    Attributes:
        streak: It opens after so many failures in a row …
        share: … or when this share …
        window: … of the last so many calls has failed.
        memory: Seconds after which, without a call, the earlier ones are forgotten.
        pause: Seconds from opening to the first probe.
        longest_pause: The longest that a pause becomes.
        probe: Seconds after which a probe that was not answered is taken for lost.
    """

    streak: int = 20
    share: float = 0.5
    window: int = 50
    memory: float = 60.0
    pause: float = 5.0
    longest_pause: float = 60.0
    probe: float = 30.0


class Breaker:
    """One circuit breaker. Every call is announced with ``enter``, whose number goes with its outcome.

    Args:
        tolerance: What it bears.

    Attributes:
        open: Calls are not let through, but for a probe.
    """

    __slots__ = (
        "_epoch",
        "_failures",
        "_known",
        "_last",
        "_next",
        "_pause",
        "_probing",
        "_streak",
        "_tolerance",
        "open",
    )

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self.open = False
        # Counts the states that it has been in. What was called in an earlier one says nothing about this one.
        self._epoch = 0
        self._streak = 0
        # The last calls, one bit each, the latest the lowest; 1 for a failure.
        self._failures = 0
        self._known = 0
        self._last = 0.0
        self._next = 0.0
        self._pause = tolerance.pause
        self._probing = False

    @property
    def spotless(self) -> bool:
        """It knows of no failure."""
        return not self.open and self._failures == 0

    def wait(self, now: float) -> float:
        """Seconds until a call may be made; 0 when one may be made now."""
        return max(self._next - now, 0.0) if self.open else 0.0

    def enter(self, now: float) -> int:
        """A call is made, which ``wait`` allowed; returns the number that its outcome has to bear."""
        if self.open:
            self._epoch += 1
            self._probing = True
            self._next = now + self._tolerance.probe
        return self._epoch

    def succeed(self, number: int, now: float) -> None:
        """A call was answered."""
        if number != self._epoch:
            return
        if not self.open:
            self._note(0, now)
        elif self._probing:
            self._turn(is_open=False)
            self._pause = self._tolerance.pause

    def fail(self, number: int, now: float) -> None:
        """A call has failed, by the upstream's fault."""
        if number != self._epoch:
            return
        tolerance = self._tolerance
        if not self.open:
            self._note(1, now)
            ratio = self._failures.bit_count() >= tolerance.share * tolerance.window
            if self._streak >= tolerance.streak or (self._known == tolerance.window and ratio):
                self._turn(is_open=True)
                self._next = now + self._pause
        elif self._probing:
            self._turn(is_open=True)
            self._pause = min(self._pause * 2, tolerance.longest_pause)
            self._next = now + self._pause

    def abandon(self, number: int, now: float) -> None:
        """A call was given up before it said anything."""
        if number == self._epoch and self.open and self._probing:
            self._turn(is_open=True)
            self._next = now

    def _note(self, failed: int, now: float) -> None:
        window = self._tolerance.window
        if now - self._last > self._tolerance.memory:
            self._streak = self._failures = self._known = 0
        self._last = now
        self._streak = self._streak + 1 if failed else 0
        self._failures = (self._failures << 1 | failed) & ((1 << window) - 1)
        self._known = min(self._known + 1, window)

    def _turn(self, *, is_open: bool) -> None:
        self.open = is_open
        self._epoch += 1
        self._streak = self._failures = self._known = 0
        self._probing = False
