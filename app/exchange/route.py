"""The way of one request from target to target: where it is sent, and after a failure whether, where and when again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from app.cloudflare.client import CloudflareClient
from app.core.errors import ApiError, Overloaded, QuotaExhausted
from app.core.model import Model
from app.dialects.errors import read_failure
from app.exchange.attempts import Patience, RetryBudget, Step, Trouble, next_step, rule_for
from app.exchange.health import Health, Standing
from app.exchange.targets import first
from app.wire.codec import encode

RATE_LIMITED: Final = 3021
"""Cloudflare's code for more requests to a model in a minute than the account may send."""

QUOTA: Final = 3036

DAY: Final = 86_400

EARLY: Final = 300
"""Seconds of a day (UTC) in which a quota may still be yesterday's."""

_log = logging.getLogger(__name__)


def _anything(_: Model) -> bool:
    """Any model can take the request."""
    return True


class Guard(Protocol):
    """Keeps an account below the upstream's own limits."""

    async def enter(self, caller_id: str, model: Model) -> None:
        """Wait until a request may be sent to a model.

        Raises:
            ApiError: It may not, within the time that it may wait.
        """

    def penalise(self, model: Model, seconds: float) -> None:
        """Let nobody through to a model for a while: the upstream says that its limit is reached."""


class Account(Struct, frozen=True):
    """One Cloudflare account.

    Attributes:
        name: What it is called in logs, such as ``account-1``: never its id.
        client: The connection to it.
        guard: Keeps it below the upstream's limits, if anything does.
    """

    name: str
    client: CloudflareClient
    guard: Guard | None = None


Target: TypeAlias = tuple[Account, Model]
"""One model on one account."""


class Rules(Struct, frozen=True):
    """What all requests share on their ways.

    Attributes:
        health: What is known of the targets; ``None`` to remember nothing.
        patience: How much is done for one request.
        budget: What all of them together may do.
        clock: Unix seconds.
        roll: A random number from 0 to 1.
        believes_quota: When all accounts have used up their quota, none is asked before it is renewed.
    """

    health: Health | None
    patience: Patience
    budget: RetryBudget
    clock: Callable[[], float]
    roll: Callable[[], float]
    believes_quota: bool = True


