"""What is remembered of targets, with a clock turned by hand."""

from app.exchange.attempts import Shun, Trouble
from app.exchange.breaker import Tolerance
from app.exchange.health import MOST, Health

BUSY = Shun(Trouble.BUSY, "target", 5.0)
SPENT = Shun(Trouble.SPENT, "account", 60.0)
REFUSED = Shun(Trouble.REFUSED, "target", 3600.0)


def test_a_busy_target_is_left_alone_for_seconds():
    health = Health()
    assert health.clear
    assert health.shun("a", "m", BUSY, 2.0, 100.0)
    assert not health.clear
    assert health.standing("a", "m", 100.0) == (Trouble.BUSY, 5.0)
    assert health.standing("a", "m", 104.0) == (Trouble.BUSY, 1.0)
    assert health.standing("a", "m", 105.0) is None
    assert health.standing("a", "other", 100.0) is None
    assert health.standing("b", "m", 100.0) is None


def test_the_upstreams_own_wait_counts_when_it_is_longer():
    health = Health()
    health.shun("a", "m", BUSY, 30.0, 100.0)
    assert health.standing("a", "m", 129.0) == (Trouble.BUSY, 1.0)


def test_an_account_without_neurons_is_left_alone_with_all_its_models():
    health = Health()
    assert health.shun("a", "m", SPENT, 7200.0, 0.0)
    assert not health.shun("a", "other", SPENT, 7199.0, 1.0)
    assert health.standing("a", "m", 7199.0) == (Trouble.SPENT, 1.0)
    assert health.standing("a", "anything", 7199.0) == (Trouble.SPENT, 1.0)
    assert health.standing("a", "m", 7200.0) is None
    assert health.shun("a", "m", SPENT, 100.0, 7200.0)


def test_of_several_reasons_the_worst_counts():
    health = Health()
    health.shun("a", "m", BUSY, None, 0.0)
    health.shun("a", "m", SPENT, None, 0.0)
    assert health.standing("a", "m", 1.0) == (Trouble.SPENT, 59.0)


def test_a_success_ends_the_wait():
    health = Health()
    health.shun("a", "m", REFUSED, None, 0.0)
    health.succeed("a", "m", 0, 1.0)
    assert health.clear


def test_a_clock_that_is_set_back_does_not_make_waits_longer():
    health = Health()
    health.shun("a", "m", REFUSED, None, 1_000_000.0)
    assert health.standing("a", "m", 0.0) is None


def test_what_keeps_failing_is_broken_until_a_probe_is_answered():
    health = Health(Tolerance(streak=3, pause=5.0))
    assert [health.fail("a", "m", health.enter("a", "m", 0.0), 0.0) for _ in range(3)] == [False, False, True]
    assert health.standing("a", "m", 1.0) == (Trouble.BROKEN, 4.0)
    assert health.standing("a", "other", 1.0) is None
    assert health.standing("a", "m", 5.0) is None
    probe = health.enter("a", "m", 5.0)
    assert health.standing("a", "m", 5.0) is not None
    health.abandon("a", "m", probe, 5.5)
    probe = health.enter("a", "m", 5.5)
    health.answered("a", "m", probe, 6.0)
    assert health.standing("a", "m", 6.0) is None
    health.succeed("a", "m", probe, 9.0)
    assert health.clear


def test_an_answer_that_begins_says_nothing_while_the_breaker_is_closed():
    health = Health(Tolerance(streak=2))
    for last in (False, True):
        number = health.enter("a", "m", 0.0)
        health.answered("a", "m", number, 0.0)
        assert health.fail("a", "m", number, 0.0) is last


def test_without_breakers_failures_are_not_remembered():
    health = Health()
    for _ in range(100):
        assert not health.fail("a", "m", health.enter("a", "m", 0.0), 0.0)
    assert health.clear


def test_memory_is_bounded():
    health = Health(Tolerance())
    for number in range(3 * MOST):
        health.shun("a", f"m{number}", REFUSED, None, 0.0)
        health.fail("a", f"m{number}", 0, 0.0)
    assert len(health._blocks) <= MOST
    assert len(health._breakers) <= MOST
    assert health.standing("a", f"m{3 * MOST - 1}", 1.0) is not None
