"""What holds for any sequence of requests, and that memory stays bounded."""

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.cost import Cost, Rates
from app.core.errors import QuotaExhausted, RateLimited
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import UNLIMITED, Estimate
from app.limits.buckets import BucketStats
from app.limits.gcra import MINUTE
from app.limits.memory import MemoryBuckets
from tests.limits.backend import HandClock, Ledger, Limiter, caller

steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 120), st.integers(1, 400), st.booleans()),
        st.tuples(st.just("settle"), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 700))),
        st.tuples(st.just("wait"), st.integers(0, 40_000_000)),
    ),
    max_size=60,
)


class Taken:
    """What one admitted request reserved, and what became of it."""

    def __init__(self, reservation, at, reserved):
        self.reservation, self.at, self.reserved = reservation, at, reserved
        self.used, self.settled_at = reserved, None

    @property
    def over(self):
        return max(self.used - self.reserved, 0)


@settings(max_examples=150, deadline=None)
@given(steps=steps, limit=st.sampled_from([100, 333, 1_000]), default=st.sampled_from([0, 50, 200]))
async def test_tokens_pass_the_limit_by_no_more_than_the_stated_bound(steps, limit, default):
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock), LimitSpec(tokens_per_minute=limit), default_reservation=default)
    taken, open_ = [], []
    flying_at_last = []
    for step in steps:
        if step[0] == "wait":
            clock.now += step[1]
        elif step[0] == "settle" and open_:
            request = open_.pop(step[1] % len(open_))
            used = 0 if step[2] is None else step[2]
            await request.reservation.settle(None if step[2] is None else Usage(used, 0))
            request.used, request.settled_at = used, clock.now
        elif step[0] == "admit":
            _, prompt, output, stated = step
            try:
                reservation = await limits.admit(caller(), "m", Estimate(prompt, output, stated))
            except RateLimited:
                continue
            reserved = prompt + (output if stated else min(output, default, max(limit - prompt, 1)))
            flying_at_last = list(open_)
            request = Taken(reservation, clock.now, reserved)
            taken.append(request)
            open_.append(request)
            flying_at_last.append(request)
    if not taken:
        return
    # From an idle start: only those under way at the last admission can be past what they reserved and unpaid.
    allowed = limit + Fraction(limit * (taken[-1].at - taken[0].at), MINUTE)
    assert sum(request.used for request in taken) <= allowed + sum(request.over for request in flying_at_last)
    # In any interval: also what earlier requests had reserved and gave back within it may be used again.
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            end = taken[last].at
            within = taken[first : last + 1]
            given_back = sum(
                max(request.reserved - request.used, 0)
                for request in taken[:first]
                if request.settled_at is not None and request.settled_at >= start.at
            )
            assert sum(request.used for request in within) <= (
                limit
                + Fraction(limit * (end - start.at), MINUTE)
                + sum(request.over for request in within)
                + given_back
            )


@settings(max_examples=100, deadline=None)
@given(
    pauses=st.lists(st.integers(0, 9_000_000), max_size=60),
    limit=st.sampled_from([1, 7, 10]),
    most=st.sampled_from([1, 3, 100]),
)
async def test_requests_and_places_are_never_over_admitted(pauses, limit, most):
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock), LimitSpec(requests_per_minute=limit, concurrency=most))
    admitted, running = [], []
    for number, pause in enumerate(pauses):
        clock.now += pause
        if number % 4 == 3 and running:
            await running.pop(0).settle(None)
        try:
            running.append(await limits.admit(caller(), "m", Estimate(1, 1)))
        except RateLimited:
            continue
        admitted.append(clock.now)
        assert len(running) <= most
    for first, start in enumerate(admitted):
        for last, end in enumerate(admitted[first:], 1):
            assert last <= limit + Fraction(limit * (end - start), MINUTE)


async def test_idle_callers_are_forgotten():
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock), LimitSpec(requests_per_minute=60))
    for number in range(5_000):
        await limits.admit(caller(f"key-{number}"), "m", Estimate(1, 1))
        clock.advance(0.01)
    # One request is forgotten after a second, which is a hundred callers here.
    assert len(limits.buckets) <= 250


async def test_callers_with_requests_under_way_are_not_forgotten():
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock), LimitSpec(concurrency=1))
    held = await limits.admit(caller("held"), "m", Estimate(1, 1))
    for number in range(100):
        await (await limits.admit(caller(f"key-{number}"), "m", Estimate(1, 1))).settle(None)
    assert len(limits.buckets) < 10
    with pytest.raises(RateLimited):
        await limits.admit(caller("held"), "m", Estimate(1, 1))
    await held.settle(None)
    await limits.admit(caller("held"), "m", Estimate(1, 1))


async def test_who_has_no_limits_is_not_counted():
    limits = Limiter(MemoryBuckets(), LimitSpec())
    assert await limits.admit(caller(), "m", Estimate(1, 1)) is UNLIMITED
    assert len(limits.buckets) == 0
    assert limits.buckets.stats == BucketStats()


async def test_a_change_of_the_limits_keeps_what_was_used():
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock), LimitSpec(requests_per_minute=10))
    for _ in range(10):
        await limits.admit(caller(), "m", Estimate(1, 1))
    limits.spec = LimitSpec(requests_per_minute=20)
    with pytest.raises(RateLimited) as raised:
        await limits.admit(caller(), "m", Estimate(1, 1))
    assert raised.value.retry_after == 3.0


async def test_what_was_spent_is_remembered_to_the_end_of_the_month():
    clock = HandClock()
    limits = Limiter(MemoryBuckets(clock=clock, wall=clock.wall), LimitSpec(neurons_per_month=5))
    await (await limits.admit(caller("spender"), "m", Estimate(1, 1))).settle(Usage(1, 1), Cost(5, "reported"))
    for number in range(100):
        limits.spec = LimitSpec(requests_per_minute=60)
        await limits.admit(caller(f"key-{number}"), "m", Estimate(1, 1))
        clock.advance(3_600)
        limits.spec = LimitSpec(neurons_per_month=5)
        with pytest.raises(QuotaExhausted):
            await limits.admit(caller("spender"), "m", Estimate(1, 1))
    clock.advance(30 * 86_400)
    for number in range(10):
        await limits.admit(caller(f"new-{number}"), "m", Estimate(1, 1))
    assert "spender" not in limits.buckets._accounts


async def test_who_waits_for_the_ledger_while_others_come_is_counted_once():
    clock, ledger = HandClock(), Ledger()
    limits = Limiter(MemoryBuckets(clock=clock, wall=clock.wall, opening=ledger), LimitSpec(neurons_per_month=5))
    ledger.gate.clear()
    estimate = Estimate(0, 3, rates=Rates(0.0, 1.0, 0.0))
    waiting = []
    for number in range(3):
        limits.spec = LimitSpec(neurons_per_month=5)
        waiting.append(asyncio.ensure_future(limits.admit(caller(), "m", estimate)))
        await asyncio.sleep(0)
        # Nothing is known of the first yet, so it is forgotten.
        limits.spec = LimitSpec(concurrency=1)
        for other in range(4):
            await (await limits.admit(caller(f"key-{number}-{other}"), "m", estimate)).settle(None)
    ledger.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
