"""What every limiter does, wherever it keeps its numbers."""

import asyncio

import pytest

from app.core.errors import RateLimited
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import Estimate
from tests.limits.backend import caller

ONE = Estimate(1, 1)


async def refused(limits, estimate=ONE, who="key-1"):
    with pytest.raises(RateLimited) as raised:
        await limits.admit(caller(who), "gpt-oss-20b", estimate)
    return raised.value


async def test_the_request_past_the_limit_is_told_when_to_come_back(make_limits, clock):
    limits = make_limits(LimitSpec(requests_per_minute=3))
    for remaining in (2, 1, 0):
        reservation = await limits.admit(caller(), "gpt-oss-20b", ONE)
        assert reservation.headers == {
            "x-ratelimit-limit-requests": "3",
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": {2: "20s", 1: "40s", 0: "1m0s"}[remaining],
        }
    error = await refused(limits)
    assert error.message == (
        "Rate limit reached for gpt-oss-20b in organization key-1 on requests per min (RPM): "
        "Limit 3, Used 3, Requested 1. Please try again in 20s."
    )
    assert (error.status, error.type, error.code, error.param) == (429, "requests", "rate_limit_exceeded", None)
    assert error.retry_after == 20
    assert error.should_retry is None
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    clock.advance(19.9999)
    assert (await refused(limits)).retry_after == 0.001
    clock.advance(0.0001)
    await limits.admit(caller(), "gpt-oss-20b", ONE)


async def test_tokens_are_reserved_before_and_settled_after(make_limits):
    limits = make_limits(LimitSpec(tokens_per_minute=30_000))
    first = await limits.admit(caller(), "gpt-oss-20b", Estimate(5_265, 20_000))
    assert first.headers == {
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "4735",
        "x-ratelimit-reset-tokens": "50.53s",
    }
    error = await refused(limits, Estimate(20, 8_000))
    assert error.message.endswith(
        "on tokens per min (TPM): Limit 30000, Used 25265, Requested 8020. Please try again in 6.57s."
    )
    assert (error.type, error.retry_after) == ("tokens", 6.57)
    await first.settle(Usage(5_000, 1_000))
    second = await limits.admit(caller(), "gpt-oss-20b", Estimate(20, 8_000))
    assert second.headers["x-ratelimit-remaining-tokens"] == str(30_000 - 6_000 - 8_020)


async def test_what_was_not_used_comes_back_whole_and_the_request_stays_counted(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=10, tokens_per_minute=1_000))
    for remaining in (9, 8):
        reservation = await limits.admit(caller(), "m", Estimate(100, 900))
        assert reservation.headers["x-ratelimit-remaining-requests"] == str(remaining)
        assert reservation.headers["x-ratelimit-remaining-tokens"] == "0"
        await reservation.settle(None)


async def test_settling_twice_counts_once(make_limits):
    limits = make_limits(LimitSpec(tokens_per_minute=1_000, concurrency=2))
    first = await limits.admit(caller(), "m", Estimate(100, 100))
    second = await limits.admit(caller(), "m", Estimate(100, 100))
    await first.settle(None)
    await first.settle(None)
    third = await limits.admit(caller(), "m", Estimate(100, 100))
    assert third.headers["x-ratelimit-remaining-tokens"] == "600"
    error = await refused(limits)
    assert "on concurrent requests: Limit 2, Used 2, Requested 1. Please try again in 1s." in error.message
    await second.settle(None)


async def test_what_was_used_beyond_is_owed(make_limits, clock):
    limits = make_limits(LimitSpec(tokens_per_minute=1_000), default_reservation=400)
    reservation = await limits.admit(caller(), "m", Estimate(100, 127_000, stated=False))
    assert reservation.headers["x-ratelimit-remaining-tokens"] == "500"
    await reservation.settle(Usage(100, 2_900))
    error = await refused(limits, Estimate(50, 50))
    assert "Limit 1000, Used 3000, Requested 100. Please try again in 2m6s." in error.message
    clock.advance(126)
    await limits.admit(caller(), "m", Estimate(50, 50))