class Route:
    """The way of one request.

    Use: ``start``; before every call ``enter``; after it ``answered`` and then ``succeeded`` or ``failed``, or else
    ``after`` or ``abandoned``.

    Args:
        account: Where it is to be asked first.
        model: What is to be asked first.
        others: Where else it may be asked, in the order of preference; each target is turned to once.
        rules: What all requests share.
        retries: ``False`` never to ask the same target again.

    Attributes:
        account: Where it is asked now.
        model: What is asked there.
    """

    __slots__ = ("_called", "_number", "_others", "_patience", "_retried", "_rules", "account", "model")

    def __init__(
        self, account: Account, model: Model, others: Sequence[Target], rules: Rules, *, retries: bool = True
    ) -> None:
        self.account = account
        self.model = model
        self._others = others
        self._rules = rules
        self._patience = rules.patience if retries else Patience(retries=0)
        self._retried = 0
        self._number = 0
        self._called = False

    @property
    def others(self) -> Sequence[Target]:
        """Where else it may be asked, in the order of preference."""
        return self._others

    @property
    def elsewhere(self) -> bool:
        """There is another target that may be asked."""
        return bool(self._others) and self._next(self._rules.clock(), _anything) is not None

    def start(self, fits: Callable[[Model], bool] = _anything) -> None:
        """Choose the first target.

        Args:
            fits: Another model can take the request.

        Raises:
            QuotaExhausted: All accounts have used up what they may use today.
            Overloaded: None of the targets may be asked at the moment.
        """
        self._rules.budget.earn()
        health = self._rules.health
        if health is None or health.clear:
            return
        now = self._rules.clock()
        targets = [(self.account, self.model), *self._others]
        while True:
            standings = [self._standing(target, now) for target in targets]
            place = first(standings)
            if place is None and not self._rules.believes_quota:
                # Its quota may have been raised meanwhile; being told again costs nothing.
                spent = (standing is not None and standing.trouble is Trouble.SPENT for standing in standings)
                place = next((place for place, is_spent in enumerate(spent) if is_spent), None)
            if place is None:
                raise _refusal([standing for standing in standings if standing is not None], now)
            account, model = targets[place]
            if model is self.model or fits(model):
                break
            targets = [target for target in targets if target[1] is not model]
        self.account, self.model = account, model
        del targets[place]
        self._others = targets

    def enter(self) -> None:
        """The target is called now.

        Raises:
            Overloaded: It has been found to be broken since it was chosen.
        """
        health = self._rules.health
        self._number = 0
        if health is not None and not health.clear:
            now = self._rules.clock()
            standing = self._standing((self.account, self.model), now)
            if standing is not None and standing.trouble is Trouble.BROKEN:
                raise _refusal([standing], now)
            self._number = health.enter(self.account.name, self.model.id, now)
        self._called = True

    def answered(self) -> None:
        """An answer has begun."""
        health = self._rules.health
        # A number other than 0 is that of a call which the breaker has let through after failures.
        if self._number and health is not None:
            health.answered(self.account.name, self.model.id, self._number, self._rules.clock())

    def succeeded(self) -> None:
        """An answer has come to its end."""
        health = self._rules.health
        self._called = False
        if health is not None and not health.clear:
            health.succeed(self.account.name, self.model.id, self._number, self._rules.clock())

    def failed(self, error: ApiError) -> None:
        """An answer broke off that cannot be begun anew."""
        self._note(error, self._rules.clock())

    def abandoned(self) -> None:
        """The call was given up before it said anything."""
        health = self._rules.health
        if health is not None and self._called:
            self._called = False
            health.abandon(self.account.name, self.model.id, self._number, self._rules.clock())

    def after(self, error: ApiError, left: float, fits: Callable[[Model], bool] = _anything) -> float | None:
        """Decide what comes after a failure of which the client has seen nothing.

        Args:
            error: The failure.
            left: Seconds until the request's own end.
            fits: Another model can take the request.

        Returns:
            Seconds to wait before the target, which may be another one now, is asked; ``None`` when it is over.
        """
        rules = self._rules
        now = rules.clock()
        self._note(error, now)
        following = self._next(now, fits)
        standing = self._standing((self.account, self.model), now)
        step, seconds = next_step(
            error,
            self._patience,
            retried=self._retried,
            sound=standing is None or standing.trouble is not Trouble.BROKEN,
            elsewhere=following is not None,
            affordable=rules.budget.has(now),
            left=left,
            roll=rules.roll(),
        )
        if step is Step.STOP:
            return None
        if step is Step.AGAIN:
            self._retried += 1
            rules.budget.spend()
            return seconds
        assert following is not None  # noqa: S101 - there is an elsewhere
        if not rule_for(error).at_once:
            rules.budget.spend()
        self._others = [target for target in self._others if target is not following]
        self.account, self.model = following
        return seconds

    def _note(self, error: ApiError, now: float) -> None:
        """Remember what a failure tells of its target."""
        rule, health = rule_for(error), self._rules.health
        account, model = self.account, self.model
        called, self._called = self._called, False
        if error.upstream_code == RATE_LIMITED and account.guard is not None:
            account.guard.penalise(model, error.retry_after or 0.0)
        if health is None:
            return
        if rule.shun is not None:
            spent = rule.shun.trouble is Trouble.SPENT
            # Clocks disagree: early in the day it may be yesterday's quota that is meant, so it is asked again soon.
            wait = None if spent and now % DAY < EARLY else error.retry_after
            if health.shun(account.name, model.id, rule.shun, wait, now) and spent:
                _log.warning("%s has used up what it may use today", account.name)
        if rule.weakens:
            if health.fail(account.name, model.id, self._number, now):
                _log.warning("%s keeps failing to run %s: it is given a pause", account.name, model.id)
        elif called:
            health.abandon(account.name, model.id, self._number, now)

    def _standing(self, target: Target, now: float) -> Standing | None:
        health = self._rules.health
        return None if health is None else health.standing(target[0].name, target[1].id, now)

    def _next(self, now: float, fits: Callable[[Model], bool]) -> Target | None:
        for target in self._others:
            if self._standing(target, now) is None and (target[1] is self.model or fits(target[1])):
                return target
        return None


def _refusal(standings: Sequence[Standing], now: float) -> ApiError:
    """Why none of the targets may be asked."""
    broken = [standing.seconds for standing in standings if standing.trouble is Trouble.BROKEN]
    if broken:
        return Overloaded(
            "Workers AI keeps failing to run this model and is given a pause. Please try again later.",
            retry_after=min(broken),
        )
    # In the words in which the upstream's own refusal would be told.
    failure = read_failure(429, {}, encode({"success": False, "errors": [{"code": QUOTA}]}), now)
    assert isinstance(failure, QuotaExhausted)  # noqa: S101 - that is what the code means
    return failure
