import math

import pytest

from app.core.cost import Rates
from app.core.limits import MAX_COUNT, MAX_USD, UNLIMITED_SPEC, LimitSpec
from app.limits.admission import Estimate
from app.limits.gcra import DAY, MINUTE
from app.limits.spec import MAX_COST, MICRO, Charge, Plan, Plans, micro_neurons


@pytest.mark.parametrize("value", [0, -1, MAX_COUNT + 1])
def test_a_limit_out_of_range_is_refused_by_name(value):
    with pytest.raises(ValueError, match="tokens_per_day must be between"):
        LimitSpec(tokens_per_day=value)


def test_a_plan_has_a_row_per_limit():
    plan = Plan.of(LimitSpec(60, 1_000, 30_000, 1_000_000, 4))
    assert [(row.unit, row.limit, row.period) for row in plan.dimensions] == [
        ("requests", 60, MINUTE),
        ("requests", 1_000, DAY),
        ("tokens", 30_000, MINUTE),
        ("tokens", 1_000_000, DAY),
    ]
    assert (plan.concurrency, plan.tokens, plan.budgets, plan.holds, plan.free) == (4, 30_000, (), True, False)
    assert Plan.of(UNLIMITED_SPEC).free


def test_a_plan_has_one_budget_per_period_the_smaller():
    plan = Plan.of(LimitSpec(neurons_per_day=500, usd_per_day=0.011, usd_per_month=5))
    assert [(row.period, row.limit, row.amount, row.currency) for row in plan.budgets] == [
        ("day", 500 * MICRO, 500, "neurons"),
        ("month", 454_545_454_545, 5, "USD"),
    ]
    assert (plan.dimensions, plan.holds, plan.free) == ((), True, False)


@pytest.mark.parametrize(
    ("spec", "limit"),
    [
        (LimitSpec(neurons_per_day=0.29), 290_000),
        (LimitSpec(neurons_per_day=0.000_123_456_9), 123),
        (LimitSpec(usd_per_day=0.011), 1_000 * MICRO),
        (LimitSpec(usd_per_day=0.0001), 9_090_909),
        (LimitSpec(neurons_per_day=MAX_COUNT), MAX_COUNT * MICRO),
        (LimitSpec(usd_per_day=MAX_USD), 4_454_545_454_545_454),
    ],
)
def test_a_budget_is_whole_micro_neurons_rounded_down(spec, limit):
    assert Plan.of(spec).budgets[0].limit == limit


@pytest.mark.parametrize(
    ("neurons", "counted"),
    [(0, 0), (1e-9, 1), (1, MICRO), (1.000_000_1, MICRO + 1), (-1, 0), (1e30, MAX_COST), (math.inf, MAX_COST)],
)
def test_a_cost_is_whole_micro_neurons_rounded_up(neurons, counted):
    assert micro_neurons(neurons) == counted


def test_requests_alone_hold_nothing():
    assert Plan.of(LimitSpec(requests_per_minute=1, requests_per_day=1)).holds is False
    assert Plan.of(LimitSpec(concurrency=1)).holds is True
    assert Plan.of(LimitSpec(tokens_per_day=1)).holds is True


@pytest.mark.parametrize(
    ("estimate", "reserved"),
    [
        (Estimate(100, 500), 600),
        (Estimate(100, 50_000), 50_100),  # a stated limit is reserved whole, too large or not
        (Estimate(100, 127_000, stated=False), 2_148),
        (Estimate(100, 50, stated=False), 150),
        (Estimate(9_000, 127_000, stated=False), 10_000),  # what the prompt leaves of the limit
        (Estimate(10_000, 127_000, stated=False), 10_001),  # nothing is left: too large
    ],
)
def test_what_is_reserved(estimate, reserved):
    plan = Plan.of(LimitSpec(tokens_per_minute=10_000, tokens_per_day=1_000_000))
    assert plan.charge(estimate, 2_048) == Charge(reserved)


@pytest.mark.parametrize(
    ("estimate", "charge"),
    [
        (Estimate(100, 50, rates=Rates(1.0, 2.0, 0.0)), Charge(150, 200 * MICRO)),
        (Estimate(100, 9_000, stated=False, rates=Rates(1.0, 2.0, 0.0)), Charge(600, 1_100 * MICRO, whole=False)),
        (Estimate(100, 50), Charge(150, 0)),
    ],
)
def test_what_is_reserved_of_a_budget(estimate, charge):
    assert Plan.of(LimitSpec(neurons_per_day=10)).charge(estimate, 500) == charge


def test_of_a_budget_at_least_one_micro_neuron_is_taken():
    assert (Charge(1, 0).most, Charge(1, 0).least) == (1, 1)
    assert (Charge(1, 50).most, Charge(1, 50).least) == (50, 50)
    assert (Charge(1, 50, whole=False).most, Charge(1, 50, whole=False).least) == (50, 1)


def test_equal_specs_share_a_plan():
    plans = Plans()
    assert plans(LimitSpec(5)) is plans(LimitSpec(5))
    assert plans(LimitSpec(5)) is not plans(LimitSpec(6))
