"""The account guard: Cloudflare limits what an account may send to each model in a minute, whichever key it is for.

It is better to wait here for a moment, in turn, than to be refused there. Callers take turns, so that a busy one delays
another's first request by one turn only, and each caller's requests go in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Final, NamedTuple

from app.catalog.rate_limits import requests_per_minute
from app.core.errors import RateLimited
from app.core.model import Model
from app.limits.duration import go_duration, whole_milliseconds
from app.limits.gcra import SECOND
from app.limits.memory import monotonic_microseconds
from app.limits.turns import TAKEN, WINDOW, Turns

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_LEAST_PAUSE: Final = SECOND // 1_000


class Stats(NamedTuple):
    """What the guard has done so far.

    Attributes:
        waiting: Requests that wait now.
        waited: Requests that ever had to wait.
        refused: Requests that were refused, at once or after waiting.
    """

    waiting: int
    waited: int
    refused: int


class AccountGuard:
    """Lets requests through to one account's models, to each as many in a minute as it takes.

    Several processes that share their turns share the minute. Each has its own queue: between processes, whoever asks
    first when a turn is free is first.

    Args:
        turns: Where requests are counted.
        account_id: Whose limits are guarded.
        max_wait: How long a request may wait for its turn, in seconds.
        overrides: Requests per minute that differ from what Cloudflare publishes, by the models' ids.
        clock: Microseconds that never go back.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        turns: Turns,
        account_id: str,
        *,
        max_wait: float,
        overrides: Mapping[str, int] = _NOTHING,
        clock: Callable[[], int] = monotonic_microseconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._turns = turns
        self._account = f"account:{account_id}:"
        self._max_wait = round(max_wait * SECOND)
        self._overrides = overrides
        self._clock = clock
        self._sleep = sleep
        self._lines: dict[str, _Line] = {}
        self._closed: dict[str, int] = {}
        self._waited = 0
        self._refused = 0

    @property
    def stats(self) -> Stats:
        """For metrics."""
        return Stats(sum(len(line) for line in self._lines.values()), self._waited, self._refused)

    async def enter(self, caller_id: str, model: Model) -> None:
        """Wait until a request may be sent to a model. To be called before every call of the upstream.

        Raises:
            RateLimited: Its turn would not come, or has not come, within the time that it may wait.
            Overloaded: Whether it may be sent cannot be found out at the moment.
        """
        line = self._lines.get(model.id)
        if line is None:
            limit = requests_per_minute(model, self._overrides)
            owner = self._account + model.id
            waits = TAKEN
            if not self._closed or not self._closed_until(model.id):
                waits = await self._turns.take(owner, limit)
                if not waits:
                    return
            # While it was asked for a turn, somebody else may have begun a line.
            line = self._lines.get(model.id)
            if line is None:
                line = _Line(model.id, owner, limit)
            if waits:
                line.learn(self._clock(), waits)
        await self._wait(line, caller_id)

    def penalise(self, model: Model, seconds: float) -> None:
        """Let nobody through to a model for a while: the upstream has said that its limit is reached.

        Who waits keeps the place; who could not be let through in time any more is told when the line moves next.

        Args:
            model: The model.
            seconds: For how long, from now on.
        """
        now = self._clock()
        until = max(now + round(seconds * SECOND), self._closed.get(model.id, 0))
        self._closed = {model_id: end for model_id, end in self._closed.items() if end > now}
        self._closed[model.id] = until

    def _closed_until(self, model_id: str) -> int:
        until = self._closed.get(model_id, 0)
        if until and until <= self._clock():
            del self._closed[model_id]
            return 0
        return until

    async def _wait(self, line: _Line, caller_id: str) -> None:
        now = self._clock()
        turn = line.turn_at(line.ahead_of(caller_id), max(now, self._closed_until(line.model_id)))
        if turn - now > self._max_wait:
            raise self._refusal(line, turn - now)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(caller_id, now + self._max_wait, loop.create_future())
        line.add(waiter)
        self._waited += 1
        if line.task is None:
            self._lines[line.model_id] = line
            line.task = loop.create_task(self._serve(line), name="account-guard")
        try:
            error = await waiter.turn
        except BaseException:
            if not waiter.turn.done() or waiter.turn.cancelled():
                line.remove(waiter)
                self._close_if_empty(line)
            elif waiter.turn.result() is None:
                self._pass_on(line.model_id)
            raise
        if error is not None:
            raise error

    async def _serve(self, line: _Line) -> None:
        """Ask for the whole line, one turn after the other, as long as anybody waits."""
        try:
            await self._give_turns(line)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            for waiter in line.in_turn():
                line.remove(waiter)
                waiter.end(copy(error))
        finally:
            # The end of the event loop is the only one at which somebody still waits.
            for waiter in line.in_turn():
                waiter.turn.cancel()
            if self._lines.get(line.model_id) is line:
                del self._lines[line.model_id]

    async def _give_turns(self, line: _Line) -> None:
        while line:
            now = self._clock()
            turn = line.turn_at(0, max(now, self._closed_until(line.model_id)))
            if turn > now:
                self._refuse_late(line, now, turn)
                if line:
                    await self._sleep((turn - now) / SECOND)
                continue
            waits = await self._turns.take(line.owner, line.limit)
            if waits:
                # Other processes take their turns from the same minute.
                line.learn(self._clock(), waits)
            else:
                line.charge(self._clock())
                line.let_through()
                # Whoever has got it goes on first: turns that are taken while nobody can use them are taken too soon.
                await asyncio.sleep(0)

    def _refuse_late(self, line: _Line, now: int, turn: int) -> None:
        """Refuse those who may not wait as long as until the next turn."""
        if line.first_deadline >= turn:
            return
        for rank, waiter in enumerate(line.in_turn()):
            if waiter.deadline < turn and not waiter.turn.done():
                line.remove(waiter)
                waiter.end(self._refusal(line, line.turn_at(rank, turn) - now))

    def _refusal(self, line: _Line, wait: int) -> RateLimited:
        self._refused += 1
        wait = whole_milliseconds(wait)
        return RateLimited(
            f"Rate limit reached for {line.model_id} on requests per min (RPM) of the upstream account: "
            f"Limit {line.limit}, which all keys share; it is not a limit of your key. "
            f"Please try again in {go_duration(wait)}.",
            retry_after=wait / SECOND,
        )

    def _pass_on(self, model_id: str) -> None:
        """Give a turn whose owner has left to the next. Where nobody waits it is spent, as of all who leave later."""
        line = self._lines.get(model_id)
        if line is not None and not self._closed_until(model_id):
            line.let_through()
            self._close_if_empty(line)

    def _close_if_empty(self, line: _Line) -> None:
        if not line and self._lines.get(line.model_id) is line:
            del self._lines[line.model_id]
            if line.task is not None:
                line.task.cancel()


