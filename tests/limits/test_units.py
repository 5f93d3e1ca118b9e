"""What is not priced by tokens takes from budgets what it costs, and from limits on tokens nothing."""

import pytest

from app.core.cost import Rates
from app.core.limits import LimitSpec
from app.limits.admission import Estimate
from app.limits.buckets import Refused
from app.limits.memory import MemoryBuckets
from app.limits.spec import MICRO, Charge, Plan


def test_a_cost_that_is_known_goes_before_rates():
    plan = Plan.of(LimitSpec(tokens_per_minute=100, neurons_per_day=500))
    assert plan.charge(Estimate(3, 2, rates=Rates(1, 1, 1), neurons=7.5), 0) == Charge(5, 7_500_000, whole=True)
    assert plan.charge(Estimate(3, 2, rates=Rates(1, 1, 1)), 0) == Charge(5, 5 * MICRO, whole=True)
    assert plan.charge(Estimate(0, 0, neurons=0.0), 0) == Charge(0, 0, whole=True)


async def test_a_budget_refuses_what_costs_more_than_it_has_left():
    buckets = MemoryBuckets()
    plan = Plan.of(LimitSpec(neurons_per_day=10))
    hold = await buckets.take("one", plan, plan.charge(Estimate(0, 0, neurons=8.0), 0))
    with pytest.raises(Refused):
        await buckets.take("one", plan, plan.charge(Estimate(0, 0, neurons=3.0), 0))
    hold.settle(0, 6 * MICRO)
    await buckets.take("one", plan, plan.charge(Estimate(0, 0, neurons=3.0), 0))
