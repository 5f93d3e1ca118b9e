import pytest

from app.limits.admission import Estimate
from app.limits.gcra import DAY, MINUTE
from app.limits.spec import MAX_COUNT, LimitSpec, Plan, Plans


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
    assert (plan.concurrency, plan.tokens, plan.holds) == (4, 30_000, True)


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
    assert plan.reserve(estimate, 2_048) == reserved


def test_equal_specs_share_a_plan():
    plans = Plans()
    assert plans(LimitSpec(5)) is plans(LimitSpec(5))
    assert plans(LimitSpec(5)) is not plans(LimitSpec(6))