async def test_a_request_larger_than_the_limit_is_told_so(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=1, tokens_per_minute=1_000, tokens_per_day=800))
    error = await refused(limits, Estimate(500, 500))
    assert error.message.startswith(
        "Request too large for gpt-oss-20b in organization key-1 on tokens per day (TPD): Limit 800, Requested 1000."
    )
    assert (error.type, error.code, error.retry_after, error.should_retry) == (
        "tokens", "rate_limit_exceeded", None, False,
    )  # fmt: skip
    await limits.admit(caller(), "m", Estimate(400, 400))


async def test_a_request_that_states_no_limit_fits_a_small_bucket(make_limits):
    limits = make_limits(LimitSpec(tokens_per_minute=1_000))
    reservation = await limits.admit(caller(), "m", Estimate(300, 127_000, stated=False))
    assert reservation.headers["x-ratelimit-remaining-tokens"] == "0"
    await reservation.settle(None)
    assert "Request too large" in (await refused(limits, Estimate(1_000, 127_000, stated=False))).message


async def test_all_limits_admit_or_nothing_is_taken(make_limits, clock):
    limits = make_limits(LimitSpec(requests_per_minute=10, tokens_per_minute=1_000, concurrency=5))
    await limits.admit(caller(), "m", Estimate(500, 400))
    for _ in range(20):
        await refused(limits, Estimate(500, 400))
    last = await limits.admit(caller(), "m", Estimate(50, 50))
    assert last.headers["x-ratelimit-remaining-requests"] == "8"
    clock.advance(60)
    for _ in range(3):
        await limits.admit(caller(), "m", ONE)
    assert "concurrent requests" in (await refused(limits)).message


async def test_the_longest_wait_is_told(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=1, requests_per_day=24))
    await limits.admit(caller(), "m", ONE)
    error = await refused(limits)
    assert "requests per min" in error.message
    assert error.retry_after == 60
    assert error.headers["x-ratelimit-limit-requests"] == "1"
    limits = make_limits(LimitSpec(requests_per_minute=1, requests_per_day=1))
    await limits.admit(caller(), "m", ONE)
    error = await refused(limits)
    assert error.message.endswith(
        "on requests per day (RPD): Limit 1, Used 1, Requested 1. Please try again in 24h0m0s."
    )


async def test_callers_do_not_share(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=1))
    await limits.admit(caller("poor"), "m", ONE)
    limits.spec = LimitSpec(requests_per_minute=2)
    await limits.admit(caller("rich"), "m", ONE)
    await limits.admit(caller("rich"), "m", ONE)
    assert "organization rich" in (await refused(limits, who="rich")).message
    limits.spec = LimitSpec(requests_per_minute=1)
    assert "organization poor" in (await refused(limits, who="poor")).message


async def test_requests_at_the_same_time_take_no_more_than_there_is(make_limits):
    limits = make_limits(LimitSpec(requests_per_minute=100, tokens_per_minute=100, concurrency=40))
    # Five calls at once used 663 tokens of another proxy's 100.
    answers = await asyncio.gather(
        *(limits.admit(caller(), "m", Estimate(1, 1)) for _ in range(200)), return_exceptions=True
    )
    admitted = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(admitted) == 40
    assert all(isinstance(answer, RateLimited) for answer in answers if answer not in admitted)
    await asyncio.gather(*(reservation.settle(Usage(1, 1)) for reservation in admitted))
    answers = await asyncio.gather(
        *(limits.admit(caller(), "m", Estimate(1, 1)) for _ in range(200)), return_exceptions=True
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 10


async def test_each_dimension_has_its_own_window(make_limits, clock):
    # Another proxy refused at 70 % of its tokens because requests shared their window.
    limits = make_limits(LimitSpec(requests_per_minute=1_000, tokens_per_minute=1_000))
    for number in range(100):
        await (await limits.admit(caller(), "m", Estimate(5, 5))).settle(Usage(5, 5))
        if number % 10 == 9:
            clock.advance(0.001)
    error = await refused(limits, Estimate(5, 5))
    assert error.type == "tokens"
    assert error.headers["x-ratelimit-remaining-requests"] == "900"


async def test_a_full_bucket_owes_no_refund(make_limits, clock):
    limits = make_limits(LimitSpec(tokens_per_minute=100))
    stale = await limits.admit(caller(), "m", Estimate(50, 50))
    clock.advance(60)
    await limits.admit(caller(), "m", Estimate(50, 50))
    await stale.settle(None)
    assert (await refused(limits, Estimate(50, 50))).retry_after == 60
