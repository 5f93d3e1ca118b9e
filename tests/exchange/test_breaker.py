"""The circuit breaker under any sequence of calls, with a clock turned by hand."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.exchange.breaker import Breaker, Tolerance

BEARS = Tolerance(streak=3, share=0.5, window=8, memory=60.0, pause=5.0, longest_pause=20.0, probe=30.0)


def failing(breaker, times, now=0.0):
    for _ in range(times):
        assert breaker.wait(now) == 0
        breaker.fail(breaker.enter(now), now)


def opened(now=0.0):
    breaker = Breaker(BEARS)
    failing(breaker, 3, now)
    assert breaker.open
    return breaker


def test_it_opens_after_failures_in_a_row():
    breaker = Breaker(BEARS)
    failing(breaker, 2)
    breaker.succeed(breaker.enter(0.0), 0.0)
    failing(breaker, 2)
    assert not breaker.open
    failing(breaker, 1)
    assert breaker.open
    assert breaker.wait(1.0) == 4.0


def test_it_opens_at_a_share_of_failures_of_enough_calls():
    breaker = Breaker(BEARS)
    for _ in range(3):
        failing(breaker, 1)
        breaker.succeed(breaker.enter(0.0), 0.0)
    breaker.succeed(breaker.enter(0.0), 0.0)
    assert not breaker.open
    failing(breaker, 1)
    assert breaker.open


def test_what_is_long_past_does_not_count():
    breaker = Breaker(BEARS)
    failing(breaker, 2, now=0.0)
    failing(breaker, 2, now=61.0)
    assert not breaker.open
    failing(breaker, 1, now=61.0)
    assert breaker.open


def test_one_probe_after_the_pause_and_its_success_closes():
    breaker = opened()
    assert breaker.wait(4.9) > 0
    assert breaker.wait(5.0) == 0
    probe = breaker.enter(5.0)
    assert breaker.wait(5.0) == 30.0
    breaker.succeed(probe, 6.0)
    assert not breaker.open
    assert breaker.spotless
    failing(breaker, 2, now=6.0)
    assert not breaker.open


def test_a_failed_probe_doubles_the_pause_up_to_its_bound():
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(4):
        wait = breaker.wait(now)
        pauses.append(wait)
        now += wait
        breaker.fail(breaker.enter(now), now)
    assert pauses == [5.0, 10.0, 20.0, 20.0]
    now += breaker.wait(now)
    breaker.succeed(breaker.enter(now), now)
    failing(breaker, 3, now=now)
    assert breaker.wait(now) == 5.0


def test_a_probe_that_was_given_up_makes_room_for_the_next_at_once():
    breaker = opened()
    breaker.abandon(breaker.enter(5.0), 6.0)
    assert breaker.open
    assert breaker.wait(6.0) == 0


def test_a_probe_without_an_outcome_is_taken_for_lost():
    breaker = opened()
    breaker.enter(5.0)
    assert breaker.wait(34.9) > 0
    assert breaker.wait(35.0) == 0


def test_what_was_called_before_says_nothing_about_now():
    breaker = Breaker(BEARS)
    early = [breaker.enter(0.0) for _ in range(5)]
    failing(breaker, 3)
    breaker.succeed(early[0], 1.0)
    assert breaker.open
    probe = breaker.enter(5.0)
    breaker.fail(early[1], 5.0)
    breaker.succeed(early[2], 5.0)
    assert breaker.open
    breaker.succeed(probe, 5.0)
    for number in early[3:]:
        breaker.fail(number, 6.0)
    assert breaker.spotless


class AnySequence(RuleBasedStateMachine):
    """Calls are let through as the breaker says, and end in any order and way."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(BEARS)
        self.now = 1000.0
        self.out = []
        self.barred_until = 0.0
        self.probe = None
        self.probed = 0.0

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def call(self):
        if self.breaker.wait(self.now) > 0:
            assert self.breaker.open
            return
        call = [self.breaker.enter(self.now)]
        self.out.append(call)
        if self.breaker.open:
            assert self.now >= self.barred_until - 1e-6
            assert self.probe is None or self.now - self.probed >= BEARS.probe
            self.probe, self.probed = call, self.now

    @precondition(lambda self: self.out)
    @rule(data=st.data(), how=st.sampled_from(["succeed", "fail", "abandon"]))
    def end(self, data, how):
        call = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        was_open, probing = self.breaker.open, call is self.probe
        getattr(self.breaker, how)(call[0], self.now)
        if probing:
            self.probe = None
        if was_open:
            assert self.breaker.open is not (probing and how == "succeed")
        else:
            assert not self.breaker.open or how == "fail"
        if self.breaker.open and how == "fail" and (probing or not was_open):
            self.barred_until = self.now + BEARS.pause
            assert self.breaker.wait(self.now) >= BEARS.pause - 1e-6

    @invariant()
    def nothing_is_barred_when_closed(self):
        assert self.breaker.open or self.breaker.wait(self.now) == 0


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
