from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.limits.gcra import DAY, FULL, MINUTE, SECOND, Level, charged, decide, refunded, span, stretched

NOW = 1_760_000_000_000_000
counts = st.integers(1, 10**9)
periods = st.sampled_from([MINUTE, DAY])


def test_a_full_bucket_admits_its_count_and_then_tells_the_wait():
    tat = 0
    for used in range(1, 61):
        decision = decide(tat, NOW, 60, MINUTE, 1)
        assert decision.admitted
        assert (decision.used, decision.remaining, decision.reset) == (used, 60 - used, used * SECOND)
        tat = decision.tat
    refused = decide(tat, NOW, 60, MINUTE, 1)
    assert not refused.admitted
    assert refused.tat == tat
    assert refused.retry_after == SECOND
    assert decide(tat, NOW + SECOND - 1, 60, MINUTE, 1).retry_after == 1
    assert decide(tat, NOW + SECOND, 60, MINUTE, 1).admitted


def test_the_figures_are_those_of_a_real_answer():
    # 30,000 tokens per minute, 25,265 used, 8,020 asked for: "try again in 6.57s", and full again in 50.53 s.
    used = decide(0, NOW, 30_000, MINUTE, 25_265)
    assert (used.remaining, used.reset) == (4_735, 50_530_000)
    refused = decide(used.tat, NOW, 30_000, MINUTE, 8_020)
    assert (refused.used, refused.requested, refused.retry_after) == (25_265, 8_020, 6_570_000)
    assert decide(0, NOW, 500, MINUTE, 1).reset == 120_000


def test_what_is_larger_than_the_limit_never_fits():
    decision = decide(0, NOW, 100, MINUTE, 101)
    assert not decision.admitted
    assert decision.retry_after is None


def test_a_debt_is_waited_out():
    level = charged(Level(NOW, NOW), NOW, span(250, 100, MINUTE))
    decision = decide(level.tat, NOW, 100, MINUTE, 10)
    assert (decision.used, decision.remaining) == (250, 0)
    assert decision.retry_after == span(160, 100, MINUTE)


@given(counts, periods)
def test_exactly_the_count_fits_where_the_period_is_stretched(count, period):
    stretch = stretched(count, period)
    assert period <= stretch <= period * 1.001
    assert span(count, count, stretch) == stretch
    if stretch % count == 0:
        assert span(1, count, stretch) * count == stretch


@given(counts, periods, st.integers(0, 2**51), st.integers(1, 10**9))
def test_remaining_is_the_largest_cost_that_fits(count, period, backlog, cost):
    period = stretched(count, period)
    tat = NOW + backlog
    decision = decide(tat, NOW, count, period, cost)
    assert decision.admitted == (cost <= decide(tat, NOW, count, period, 0).remaining)
    assert decision.reset == max(decision.tat - NOW, 0)


@given(counts, periods, st.integers(0, 2**40), st.integers(1, 10**9))
def test_the_wait_is_enough_and_not_a_microsecond_too_long(count, period, backlog, cost):
    period = stretched(count, period)
    wait = decide(NOW + backlog, NOW, count, period, cost).retry_after
    if wait:
        assert decide(NOW + backlog, NOW + wait, count, period, cost).admitted
        assert not decide(NOW + backlog, NOW + wait - 1, count, period, cost).admitted
    assert (wait is None) == (cost > count)


@given(
    count=st.integers(1, 200_000),
    period=periods,
    steps=st.lists(st.tuples(st.integers(0, 2 * 10**7), st.integers(1, 50_000)), max_size=40),
)
def test_no_interval_takes_more_than_the_limit(count, period, steps):
    width = stretched(count, period)
    tat, now, taken = 0, NOW, []
    for pause, cost in steps:
        now += pause
        decision = decide(tat, now, count, width, cost)
        tat = decision.tat
        if decision.admitted:
            taken.append((now, cost))
    for first in range(len(taken)):
        total = 0
        for now, cost in taken[first:]:
            total += cost
            assert total <= count + Fraction(count * (now - taken[first][0]), period)


@pytest.mark.parametrize("count", [1, 3, 7, 60, 6_001, 59_999, 99_991, 1_000_003])
def test_a_caller_that_waits_as_told_gets_its_rate(count):
    cost = 1 if count < 60_000 else 500
    tat, now, admitted = 0, NOW, 0
    while admitted < count + min(count, 2_000):
        decision = decide(tat, now, count, stretched(count, MINUTE), cost)
        tat = decision.tat
        now += decision.retry_after or 0
        admitted += decision.requested if decision.admitted else 0
    ideal = Fraction((admitted - count) * MINUTE, count)
    assert ideal <= now - NOW <= ideal * Fraction(1001, 1000) + span(cost, count, MINUTE)


def test_a_refund_is_owed_only_until_the_bucket_is_full():
    taken = charged(FULL, NOW, 30 * SECOND)
    assert taken == Level(NOW + 30 * SECOND, NOW)
    assert refunded(taken, NOW + SECOND, 20 * SECOND, taken.since).tat == NOW + 10 * SECOND
    assert refunded(taken, NOW + 25 * SECOND, 20 * SECOND, taken.since).tat == NOW + 25 * SECOND
    assert refunded(taken, NOW + 31 * SECOND, 20 * SECOND, taken.since) == taken
    later = charged(taken, NOW + 31 * SECOND, 30 * SECOND)
    assert refunded(later, NOW + 31 * SECOND, 20 * SECOND, taken.since) == later


def test_two_stretches_in_one_microsecond_have_different_names():
    first = charged(FULL, NOW, SECOND)
    empty = refunded(first, NOW, SECOND, first.since)
    second = charged(empty, NOW, SECOND)
    assert second.since != first.since
    assert refunded(second, NOW, SECOND, first.since) == second
