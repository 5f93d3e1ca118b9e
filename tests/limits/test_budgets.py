"""Budgets, wherever they are counted."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.cost import FREE, Cost, Rates
from app.core.errors import Overloaded, QuotaExhausted, RateLimited
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import Estimate
from app.limits.buckets import BucketStats, Charge, Refused
from app.limits.memory import MemoryBuckets
from app.limits.spec import MAX_SPENT, MICRO, Plan
from tests.limits.backend import HandClock, Ledger, Limiter, caller, until

# A neuron is a token.
RATES = Rates(1.0, 1.0, 1.0)
DAY = 86_400
TILL_MIDNIGHT = 15 * 3_600 + 6 * 60 + 40
"""The tests' clock starts on 2025-10-09 at 08:53:20."""


def of(prompt, output, *, stated=True, rates=RATES):
    return Estimate(prompt, output, stated, rates)


async def refused(limits, estimate, who="key-1"):
    with pytest.raises(QuotaExhausted) as raised:
        await limits.admit(caller(who), "m", estimate)
    return raised.value


async def spend(limits, neurons, estimate=None):
    reservation = await limits.admit(caller(), "m", estimate or of(0, 1))
    await reservation.settle(Usage(1, 1), Cost(neurons, "reported"))


async def left(limits, who="key-1"):
    """What is left of the budgets, in neurons: one that states no limit would get all of it."""
    try:
        reservation = await limits.admit(caller(who), "m", of(10**6, 1, stated=False))
    except QuotaExhausted:
        return 0
    await reservation.settle(None)
    costs = [spent.cost for spent in reservation._hold.standing.spent]
    assert costs.count(max(costs)) >= 1
    if hasattr(reservation._hold, "_costs"):
        return min(reservation._hold._costs) / MICRO
    return min(reservation._hold._counters[3::4]) / MICRO


async def test_a_used_up_budget_is_told_with_its_renewal_and_no_retry(make_limits):
    limits = make_limits(LimitSpec(usd_per_month=5))
    await spend(limits, 5 / 1.1e-5)
    error = await refused(limits, of(0, 0, rates=FREE))
    assert error.message == (
        "You exceeded your current quota: the budget of 5 USD per month is used up; "
        "it is renewed at 2025-11-01T00:00:00Z (in 23 days)."
    )
    assert (error.status, error.type, error.code, error.param) == (
        429, "insufficient_quota", "insufficient_quota", None,
    )  # fmt: skip
    assert (error.should_retry, error.retry_after) == (False, None)


async def test_cost_is_reserved_before_and_settled_after(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    first = await limits.admit(caller(), "m", of(10, 60))
    assert await left(limits) == 30
    error = await refused(limits, of(1, 30))
    assert error.message == (
        "You exceeded your current quota: of the budget of 100 neurons per day 30 neurons are left, and this request "
        "may cost 31 neurons. Lower the token limit of the output, or wait: "
        "it is renewed at 2025-10-10T00:00:00Z (in 16 hours)."
    )
    await first.settle(Usage(10, 5), Cost(15.5, "reported"))
    assert await left(limits) == 84.5
    await (await limits.admit(caller(), "m", of(1, 83))).settle(None)
    assert await left(limits) == 84.5


async def test_settling_twice_counts_once(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    reservation = await limits.admit(caller(), "m", of(0, 50))
    for _ in range(2):
        await reservation.settle(Usage(1, 1), Cost(20, "reported"))
    assert await left(limits) == 80


async def test_who_states_no_limit_gets_what_is_left_and_may_pass_it_by_one_answer(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    await spend(limits, 60)
    long = await limits.admit(caller(), "m", of(10, 127_000, stated=False))
    assert await left(limits) == 0
    # Everything is reserved, so nobody else comes in, whatever it may cost.
    for estimate in (of(1, 1), of(0, 0, rates=FREE), of(10, 127_000, stated=False)):
        await refused(limits, estimate)
    await long.settle(Usage(10, 5_000), Cost(5_010, "reported"))
    assert "is used up" in (await refused(limits, of(1, 1))).message


async def test_the_last_micro_neuron_lets_one_request_in(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=1))
    await spend(limits, 1 - 1e-6)
    assert await left(limits) == 1e-6
    assert "less than 0.000001 neurons" not in (await refused(limits, of(0, 1))).message
    held = await limits.admit(caller(), "m", of(0, 0, rates=FREE))
    await refused(limits, of(0, 0, rates=FREE))
    await held.settle(None)
    await limits.admit(caller(), "m", of(0, 100, stated=False))


async def test_a_request_larger_than_the_budget_is_told_so(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=0.25))
    error = await refused(limits, of(1, 0))
    assert error.message == (
        "You exceeded your current quota: this request may cost 1 neurons, more than the whole budget of 0.25 neurons "
        "per day. Shorten the input or lower the token limit of the output."
    )
    await limits.admit(caller(), "m", of(1, 1_000, stated=False))


async def test_a_budget_begins_anew_with_each_day(make_limits, clock):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    await spend(limits, 100)
    clock.advance(TILL_MIDNIGHT - 1)
    assert "(in 1 minute)" in (await refused(limits, of(0, 1))).message
    clock.advance(1)
    assert await left(limits) == 100


async def test_day_and_month_are_both_counted_and_admit_together(make_limits, clock):
    limits = make_limits(LimitSpec(neurons_per_day=100, neurons_per_month=150))
    await spend(limits, 100)
    clock.advance(TILL_MIDNIGHT)
    for _ in range(3):
        assert "budget of 150 neurons per month" in (await refused(limits, of(0, 51))).message
    assert await left(limits) == 50
    await spend(limits, 50)
    assert "per month" in (await refused(limits, of(0, 1))).message


async def test_of_two_budgets_for_a_period_the_smaller_holds(make_limits):
    limits = make_limits(LimitSpec(neurons_per_month=100, usd_per_month=0.00055))
    assert await left(limits) == 50
    assert "budget of 0.00055 USD per month" in (await refused(limits, of(0, 51))).message
    # It is one counter: with other limits, what was spent is known.
    await spend(limits, 40)
    limits.spec = LimitSpec(neurons_per_month=90)
    assert await left(limits) == 50


async def test_what_was_admitted_before_midnight_belongs_to_the_day_before(make_limits, clock):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    late, later = [await limits.admit(caller(), "m", of(0, 40)) for _ in range(2)]
    clock.advance(TILL_MIDNIGHT)
    assert await left(limits) == 100
    await spend(limits, 30)
    await late.settle(None)
    await later.settle(Usage(1, 1), Cost(90, "reported"))
    assert await left(limits) == 70


async def test_a_budget_comes_before_a_rate_limit(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=2, tokens_per_minute=50, concurrency=1, neurons_per_day=100))
    await spend(limits, 100)
    held = of(40, 60)
    error = await refused(limits, held)
    assert "budget of 100 neurons" in error.message
    assert error.headers["x-ratelimit-remaining-requests"] == "1"
    limits.spec = LimitSpec(requests_per_minute=1, neurons_per_day=1_000)
    with pytest.raises(RateLimited):
        await limits.admit(caller(), "m", of(0, 1))


