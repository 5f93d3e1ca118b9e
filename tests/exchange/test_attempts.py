"""What is done about which failure: the table, told by what the upstream really sends, and the bounds on it."""

import math

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cloudflare.answer import total_timeout
from app.core.errors import ApiError, BadRequest, Overloaded, RateLimited, UpstreamTimeout, UpstreamTruncated
from app.dialects.errors import read_failure
from app.exchange.attempts import Patience, RetryBudget, Rule, Step, Trouble, next_step, rule_for
from app.wire.codec import encode

NOW = 1_790_000_000.0
PATIENCE = Patience(retries=3, longest_wait=15.0, longest_backoff=8.0)


def answered(status, code=None, headers=None, body=None):
    """The error that an upstream's answer becomes."""
    if body is None:
        body = b"" if code is None else encode({"success": False, "errors": [{"code": code, "message": "x"}]})
    error = read_failure(status, httpx.Headers(headers or {}), body, NOW)
    error.upstream_status = status
    return error


def step(error, *, retried=0, sound=True, elsewhere=False, affordable=True, left=math.inf, roll=0.0, patience=PATIENCE):
    taken, seconds = next_step(
        error,
        patience,
        retried=retried,
        sound=sound,
        elsewhere=elsewhere,
        affordable=affordable,
        left=left,
        roll=roll,
    )
    return taken.value if taken is not Step.AGAIN else ("again", seconds)


def tries(error):
    """How often one target is asked because of it, the first time included."""
    made = 1
    while step(error, retried=made - 1)[0] == "again":
        made += 1
    return made


# What came, how often one target is asked, whether another one is asked then.
TABLE = {
    "3040": (answered(429, 3040), 3, True),
    "3021": (answered(429, 3021), 2, True),
    "2018": (answered(429, 2018), 2, True),
    "429 without a code": (answered(429), 2, True),
    "1015 of the edge": (answered(429, body=b"<html>error code: 1015</html>"), 1, False),
    "3036": (answered(429, 3036), 1, True),
    "4006": (answered(429, 4006), 1, True),
    "402": (answered(402), 1, True),
    "5035": (answered(403, 5035), 1, True),
    "5018": (answered(403, 5018), 1, True),
    "3023": (answered(403, 3023), 1, True),
    "5007": (answered(400, 5007), 1, True),
    "5028": (answered(410, 5028), 1, True),
    "10000": (answered(401, 10000), 1, True),
    "2009 of the gateway": (answered(401, 2009), 1, True),
    "3007": (answered(408, 3007), 2, False),
    "3008": (answered(408, 3008), 2, False),
    "3046": (answered(408, 3046), 1, False),
    "408 without a code": (answered(408), 2, False),
    "409": (answered(409), 3, True),
    "500": (answered(500), 3, True),
    "8005": (answered(500, 8005), 2, True),
    "7009": (answered(503, 7009), 3, True),
    "502 page": (answered(502, body=b"<html>"), 3, True),
    "503": (answered(503), 3, True),
    "504 page": (answered(504, body=b"<html>"), 3, True),
    "520 page": (answered(520, body=b"<html>"), 3, True),
    "526 page": (answered(526, body=b"<html>"), 3, True),
    "524 page": (answered(524, body=b"<html>"), 1, False),
    "530": (answered(530), 3, True),
    "1101": (answered(500, body=b"error code: 1101"), 2, True),
    "5006": (answered(400, 5006), 1, False),
    "3006": (answered(413, 3006), 1, False),
    "8007": (answered(400, 8007), 1, False),
    "a defect": (ApiError(), 1, False),
    "nothing listens": (read_failure(502, {}, b"", NOW), 3, True),
    "connecting took too long": (UpstreamTimeout(code="upstream_unreachable"), 3, True),
    "no first byte": (UpstreamTimeout(), 1, False),
    "total time": (total_timeout(), 1, False),
    "cut off": (UpstreamTruncated(), 2, True),
    "ourselves": (Overloaded(), 1, True),
    "the guard": (RateLimited(retry_after=1.0), 1, True),
    "a mistake": (BadRequest(), 1, False),
}


@pytest.mark.parametrize(("error", "most", "moves"), TABLE.values(), ids=TABLE)
def test_the_table(error, most, moves):
    assert tries(error) == most
    assert step(error, retried=PATIENCE.retries, elsewhere=True) == ("elsewhere" if moves else "stop")


@pytest.mark.parametrize(
    ("error", "weakens"),
    [
        (answered(502), True),
        (answered(503), True),
        (answered(524), True),
        (UpstreamTimeout(), True),
        (UpstreamTruncated(), True),
        (UpstreamTimeout(code="upstream_unreachable"), True),
        (total_timeout(), False),
        (answered(500, 8005), False),
        (answered(400, 5006), False),
        (answered(408, 3007), False),
        (answered(429, 3040), False),
        (answered(429, 3036), False),
        (Overloaded(), False),
    ],
)
def test_what_speaks_against_the_upstreams_health(error, weakens):
    assert rule_for(error).weakens is weakens