class _Waiter:
    """A request that waits.

    Attributes:
        caller_id: Whose it is.
        deadline: Until when it may wait.
        turn: Ends with ``None`` when it may be sent, else with why it may not.
    """

    __slots__ = ("caller_id", "deadline", "turn")

    def __init__(self, caller_id: str, deadline: int, turn: asyncio.Future[Exception | None]) -> None:
        self.caller_id = caller_id
        self.deadline = deadline
        self.turn = turn

    def end(self, error: Exception | None) -> bool:
        """End the wait; false for one whose client has left already."""
        if self.turn.done():
            return False
        self.turn.set_result(error)
        return True


class _Line:
    """Those who wait for one model, and when the next turns are.

    Attributes:
        model_id: The model.
        owner: Whose turns they are.
        limit: How many there are in a minute.
        task: Asks for turns as long as somebody waits.
    """

    __slots__ = ("_arrived", "_callers", "_free", "limit", "model_id", "owner", "task")

    def __init__(self, model_id: str, owner: str, limit: int) -> None:
        self.model_id = model_id
        self.owner = owner
        self.limit = limit
        self.task: asyncio.Task[None] | None = None
        # When turns will be free, the soonest first: all of them or, where there are too many to tell, the next ones.
        self._free: deque[int] = deque()
        # Ordered ones, because the first of a plain dict is found slowly after many were taken from its front.
        self._arrived: OrderedDict[_Waiter, None] = OrderedDict()
        self._callers: OrderedDict[str, OrderedDict[_Waiter, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._arrived)

    def learn(self, now: int, waits: Sequence[int]) -> None:
        """How long it is until the next turns are free."""
        # Never nothing, or a line could ask and ask without letting anybody else run.
        self._free = deque(now + max(wait, _LEAST_PAUSE) for wait in waits)

    def charge(self, now: int) -> None:
        """A turn was taken."""
        free = self._free
        if free:
            if len(free) >= self.limit:
                free.append(now + WINDOW)
            free.popleft()

    def turn_at(self, rank: int, start: int) -> int:
        """When a turn is, as far as this process knows: sooner it cannot be.

        Args:
            rank: How many are before it.
            start: There are no turns sooner.
        """
        # When each has been taken once, the first is free again first.
        again, place = divmod(rank, self.limit)
        free = self._free
        if free:
            start = max(start, free[min(place, len(free) - 1)])
        return start + again * WINDOW

    @property
    def first_deadline(self) -> int:
        """Until when the one who has waited longest may wait; all may wait equally long."""
        return next(iter(self._arrived)).deadline

    def add(self, waiter: _Waiter) -> None:
        """Take the last place among those of its caller; a caller who was not there comes after all others."""
        self._arrived[waiter] = None
        self._callers.setdefault(waiter.caller_id, OrderedDict())[waiter] = None

    def remove(self, waiter: _Waiter) -> None:
        """Leave the line; nothing happens when it was left already."""
        if waiter in self._arrived:
            del self._arrived[waiter]
            own = self._callers[waiter.caller_id]
            del own[waiter]
            if not own:
                del self._callers[waiter.caller_id]

    def let_through(self) -> None:
        """Give a turn to the next who is still there; its caller then comes after all others."""
        while self._arrived:
            caller_id, own = next(iter(self._callers.items()))
            waiter = next(iter(own))
            self.remove(waiter)
            if waiter.end(None):
                if own:
                    self._callers.move_to_end(caller_id)
                return

    def ahead_of(self, caller_id: str) -> int:
        """How many turns there are before that of a caller's next request, if nobody else comes."""
        own = len(self._callers.get(caller_id, ()))
        # Before its turn, those who come before it in the round have had one turn more than those who come after it.
        turns, ahead = own + 1, own
        for other, waiters in self._callers.items():
            if other == caller_id:
                turns = own
            else:
                ahead += min(len(waiters), turns)
        return ahead

    def in_turn(self) -> list[_Waiter]:
        """All of them in the order of their turns."""
        order: list[_Waiter] = []
        rounds = [iter(waiters) for waiters in self._callers.values()]
        while rounds:
            first = [(waiters, next(waiters, None)) for waiters in rounds]
            order.extend(waiter for _, waiter in first if waiter is not None)
            rounds = [waiters for waiters, waiter in first if waiter is not None]
        return order
