"""What to do when the upstream failed and nothing has been given to the client yet: ask again, elsewhere, or no more.

Pure: an error, a few numbers and a roll of the dice in, a decision out. What is done about which failure is one table,
by Cloudflare's codes first, by HTTP statuses where there is no code that is known, and by the kind of error last.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from app.cloudflare.answer import TOTAL_TIMEOUT
from app.cloudflare.client import UNREACHABLE
from app.core.errors import (
    ApiError,
    Forbidden,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
)
from app.exchange.expectation import EMPTY, UNMET


class Trouble(IntEnum):
    """Why a target is not asked for a while, the least bad first."""

    BUSY = 1
    """It has no capacity, or its limit per minute is reached."""
    REFUSED = 2
    """It does not serve us: the plan, the credentials, the model."""
    BROKEN = 3
    """It fails again and again."""
    SPENT = 4
    """The account has used up what it may use today."""


class Shun(NamedTuple):
    """What is not asked for a while.

    Attributes:
        trouble: Why.
        scope: One model on one account, or the whole account.
        seconds: For how long, unless the error says longer.
    """

    trouble: Trouble
    scope: Literal["target", "account"]
    seconds: float


class Rule(Struct, frozen=True):
    """What is done about one kind of failure.

    Attributes:
        retries: How often one request is sent again because of it, at most.
        base: The first backoff, in seconds, at its longest; every further one is twice as long.
        moves: Another account or model may do better.
        at_once: It is asked before this one is asked again.
        shun: What is not asked for a while.
        weakens: It tells of an upstream in bad health, not of a bad request.
    """

    retries: int = 0
    base: float = 0.5
    moves: bool = False
    at_once: bool = False
    shun: Shun | None = None
    weakens: bool = False


_STOP: Final = Rule()
_SLOW: Final = Rule(weakens=True)
_ONCE: Final = Rule(retries=1)
_BROKEN: Final = Rule(retries=2, moves=True, weakens=True)
_BROKEN_ONCE: Final = Rule(retries=1, moves=True, weakens=True)
# The model's own crash is often the request's doing: it must not close the model to everybody.
_CRASHED: Final = Rule(retries=1, moves=True)
_CAPACITY: Final = Rule(retries=2, moves=True, at_once=True, shun=Shun(Trouble.BUSY, "target", 5.0))
_RATE: Final = Rule(retries=1, base=2.0, moves=True, at_once=True, shun=Shun(Trouble.BUSY, "target", 0.0))
# The edge counts by our address, which is the same for every account and model.
_ADDRESS_LIMIT: Final = Rule(retries=1, base=2.0)
_OUR_OWN_LIMIT: Final = Rule(moves=True, at_once=True)
_QUOTA: Final = Rule(moves=True, at_once=True, shun=Shun(Trouble.SPENT, "account", 60.0))
_NO_CREDIT: Final = Rule(moves=True, at_once=True, shun=Shun(Trouble.REFUSED, "target", 300.0))
_NOT_SERVED: Final = Rule(moves=True, at_once=True, shun=Shun(Trouble.REFUSED, "target", 3600.0))
_NOT_LET_IN: Final = Rule(moves=True, at_once=True, shun=Shun(Trouble.REFUSED, "account", 60.0))

_BY_CODE: Final[Mapping[int, Rule]] = {
    1015: _ADDRESS_LIMIT,
    1101: _BROKEN_ONCE,
    1102: _BROKEN_ONCE,
    2018: _RATE,
    3007: _ONCE,
    3008: _ONCE,
    3021: _RATE,
    3023: _NOT_LET_IN,
    3036: _QUOTA,
    3040: _CAPACITY,
    3046: _STOP,
    4006: _QUOTA,
    7009: _BROKEN,
    8005: _CRASHED,
}
"""By Cloudflare's code, where the kind of error does not tell enough."""

_BY_STATUS: Final[Mapping[int, Rule]] = {
    408: _ONCE,
    409: Rule(retries=2, moves=True),
    504: _BROKEN,
    524: _SLOW,
}
"""By the upstream's HTTP status, likewise, where there is no code."""

_NOT_THEIRS: Final = frozenset({UNMET, EMPTY, TOTAL_TIMEOUT})
"""Codes of answers that came and are no good, which is no matter of the connection, and of our own bound."""

