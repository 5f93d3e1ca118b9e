"""The account's neurons of the day: stopped before the upstream stops, and told when they are renewed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.cost import Rates
from app.core.errors import Overloaded, QuotaExhausted
from app.limits.admission import Estimate
from app.limits.memory import MemoryBuckets
from app.limits.quota import AccountQuota
from app.limits.redis import RedisBuckets
from app.limits.spec import MICRO
from tests.limits.backend import need_redis, new_prefix

ACCOUNT = "0123456789abcdef"
NOON = 1_760_011_200 + 43_200 - 1_760_011_200 % 86_400
MIDNIGHT = NOON + 43_200


class Calendar:
    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        return self.now


def worth(neurons, *, stated=True):
    """A request that may cost so many neurons."""
    return Estimate(0, 1, stated, Rates(0.0, neurons, 0.0))


def quota_of(calendar, *, plan="free", spent=0, opened=None, **options):
    async def opening(owner, period):
        if opened is not None:
            opened.append((owner, period))
        return spent * MICRO

    buckets = MemoryBuckets(clock=lambda: round(calendar() * MICRO), wall=calendar, opening=opening)
    return AccountQuota(buckets, ACCOUNT, plan=plan, clock=calendar, **options)


async def refusal(quota, estimate):
    with pytest.raises(QuotaExhausted) as caught:
        await quota.admit(estimate)
    error = caught.value
    assert (error.status, error.type, error.code) == (429, "insufficient_quota", "insufficient_quota")
    assert error.should_retry is False
    assert ACCOUNT not in error.message
    return error


async def test_the_free_allocation_stops_what_it_is_too_small_for_until_midnight():
    calendar, opened = Calendar(), []
    quota = quota_of(calendar, spent=9_000, opened=opened)
    hold = await quota.admit(worth(800))
    assert opened == [(f"account:{ACCOUNT}", "day")]
    error = await refusal(quota, worth(300))
    assert error.retry_after == 43_200
    assert error.message == (
        "The Cloudflare account's free allocation of 10,000 neurons a day has 200 left, too few for this request, "
        "which may cost 300. It is renewed at 00:00 UTC, in 43200 seconds. A lower token limit costs less, and the "
        "Workers Paid plan lifts the limit."
    )
    # A cheaper model fits, and what was not spent comes back.
    await quota.admit(worth(150))
    hold.settle(0, 100 * MICRO)
    await quota.admit(worth(300))
    calendar.now = MIDNIGHT
    # The ledger of the new day is empty in truth; this one always says 9,000.
    await quota.admit(worth(1_000))


async def test_a_request_larger_than_the_day_is_told_no_time():
    error = await refusal(quota_of(Calendar()), worth(10_001))
    assert error.retry_after is None
    assert "is too small for this request, which may cost 10,001." in error.message


async def test_a_request_that_states_no_limit_may_have_what_is_left():
    quota = quota_of(Calendar(), spent=9_999)
    await quota.admit(worth(50, stated=False))
    await refusal(quota, worth(50, stated=False))


async def test_what_costs_more_than_was_thought_is_charged():
    quota = quota_of(Calendar())
    hold = await quota.admit(worth(10))
    hold.settle(0, 9_990 * MICRO)
    await quota.admit(worth(10))
    await refusal(quota, worth(1))


async def test_a_paid_plan_has_no_quota_but_what_is_set():
    assert await quota_of(Calendar(), plan="paid").admit(worth(10**9)) is None
    own = quota_of(Calendar(), plan="paid", neurons_per_day=50_000)
    error = await refusal(own, worth(50_001))
    assert "budget, which all keys share, of 50,000 neurons a day" in error.message
    assert "Paid" not in error.message
    await own.admit(worth(50_000))


@pytest.mark.parametrize(("own", "fits", "free"), [(500, 500, False), (10_000, 10_000, True), (20_000, 10_000, True)])
async def test_on_the_free_plan_the_smaller_of_both_holds(own, fits, free):
    quota = quota_of(Calendar(), neurons_per_day=own)
    await quota.admit(worth(fits))
    error = await refusal(quota, worth(1))
    assert ("free allocation" in error.message) is free


@pytest.mark.parametrize("plan", ["free", "paid"])
async def test_what_the_upstream_says_holds_until_midnight(plan):
    calendar = Calendar()
    quota = quota_of(calendar, plan=plan)
    quota.exhausted()
    error = await refusal(quota, worth(0))
    assert error.retry_after == 43_200
    assert "renewed at 00:00 UTC" in error.message
    calendar.now = MIDNIGHT - 0.5
    assert (await refusal(quota, worth(0))).retry_after == 1
    calendar.now = MIDNIGHT
    await quota.admit(worth(1))


async def test_right_after_midnight_the_upstream_may_mean_yesterday():
    calendar = Calendar(MIDNIGHT + 2)
    quota = quota_of(calendar)
    quota.exhausted()
    assert (await refusal(quota, worth(1))).retry_after == 60
    calendar.now += 60
    await quota.admit(worth(1))


async def test_a_quota_that_cannot_be_known_refuses_and_asks_again():
    calendar, away = Calendar(), [True]

    async def opening(owner, period):
        if away:
            raise Overloaded("away")
        return 0

    quota = AccountQuota(MemoryBuckets(wall=calendar, opening=opening), ACCOUNT, plan="free", clock=calendar)
    with pytest.raises(Overloaded):
        await quota.admit(worth(1))
    away.clear()
    await quota.admit(worth(1))


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4_000), st.floats(0, 1.0), st.integers(0, 20_000)),
        max_size=40,
    )
)
async def test_what_keeps_to_its_estimate_never_passes_the_days_allocation(steps):
    calendar = Calendar()
    quota, spent = quota_of(calendar), {}
    for neurons, share, pause in steps:
        calendar.now += pause
        try:
            hold = await quota.admit(worth(neurons))
        except QuotaExhausted:
            continue
        used = round(neurons * share * MICRO)
        hold.settle(0, used)
        day = calendar.now // 86_400
        spent[day] = spent.get(day, 0) + used
    assert all(used <= 10_000 * MICRO for used in spent.values())


async def test_replicas_share_the_day_over_redis():
    url, prefix = need_redis(), new_prefix()
    calendar = Calendar()
    replicas = [RedisBuckets(url, prefix=prefix, timeout=2.0, wall=calendar) for _ in range(2)]
    try:
        first, second = (AccountQuota(one, ACCOUNT, plan="free", clock=calendar) for one in replicas)
        await first.admit(worth(6_000))
        await refusal(second, worth(6_000))
        await second.admit(worth(4_000))
        await refusal(first, worth(1))
    finally:
        for buckets in replicas:
            await buckets.aclose()
