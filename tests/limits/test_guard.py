"""Turns at the account's limits: never too many, fair between callers, and none lost or doubled when clients leave."""

import asyncio
import heapq
import random
from bisect import bisect_left
from contextlib import asynccontextmanager

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.errors import Overloaded, RateLimited
from app.core.model import Model
from app.limits.gcra import MINUTE, SECOND
from app.limits.guard import AccountGuard, Stats, _Line, _Waiter
from app.limits.turns import MOST_TOLD, WINDOW, MemoryTurns, RedisTurns
from tests.limits.backend import HandClock, need_redis, new_prefix

MODEL = Model("@cf/test/model")
OTHER = Model("@cf/test/other")
ACCOUNT = "0123456789abcdef"
OWNER = f"account:{ACCOUNT}:{MODEL.id}"

crowds = st.lists(st.sampled_from("abcde"), max_size=40)


class HandTime(HandClock):
    """A clock turned by hand, and sleeps that end when it has been turned far enough."""

    def __init__(self):
        super().__init__(1_000_000_000)
        self.sleeping = []
        self.slept = 0

    async def sleep(self, seconds):
        self.slept += 1
        alarm = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleeping, (self.now + -(-round(seconds * 1e9) // 1_000), self.slept, alarm))
        await alarm

    async def run(self, seconds=0.0):
        """Let everything happen that happens within so many seconds."""
        end = self.now + round(seconds * SECOND)
        await rest()
        while self.sleeping and self.sleeping[0][0] <= end:
            alarm = self.next_alarm()
            if not alarm.done():
                alarm.set_result(None)
                await rest()
        self.now = end

    def next_alarm(self):
        """Turn the clock to the end of the next sleep, and return what ends it."""
        moment, _, alarm = heapq.heappop(self.sleeping)
        self.now = max(self.now, moment)
        return alarm


async def rest():
    """Let every task go as far as it can, until all wait for something."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


class Watched:
    """Turns that say who asks for them, take a little longer, and can fail."""

    def __init__(self, turns, rounds=0):
        self.turns, self.rounds = turns, rounds
        self.asked = self.taken = self.asking = self.most_asking = 0
        self.failure = None

    async def take(self, owner, limit):
        self.asked += 1
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            for _ in range(self.rounds):
                await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            waits = await self.turns.take(owner, limit)
        finally:
            self.asking -= 1
        self.taken += not waits
        return waits

    async def aclose(self):
        await self.turns.aclose()


class Scene:
    """A guard of one account, and what became of the requests that came to it."""

    def __init__(self, limit=60, max_wait=30.0, rounds=0):
        self.time = HandTime()
        self.turns = Watched(MemoryTurns(self.time), rounds)
        self.limit = limit
        self.guard = self.make_guard(max_wait)
        self.one = WINDOW // limit / SECOND
        self.drained = []
        self.tasks = []
        self.through = []
        self.refused = {}

    def make_guard(self, max_wait):
        return AccountGuard(
            self.turns,
            ACCOUNT,
            max_wait=max_wait,
            overrides={MODEL.id: self.limit},
            clock=self.time,
            sleep=self.time.sleep,
        )

    def come(self, *names, model=MODEL):
        """One request for each name: the caller's id, or ``caller/what``."""
        self.tasks += [asyncio.create_task(self._request(name, model), name=name) for name in names]
        return self.tasks[-1]

    async def _request(self, name, model):
        try:
            await self.guard.enter(name.partition("/")[0], model)
        except RateLimited as error:
            self.refused[name] = (self.time.now, error)
        else:
            self.through.append((self.time.now, name))

    @property
    def names(self):
        return [name for _, name in self.through]

    async def drain(self):
        """Let others have taken all turns of the last minute, evenly: the next is free after ``one``, and so on."""
        began = self.time.now
        for number in range(self.limit):
            self.time.now = began + number * (WINDOW // self.limit)
            self.drained.append(self.time.now)
            await self.take_elsewhere()
        self.time.now = began + WINDOW - WINDOW // self.limit

    async def take_elsewhere(self):
        """Let another process take a turn."""
        assert not await self.turns.turns.take(OWNER, self.limit)

    def assert_idle(self):
        assert self.guard._lines == {}
        assert self.guard.stats.waiting == 0
        running = asyncio.all_tasks() - {asyncio.current_task()}
        assert not running, running


@asynccontextmanager
async def scene(**options):
    made = Scene(**options)
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await rest()
    made.assert_idle()


def most_in_a_minute(moments):
    """The most of them in any 60 seconds, of which the last moment is not one."""
    return max((bisect_left(moments, moment + MINUTE) - index for index, moment in enumerate(moments)), default=0)


# As many as there are


@pytest.mark.parametrize("limit", [1, 2, 20, 300])
async def test_all_turns_of_a_minute_may_be_taken_at_once_and_then_none(limit):
    async with scene(limit=limit, max_wait=WINDOW / SECOND - 1) as s:
        began = s.time.now
        s.come(*["a"] * limit)
        await rest()
        assert s.through == [(began, "a")] * limit
        s.come("late")
        await rest()
        assert s.refused["late"][1].retry_after == WINDOW / SECOND
        await s.time.run(1)
        s.come("in time")
        await s.time.run(60)
        assert s.through[limit:] == [(began + WINDOW, "in time")]


async def test_no_turn_is_left_unused_while_somebody_waits():
    async with scene(max_wait=300) as s:
        began = s.time.now
        s.come(*(f"{number % 7}/{number}" for number in range(5 * s.limit)))
        await s.time.run(300)
        assert [at - began for at, _ in s.through] == [lap * WINDOW for lap in range(5) for _ in range(s.limit)]


async def test_turns_come_back_as_they_were_taken():
    async with scene(limit=6, max_wait=10) as s:
        began = s.time.now
        for seconds in (2, 54):
            s.come("a", "b", "c")
            await s.time.run(seconds)
        assert len(s.through) == 6
        s.through.clear()
        s.come(*(f"a/{number}" for number in range(9)))
        await rest()
        # Five seconds to the first three, seven to the next: the others would wait for the first ones' next time.
        waits = {name: error.retry_after for name, (_, error) in s.refused.items()}
        assert waits == {f"a/{number}": 5 + WINDOW / SECOND for number in (6, 7, 8)}
        await s.time.run(10)
        assert [(at - began) / SECOND for at, _ in s.through] == [61] * 3 + [63] * 3


async def test_turns_that_come_together_are_not_taken_before_they_can_be_used():
    async with scene(limit=3, max_wait=70) as s:
        s.come("a", "b", "c")
        await rest()
        used = []

        async def request():
            await s.guard.enter("a", MODEL)
            used.append(s.turns.taken)

        s.tasks += [asyncio.create_task(request()) for _ in range(3)]
        await s.time.run(62)
        assert used == [4, 5, 6]


# With room


async def test_with_room_a_request_is_one_question_and_no_task():
    async with scene() as s:
        before = asyncio.all_tasks()
        for _ in range(s.limit):
            await s.guard.enter("a", MODEL)
        assert s.turns.asked == s.limit
        assert asyncio.all_tasks() == before
        assert s.guard.stats == Stats(0, 0, 0)
        s.assert_idle()


async def test_models_have_turns_of_their_own():
    async with scene() as s:
        await s.drain()
        await s.guard.enter("a", OTHER)
        s.come("a")
        await rest()
        assert s.names == []
        await s.time.run(s.one)
        assert s.names == ["a"]


# Turns


async def test_a_busy_caller_delays_anothers_first_request_by_one_turn():
    async with scene(limit=3_000, max_wait=60) as s:
        await s.drain()
        s.come(*(f"busy/{number}" for number in range(1_000)))
        await rest()
        s.come("quiet")
        await rest()
        assert s.guard.stats.waiting == 1_001
        await s.time.run(2.5 * s.one)
        assert s.names == ["busy/0", "quiet"]
        await s.time.run(30)
        assert s.names == ["busy/0", "quiet", *(f"busy/{number}" for number in range(1, 1_000))]
        s.assert_idle()


async def test_callers_take_turns_and_each_ones_requests_keep_their_order():
    async with scene() as s:
        await s.drain()
        for name in ("a/1", "a/2", "a/3", "b/1", "c/1", "c/2"):
            s.come(name)
            await rest()
        await s.time.run(1.5 * s.one)
        assert s.names == ["a/1"]
        s.come("d/1")
        await s.time.run(6 * s.one)
        assert s.names == ["a/1", "b/1", "c/1", "a/2", "d/1", "c/2", "a/3"]


async def test_a_newcomer_does_not_overtake_those_who_wait():
    async with scene() as s:
        await s.drain()
        s.come("a")
        await rest()
        # There is a turn, and the line has not woken up for it yet.
        s.time.now += round(s.one * SECOND)
        s.come("b")
        await s.time.run()
        assert s.names == ["a"]
        await s.time.run(s.one)
        assert s.names == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(crowd=crowds, turns=st.integers(0, 15), newcomer=st.sampled_from("abcdef"))
async def test_what_is_expected_of_a_place_is_what_comes(crowd, turns, newcomer):
    loop = asyncio.get_running_loop()
    line = _Line(MODEL.id, "owner", 60)
    for caller in crowd:
        line.add(_Waiter(caller, 0, loop.create_future()))
    for _ in range(turns):
        line.let_through()
    expected = line.ahead_of(newcomer)
    last = _Waiter(newcomer, 0, loop.create_future())
    line.add(last)
    order = line.in_turn()
    assert order.index(last) == expected
    for waiter in order:
        assert not waiter.turn.done()
        line.let_through()
        assert waiter.turn.done()
    assert len(line) == 0


@settings(max_examples=200, deadline=None)
@given(
    taken=st.lists(st.integers(0, WINDOW), min_size=5, max_size=5),
    pauses=st.lists(st.one_of(st.just(0), st.integers(0, 20 * SECOND)), min_size=1, max_size=15),
)
# Two wait, one of them goes, and of those who come then some get the turn that it has taken.
@example(taken=[0, SECOND, 50 * SECOND, 51 * SECOND, 52 * SECOND], pauses=[0, 2_500_000, 0, 0, 0, 0])
async def test_what_is_expected_of_a_turn_is_when_it_comes(taken, pauses):
    async with scene(limit=5, max_wait=300) as s:
        began = s.time.now
        for moment in sorted(taken):
            s.time.now = began + moment
            await s.take_elsewhere()
        s.time.now = max(s.time.now, began + WINDOW - 2 * SECOND)
        expected = []
        for number, pause in enumerate(pauses):
            s.come(f"a/{number}")
            await rest()
            line = s.guard._lines.get(MODEL.id)
            expected.append(line.turn_at(len(line) - 1, s.time.now) if line else s.time.now)
            if pause:
                await s.time.run(pause / SECOND)
        await s.time.run(300)
        assert [at for at, _ in s.through] == expected


def test_beyond_what_is_told_a_turn_is_expected_no_sooner_than_the_last_of_that():
    line = _Line(MODEL.id, OWNER, 2 * MOST_TOLD)
    assert [line.turn_at(rank, 7) for rank in (0, 2 * MOST_TOLD - 1, 2 * MOST_TOLD)] == [7, 7, 7 + WINDOW]
    waits = [SECOND * (number + 1) for number in range(MOST_TOLD)]
    line.learn(7, waits)
    last = 7 + waits[-1]
    expected = [7 + SECOND, last, last, last, 7 + SECOND + WINDOW]
    ranks = (0, MOST_TOLD - 1, MOST_TOLD, 2 * MOST_TOLD - 1, 2 * MOST_TOLD)
    assert [line.turn_at(rank, 7) for rank in ranks] == expected
    for _ in range(MOST_TOLD - 1):
        line.charge(last)
    assert [line.turn_at(rank, 7) for rank in (0, 1)] == [last, last]
    for _ in range(2):
        line.charge(last)
    assert line.turn_at(0, last) == last


async def test_one_task_asks_for_all_and_about_once_for_each_turn():
    async with scene(limit=300, rounds=2) as s:
        await s.drain()
        s.come(*(f"caller-{number % 7}" for number in range(60)))
        await rest()
        s.turns.asked = s.turns.most_asking = 0
        assert len(asyncio.all_tasks()) == 60 + 2
        await s.time.run(60 * s.one)
        assert len(s.names) == 60
        assert s.turns.most_asking == 1
        assert s.turns.asked <= 61
        s.assert_idle()


async def test_each_turn_comes_when_it_is_free_and_not_later():
    async with scene() as s:
        await s.drain()
        began = s.time.now
        s.come(*"abcd")
        await s.time.run(10 * s.one)
        assert [(at - began) / SECOND for at, _ in s.through] == pytest.approx([s.one * n for n in (1, 2, 3, 4)])


# The bound


async def test_who_would_wait_too_long_is_refused_at_once_and_told_when():
    async with scene(max_wait=5) as s:
        await s.drain()
        fits = int(5 / s.one)
        s.come(*(f"a/{number}" for number in range(fits)), "a/late")
        await rest()
        assert list(s.refused) == ["a/late"]
        at, error = s.refused["a/late"]
        assert at == s.time.now
        assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
        assert error.retry_after == pytest.approx((fits + 1) * s.one, abs=0.001)
        assert error.should_retry is None
        assert f"Limit {s.limit}" in error.message
        assert "not a limit of your key" in error.message
        assert ACCOUNT not in error.message
        assert s.guard.stats == Stats(fits, fits, 1)
        await s.time.run(error.retry_after)
        assert len(s.names) == fits
        await s.guard.enter("a", MODEL)


async def test_the_bound_of_a_busy_caller_is_not_that_of_another():
    async with scene(max_wait=5) as s:
        await s.drain()
        s.come(*(f"busy/{number}" for number in range(100)))
        await rest()
        refused = len(s.refused)
        assert refused == 100 - int(5 / s.one)
        s.come("quiet/1", "quiet/2")
        await rest()
        assert len(s.refused) == refused
        await s.time.run(4.5 * s.one)
        assert s.names == ["busy/0", "quiet/1", "busy/1", "quiet/2"]
        # Those who came after it have pushed back the busy one's last.
        await s.time.run(10)
        assert len(s.names) + len(s.refused) == 102
        assert {name.partition("/")[0] for name in s.refused} == {"busy"}


async def test_nobody_waits_longer_than_the_bound_when_others_take_the_turns():
    async with scene(max_wait=5) as s:
        await s.drain()
        s.come(*(f"a/{number}" for number in range(4)))
        await rest()
        came = s.time.now
        for _ in range(20):
            # Another process is always a little sooner.
            s.time.now += round(s.one * SECOND)
            await s.take_elsewhere()
            await s.time.run()
        assert s.names == []
        assert len(s.refused) == 4
        assert all(at - came <= 5 * SECOND for at, _ in s.refused.values())
        waits = sorted(error.retry_after for _, error in s.refused.values())
        assert waits == pytest.approx([s.one * rank for rank in (1, 2, 3, 4)], abs=0.002)


async def test_without_waiting_every_refusal_is_at_once():
    async with scene(max_wait=0) as s:
        await s.drain()
        s.come("a")
        await rest()
        assert list(s.refused) == ["a"]
        s.assert_idle()


# What the upstream says


async def test_a_penalty_holds_everybody_back_and_keeps_the_order():
    async with scene() as s:
        await s.drain()
        s.come("a/1", "a/2", "b/1")
        await rest()
        s.guard.penalise(MODEL, 10)
        s.come("c/1")
        await s.guard.enter("x", OTHER)
        await s.time.run(9.99)
        assert s.names == []
        await s.time.run(0.02)
        # Meanwhile there are turns.
        assert s.names == ["a/1", "b/1", "c/1", "a/2"]
        s.assert_idle()


async def test_a_penalty_without_a_line_begins_one_and_is_forgotten():
    async with scene() as s:
        s.guard.penalise(MODEL, 2)
        s.guard.penalise(MODEL, 1)
        s.come("a")
        await s.time.run(1.9)
        assert (s.names, s.turns.asked) == ([], 0)
        await s.time.run(0.2)
        assert s.names == ["a"]
        s.guard.penalise(OTHER, 1)
        await s.time.run(2)
        await s.guard.enter("a", OTHER)
        assert s.guard._closed == {}


async def test_a_penalty_beyond_the_bound_refuses_with_its_end():
    async with scene(max_wait=5) as s:
        await s.drain()
        s.come("early")
        await rest()
        s.guard.penalise(MODEL, 20)
        s.come("late")
        await rest()
        assert s.refused["late"][1].retry_after == pytest.approx(20)
        # The one who waits already is told when the line moves, and not only when its time is over.
        await s.time.run(s.one)
        assert s.refused["early"][1].retry_after == pytest.approx(20 - s.one, abs=0.001)
        s.assert_idle()


async def test_turns_that_cannot_be_asked_for_fail_those_who_wait_and_the_next_asks_anew():
    async with scene(rounds=1) as s:
        await s.drain()
        waiting = [s.come(name) for name in "abc"]
        await rest()
        s.turns.failure = Overloaded("away", retry_after=1.0)
        await s.time.run(s.one)
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(type(failure), failure.message, failure.retry_after) for failure in failures] == [
            (Overloaded, "away", 1.0)
        ] * 3
        assert len({id(failure) for failure in failures}) == 3
        with pytest.raises(Overloaded):
            await s.guard.enter("a", MODEL)
        s.turns.failure = None
        s.assert_idle()
        await s.guard.enter("a", MODEL)


async def test_a_defect_in_the_turns_leaves_nobody_waiting():
    async with scene() as s:
        await s.drain()
        waiting = s.come("a")
        await rest()
        s.turns.failure = ZeroDivisionError("a defect")
        await s.time.run(s.one)
        with pytest.raises(ZeroDivisionError):
            await waiting
        s.assert_idle()


# Clients that leave


async def test_who_leaves_the_line_costs_nobody_a_turn():
    async with scene() as s:
        await s.drain()
        for name in ("a/1", "a/2", "b/1"):
            s.come(name)
        await rest()
        s.tasks[-3].cancel()
        await s.time.run(2.5 * s.one)
        assert s.names == ["a/2", "b/1"]
        assert s.turns.taken == 2


async def test_the_last_to_leave_closes_the_line():
    async with scene(rounds=2) as s:
        await s.drain()
        task = s.come("a")
        await rest()
        task.cancel()
        await rest()
        s.assert_idle()
        await s.time.run(s.one)
        assert s.turns.taken == 0


async def test_a_turn_given_to_one_who_leaves_in_that_moment_goes_to_the_next():
    async with scene() as s:
        await s.drain()
        first = s.come("a")
        s.come("b", "c")
        await rest()
        turn = next(iter(s.guard._lines[MODEL.id]._arrived)).turn
        s.time.next_alarm().set_result(None)
        while not turn.done():
            await asyncio.sleep(0)
        # It has its turn and does not know yet.
        assert not first.done()
        first.cancel()
        await rest()
        assert first.cancelled()
        assert s.names == ["b"]
        assert s.turns.taken == 1
        await s.time.run(s.one)
        assert s.names == ["b", "c"]


async def test_a_turn_left_behind_is_not_given_away_during_a_penalty():
    async with scene() as s:
        await s.drain()
        first = s.come("a")
        s.come("b")
        await rest()
        turn = next(iter(s.guard._lines[MODEL.id]._arrived)).turn
        s.time.next_alarm().set_result(None)
        while not turn.done():
            await asyncio.sleep(0)
        first.cancel()
        s.guard.penalise(MODEL, 3)
        await s.time.run(2.9)
        assert s.names == []
        await s.time.run(0.2)
        assert s.names == ["b"]


async def test_one_who_leaves_as_the_turn_is_taken_is_passed_over():
    async with scene() as s:
        await s.drain()
        first = s.come("a")
        s.come("b")
        await rest()
        # The line wakes up first, and finds one who has left and could not say so yet.
        s.time.next_alarm().set_result(None)
        first.cancel()
        await rest()
        assert s.names == ["b"]
        assert s.turns.taken == 1


async def test_a_storm_of_leaving_clients_loses_and_doubles_nothing():
    chance = random.Random(7)
    async with scene(limit=600, max_wait=20, rounds=3) as s:
        await s.drain()
        alive = []
        for number in range(3_000):
            alive.append(s.come(f"key-{chance.randrange(9)}/{number}"))
            if chance.random() < 0.7:
                # At any point: before it began, while it asks, in the line, or in the moment of its turn.
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                alive.pop(chance.randrange(max(len(alive) - 100, 0), len(alive))).cancel()
            if chance.random() < 0.2:
                await s.time.run(chance.uniform(0, 4 * s.one))
        await s.time.run(60)
        await asyncio.gather(*s.tasks, return_exceptions=True)
        left = sum(task.cancelled() for task in s.tasks)
        assert len(s.through) + len(s.refused) + left == 3_000
        assert left > 1_000
        assert most_in_a_minute(s.drained + [at for at, _ in s.through]) <= s.limit
        # A turn is spent without anybody going only where the line was empty in that moment.
        assert 0 <= s.turns.taken - len(s.through) <= 5
        s.assert_idle()
        assert s.guard._closed == {}


async def test_the_end_of_the_loop_leaves_no_task_behind():
    async with scene() as s:
        await s.drain()
        waiting = s.come("a")
        await rest()
        pump = next(task for task in asyncio.all_tasks() if task.get_name() == "account-guard")
        pump.cancel()
        await rest()
        assert waiting.cancelled()


# Whatever happens

steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abcd"), st.integers(1, 5)),
        st.tuples(st.just("leave"), st.integers(0, 1_000)),
        st.tuples(st.just("wait"), st.integers(0, 8_000)),
        st.tuples(st.just("penalise"), st.integers(1, 5_000)),
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None)
@given(
    steps=steps,
    limit=st.sampled_from([2, 20, 60]),
    max_wait=st.sampled_from([0, 3, 15]),
    rounds=st.integers(0, 2),
    drained=st.booleans(),
)
async def test_turns_are_fair_in_order_within_the_bound_and_never_too_many(steps, limit, max_wait, rounds, drained):
    async with scene(limit=limit, max_wait=max_wait, rounds=rounds) as s:
        if drained:
            await s.drain()
        came, closed, number = {}, [], 0
        for step in steps:
            if step[0] == "come":
                for _ in range(step[2]):
                    s.come(f"{step[1]}/{number}")
                    came[f"{step[1]}/{number}"] = s.time.now
                    number += 1
                    await rest()
            elif step[0] == "leave" and s.tasks:
                s.tasks[step[1] % len(s.tasks)].cancel()
                await rest()
            elif step[0] == "wait":
                await s.time.run(step[1] / 1_000)
            elif step[0] == "penalise":
                s.guard.penalise(MODEL, step[1] / 1_000)
                closed.append((s.time.now, s.time.now + step[1] * 1_000))
        await s.time.run(max_wait + 1)
        assert all(task.done() for task in s.tasks)
        assert s.turns.most_asking <= 1
        assert most_in_a_minute(s.drained + [at for at, _ in s.through]) <= limit
        assert s.turns.taken == len(s.through)
        ended = {name: at for at, name in s.through} | {name: at for name, (at, _) in s.refused.items()}
        assert all(at - came[name] <= max_wait * SECOND for name, at in ended.items())
        for at, name in s.through:
            assert not any(begin < at < end for begin, end in closed), name
        numbers = [(caller, int(number)) for caller, _, number in (name.partition("/") for name in s.names)]
        for caller in "abcd":
            own = [number for other, number in numbers if other == caller]
            assert own == sorted(own)


@settings(max_examples=120, deadline=None)
@given(crowd=crowds, leaving=st.sets(st.integers(0, 39)))
async def test_while_a_callers_first_request_waits_no_other_has_two_turns(crowd, leaving):
    async with scene(limit=600, max_wait=600) as s:
        await s.drain()
        waiting = [s.come(f"{caller}/{number}") for number, caller in enumerate(crowd)]
        await rest()
        for number in leaving & set(range(len(crowd))):
            waiting[number].cancel()
        await s.time.run(s.one * (len(crowd) + 1))
        callers = [name[0] for name in s.names]
        stayed = [caller for number, caller in enumerate(crowd) if number not in leaving]
        assert sorted(callers) == sorted(stayed)
        for index, caller in enumerate(callers):
            # From one's turn on, or from the beginning, until one's next.
            before = callers[:index]
            since = before[len(before) - before[::-1].index(caller) :] if caller in before else before
            assert len(since) == len(set(since))


# Shared with other processes


async def test_processes_that_share_turns_share_the_minute():
    async with scene(max_wait=60) as s:
        second = s.make_guard(60)
        await s.drain()
        began, through = s.time.now, []

        async def request(guard, caller):
            await guard.enter(caller, MODEL)
            through.append(s.time.now)

        s.tasks += [asyncio.create_task(request(guard, "a")) for guard in (s.guard, second) for _ in range(20)]
        await s.time.run(60)
        assert most_in_a_minute(s.drained + through) <= s.limit
        # And nothing of it is left unused.
        assert [(at - began) / SECOND for at in through] == pytest.approx([s.one * n for n in range(1, 41)], abs=0.002)


async def test_the_same_over_redis():
    url, prefix = need_redis(), new_prefix()
    limit, step = 40, 10_000

    def redis_now():
        with redis.Redis.from_url(url) as client:
            seconds, microseconds = client.time()
        return seconds * SECOND + microseconds

    # Somebody has taken all turns, so that they come back in a moment, one after the other.
    clock = HandClock(redis_now() + 300_000 - WINDOW)
    before = RedisTurns(url, prefix=prefix, timeout=2.0, clock=clock)
    replicas = [RedisTurns(url, prefix=prefix, timeout=2.0) for _ in range(2)]
    guards = [AccountGuard(turns, ACCOUNT, max_wait=5, overrides={MODEL.id: limit}) for turns in replicas]
    try:
        for _ in range(limit):
            assert not await before.take(OWNER, limit)
            clock.now += step
        calls = [guards[number % 2].enter(f"key-{number % 5}", MODEL) for number in range(limit)]
        await asyncio.gather(*calls)
        # The last one has come back, whichever process asked for it, and none is left.
        assert redis_now() >= clock.now - step + WINDOW
        assert [guard.stats.waiting for guard in guards] == [0, 0]
        with pytest.raises(RateLimited) as raised:
            await guards[0].enter("key-1", MODEL)
        assert WINDOW / SECOND - 5 < raised.value.retry_after < WINDOW / SECOND
    finally:
        for turns in (before, *replicas):
            await turns.aclose()