_BY_CLASS: Final[tuple[tuple[type[ApiError], Rule], ...]] = (
    (UpstreamTruncated, _BROKEN_ONCE),
    (UpstreamBroken, _BROKEN),
    # A request that is slow once is slow again, and every time it is charged for.
    (UpstreamTimeout, _SLOW),
    (UpstreamRefused, _NOT_LET_IN),
    (Forbidden, _NOT_SERVED),
    (NotFound, _NOT_SERVED),
    (QuotaExhausted, _NO_CREDIT),
)
"""By the kind of error, for all the rest; the first that fits decides."""


def rule_for(error: ApiError) -> Rule:
    """What is done about a failure of the upstream, or on the way to it."""
    if error.code in _NOT_THEIRS:
        return _STOP
    if error.upstream_code is not None and (rule := _BY_CODE.get(error.upstream_code)) is not None:
        return rule
    status = error.upstream_status
    if isinstance(error, RateLimited):
        # Where the upstream was not asked, it was the guard in front of it that refused.
        return _RATE if status is not None or error.upstream_code is not None else _OUR_OWN_LIMIT
    if isinstance(error, Overloaded):
        # Likewise it was this proxy that did not ask.
        return _BROKEN if status is not None or error.upstream_code is not None else _OUR_OWN_LIMIT
    if error.upstream_code is None and status is not None and (rule := _BY_STATUS.get(status)) is not None:
        return rule
    if isinstance(error, UpstreamTimeout) and error.code == UNREACHABLE:
        return _BROKEN
    return next((rule for kind, rule in _BY_CLASS if isinstance(error, kind)), _STOP)


class Step(Enum):
    """What comes after a failure."""

    AGAIN = "again"
    """The same target is asked again."""
    ELSEWHERE = "elsewhere"
    """The next target is asked."""
    STOP = "stop"
    """The failure is the client's to know."""


class Patience(Struct, frozen=True):
    """How much is done for one request.

    Attributes:
        retries: How often it is sent again to the same target, over all targets; 0 for never.
        longest_wait: The longest pause before that, in seconds. What asks for a longer one is not waited for.
        longest_backoff: The longest pause of our own choosing.
    """

    retries: int = 2
    longest_wait: float = 15.0
    longest_backoff: float = 8.0


def next_step(
    error: ApiError,
    patience: Patience,
    *,
    retried: int,
    sound: bool,
    elsewhere: bool,
    affordable: bool,
    left: float,
    roll: float,
) -> tuple[Step, float]:
    """Decide what comes after a failure, and after how many seconds.

    Args:
        error: The failure.
        patience: How much is done for one request.
        retried: How often this request was sent again already.
        sound: The target has not just been found to be broken.
        elsewhere: There is another target that may be asked.
        affordable: The budget of retries is not used up.
        left: Seconds until the request's own end.
        roll: A random number from 0 to 1.
    """
    rule = rule_for(error)
    may_move = rule.moves and elsewhere and left > 0
    if may_move and rule.at_once:
        return Step.ELSEWHERE, 0.0
    if sound and affordable and retried < min(rule.retries, patience.retries):
        # Of any length up to the whole, so that those who failed together do not come back together.
        seconds = (error.retry_after or 0.0) + roll * min(rule.base * 2**retried, patience.longest_backoff)
        if (error.retry_after or 0.0) <= patience.longest_wait and seconds < left:
            return Step.AGAIN, seconds
    return (Step.ELSEWHERE, 0.0) if may_move and affordable else (Step.STOP, 0.0)


class RetryBudget:
    """How many calls may be made beyond the first of every request, so that an outage is not multiplied.

    In any time, no more than ``most``, ``share`` of the requests and ``per_second`` for every second.

    Args:
        share: What every request adds.
        per_second: What time adds.
        most: The most that is saved up.
    """

    __slots__ = ("_most", "_per_second", "_saved", "_share", "_since")

    def __init__(self, share: float = 0.1, per_second: float = 1.0, most: float = 10.0) -> None:
        self._share = share
        self._per_second = per_second
        self._most = most
        self._saved = most
        self._since: float | None = None

    def earn(self) -> None:
        """A request has begun."""
        if self._saved < self._most:
            self._saved = min(self._saved + self._share, self._most)

    def has(self, now: float) -> bool:
        """There is enough for one more call.

        Args:
            now: The time, in seconds.
        """
        since = now if self._since is None else self._since
        self._saved = min(self._saved + max(now - since, 0.0) * self._per_second, self._most)
        self._since = now
        return self._saved >= 1.0

    def spend(self) -> None:
        """One more call is made."""
        self._saved -= 1.0