async def test_a_refused_request_reserves_nothing(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=1, neurons_per_day=100))
    await limits.admit(caller(), "m", of(0, 10))
    for _ in range(5):
        with pytest.raises(RateLimited):
            await limits.admit(caller(), "m", of(0, 10))
    limits.spec = LimitSpec(neurons_per_day=100)
    assert await left(limits) == 90


async def test_callers_do_not_share_a_budget(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=100))
    await spend(limits, 100)
    assert await left(limits, "key-2") == 100


async def test_a_budget_begins_with_what_the_ledger_knows_and_asks_once(make_limits, clock):
    ledger = Ledger({"day": 30 * MICRO, "month": 70 * MICRO})
    limits = make_limits(LimitSpec(neurons_per_day=100, neurons_per_month=150), ledger)
    assert await left(limits) == 70
    await spend(limits, 50)
    assert await left(limits) == 20
    assert ledger.asked == [("key-1", "day"), ("key-1", "month")]
    clock.advance(TILL_MIDNIGHT)
    ledger.spent = {"day": 5 * MICRO}
    assert await left(limits) == 30
    assert ledger.asked[2:] == [("key-1", "day")]


async def test_many_who_come_at_once_open_a_budget_once(make_limits):
    ledger = Ledger(40 * MICRO)
    limits = make_limits(LimitSpec(neurons_per_day=100), ledger)
    ledger.gate.clear()
    waiting = [asyncio.ensure_future(limits.admit(caller(), "m", of(0, 10))) for _ in range(20)]
    await until(lambda: ledger.asked)
    ledger.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 6
    assert all(isinstance(answer, QuotaExhausted) for answer in answers if isinstance(answer, BaseException))
    assert len(ledger.asked) == 1
    assert await left(limits) == 0


async def test_what_the_ledger_knows_may_be_more_than_the_budget(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=100), Ledger(10**30))
    assert "is used up" in (await refused(limits, of(0, 1))).message


async def test_counts_stay_within_what_all_numbers_hold(make_limits):
    limits = make_limits(LimitSpec(neurons_per_day=10**9, usd_per_month=49_000))
    held = [await limits.admit(caller(), "m", of(0, 1)) for _ in range(9)]
    for reservation in held:
        await reservation.settle(Usage(1, 1), Cost(10**30, "reported"))
    limits.spec = LimitSpec(usd_per_month=49_000)
    with pytest.raises(QuotaExhausted) as raised:
        await limits.admit(caller(), "m", of(0, 1))
    assert raised.value.__context__.standing.spent[0].cost == MAX_SPENT