@pytest.mark.parametrize(
    ("error", "trouble", "scope", "least"),
    [
        (answered(429, 3040), Trouble.BUSY, "target", 5.0),
        (answered(429, 3021), Trouble.BUSY, "target", 0.0),
        (answered(429, 3036), Trouble.SPENT, "account", 60.0),
        (answered(429, 4006), Trouble.SPENT, "account", 60.0),
        (answered(403, 5035), Trouble.REFUSED, "target", 3600.0),
        (answered(401, 10000), Trouble.REFUSED, "account", 60.0),
        (answered(403, 3023), Trouble.REFUSED, "account", 60.0),
    ],
)
def test_what_is_left_alone(error, trouble, scope, least):
    assert rule_for(error).shun == (trouble, scope, least)


def test_another_target_is_asked_before_the_busy_one_is_again():
    assert step(answered(429, 3040), elsewhere=True) == "elsewhere"
    assert step(answered(429, 3021), elsewhere=True) == "elsewhere"
    # A failure may be a passing one, and another model is a worse answer.
    assert step(answered(502), elsewhere=True) == ("again", 0.0)
    assert step(answered(502), elsewhere=True, retried=2) == "elsewhere"


def test_the_backoff_grows_is_bounded_and_jittered():
    error = answered(502)
    rule = rule_for(error)
    assert rule == Rule(retries=2, base=0.5, moves=True, weakens=True)
    assert step(error, retried=0, roll=1.0) == ("again", 0.5)
    assert step(error, retried=1, roll=1.0) == ("again", 1.0)
    assert step(error, retried=1, roll=0.25) == ("again", 0.25)
    short = Patience(retries=2, longest_backoff=0.75)
    assert step(error, retried=1, roll=1.0, patience=short) == ("again", 0.75)


def test_the_upstreams_own_wait_is_waited_for_up_to_a_bound():
    assert step(answered(503, headers={"retry-after": "3"}), roll=1.0) == ("again", 3.5)
    assert step(answered(503, headers={"retry-after": "15"})) == ("again", 15.0)
    assert step(answered(503, headers={"retry-after": "16"})) == "stop"
    assert step(answered(503, headers={"retry-after": "16"}), elsewhere=True) == "elsewhere"
    assert step(answered(429, headers={"retry-after": "16"}), elsewhere=True) == "elsewhere"


def test_nothing_is_tried_after_the_requests_own_end():
    assert step(answered(503, headers={"retry-after": "3"}), left=3.1) == ("again", 3.0)
    assert step(answered(503, headers={"retry-after": "3"}), left=3.0) == "stop"
    assert step(answered(429, 3040), left=0.0, elsewhere=True) == "stop"


def test_what_has_just_been_found_to_be_broken_is_not_asked_again():
    assert step(answered(502), sound=False) == "stop"
    assert step(answered(502), sound=False, elsewhere=True) == "elsewhere"


def test_without_a_budget_only_what_does_not_multiply_is_done():
    assert step(answered(502), affordable=False) == "stop"
    assert step(answered(502), affordable=False, elsewhere=True) == "stop"
    # Who is busy or out of neurons is left alone from now on, so this happens once.
    assert step(answered(429, 3040), affordable=False, elsewhere=True) == "elsewhere"
    assert step(answered(429, 3036), affordable=False, elsewhere=True) == "elsewhere"


@given(
    st.lists(st.tuples(st.sampled_from(["request", "retry"]), st.floats(0, 30)), max_size=300),
    st.floats(0, 1),
    st.floats(0, 5),
    st.floats(1, 20),
)
def test_the_budget_is_never_passed(steps, share, per_second, most):
    budget = RetryBudget(share, per_second, most)
    now = requests = granted = 0
    for kind, seconds in steps:
        now += seconds
        if kind == "request":
            budget.earn()
            requests += 1
        elif budget.has(now):
            budget.spend()
            granted += 1
        assert granted <= most + share * requests + per_second * now + 1e-6


def test_the_budget_comes_back_with_requests_and_with_time():
    budget = RetryBudget(share=0.125, per_second=0.5, most=1.0)
    assert budget.has(100.0)
    budget.spend()
    assert not budget.has(100.0)
    for _ in range(8):
        budget.earn()
    assert budget.has(100.0)
    budget.spend()
    assert not budget.has(101.0)
    assert budget.has(102.0)
    # A clock that was set back gives nothing, and takes nothing.
    budget.spend()
    assert not budget.has(50.0)
    assert budget.has(52.0)