async def test_a_ledger_that_is_away_is_no_ledger_of_nothing(make_limits):
    class Away(Overloaded):
        pass

    ledger = Ledger(40 * MICRO, failure=Away())
    limits = make_limits(LimitSpec(requests_per_minute=10, concurrency=2, neurons_per_day=100), ledger)
    for _ in range(3):
        with pytest.raises(Away):
            await limits.admit(caller(), "m", of(0, 10))
    assert limits.buckets.stats == BucketStats(unavailable=3)
    ledger.failure = None
    reservation = await limits.admit(caller(), "m", of(0, 10))
    assert reservation.headers["x-ratelimit-remaining-requests"] == "9"
    assert await left(limits) == 50


async def test_who_leaves_while_a_budget_is_opened_has_taken_nothing(make_limits):
    ledger = Ledger()
    limits = make_limits(LimitSpec(requests_per_minute=10, concurrency=1, neurons_per_day=100), ledger)
    ledger.gate.clear()
    leaving, staying = [asyncio.ensure_future(limits.admit(caller(), "m", of(0, 10))) for _ in range(2)]
    await until(lambda: ledger.asked)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    ledger.gate.set()
    reservation = await staying
    assert reservation.headers["x-ratelimit-remaining-requests"] == "9"
    await reservation.settle(None)
    assert await left(limits) == 100


async def test_buckets_count_what_they_do(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=2))
    for _ in range(2):
        await limits.admit(caller(), "m", of(0, 1))
    for _ in range(3):
        with pytest.raises(RateLimited):
            await limits.admit(caller(), "m", of(0, 1))
    assert limits.buckets.stats == BucketStats(admitted=2, refused=3)


async def test_the_wait_is_that_after_which_it_fits(make_buckets, clock):
    buckets = make_buckets()
    plan = Plan.of(LimitSpec(requests_per_minute=3, tokens_per_minute=600, concurrency=9, neurons_per_day=5))

    async def wait(charge):
        with pytest.raises(Refused) as raised:
            await buckets.take("account:1:é\udcff", plan, charge)
        assert raised.value.charge == charge
        return raised.value.standing.wait(charge)

    hold = await buckets.take("account:1:é\udcff", plan, Charge(300, 3 * MICRO))
    assert hold.standing.wait(Charge(300, 2 * MICRO)) == 0
    assert hold.standing.refusal(Charge(300, 2 * MICRO)) is None
    assert await wait(Charge(400, 1)) == 10_000_000
    assert hold.standing.refusal(Charge(400, 1)).by.name == "tm"
    assert await wait(Charge(601, 1)) is None
    assert await wait(Charge(1, 3 * MICRO)) == TILL_MIDNIGHT * 1_000_000
    assert await wait(Charge(601, 3 * MICRO)) is None
    assert hold.standing.refusal(Charge(601, 3 * MICRO)).by.period == "day"
    assert await wait(Charge(1, 6 * MICRO)) is None
    clock.advance(10)
    await buckets.take("account:1:é\udcff", plan, Charge(400, 1))


costs = st.integers(0, 60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.integers(0, 20), costs, st.booleans()),
        st.tuples(st.just("admit"), st.integers(0, 20), costs, st.booleans()),
        st.tuples(st.just("settle"), st.integers(0, 30), st.one_of(st.none(), st.integers(0, 90))),
        st.tuples(st.just("wait"), st.one_of(st.integers(0, 3_600), st.integers(DAY // 2, DAY))),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps, limit=st.sampled_from([1, 50, 200]), default=st.sampled_from([0, 20, 1_000]))
async def test_costs_pass_the_budget_by_no_more_than_the_stated_bound(steps, limit, default):
    clock = HandClock()
    limits = Limiter(
        MemoryBuckets(clock=clock, wall=clock.wall),
        LimitSpec(neurons_per_day=limit),
        default_reservation=default,
    )
    open_, days = [], {}
    for step in steps:
        if step[0] == "wait":
            clock.advance(step[1])
        elif step[0] == "settle" and open_:
            request = open_.pop(step[1] % len(open_))
            request["cost"] = step[2] or 0
            cost = None if step[2] is None else Cost(step[2], "reported")
            await request["reservation"].settle(Usage(step[2] or 0, 0), cost)
        elif step[0] == "admit":
            _, prompt, output, stated = step
            day = days.setdefault(int(clock.wall() // DAY), {"admitted": [], "open": []})
            before = sum(request.get("cost", request["reserved"]) for request in day["admitted"])
            want = prompt + (output if stated else min(output, default))
            try:
                reservation = await limits.admit(caller(), "m", of(prompt, output, stated=stated))
            except QuotaExhausted:
                # None is refused that fits.
                assert before + max(want if stated else 0, 1e-6) > limit
                continue
            reserved = max(min(want, limit - before), 1e-6)
            assert reservation._hold._costs == [round(reserved * MICRO)]
            request = {"reservation": reservation, "reserved": reserved}
            open_.append(request)
            day["admitted"].append(request)
            day["open"] = [other for other in day["admitted"] if "cost" not in other]
    for day in days.values():
        spent = sum(request.get("cost", request["reserved"]) for request in day["admitted"])
        over = sum(max(request.get("cost", 0) - request["reserved"], 0) for request in day["open"])
        assert spent <= limit + over + 1e-6
