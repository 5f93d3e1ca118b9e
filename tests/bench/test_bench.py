"""The benchmark itself, with the smallest load there is: every figure comes out, and budgets are held."""

from __future__ import annotations

import pytest

from tests.bench import answers, budget
from tests.bench.account import listeners
from tests.bench.features import CASES, NOTHING, write_features
from tests.bench.figures import FIGURES, OURS, Samples
from tests.bench.load import Load
from tests.bench.measure import run
from tests.bench.plan import GROUPS, SMALLEST
from tests.bench.processes import BenchError, loader, upstream
from tests.bench.table import write_table


def test_the_smallest_run_has_every_figure():
    said: list[str] = []
    with upstream() as port, loader() as load:
        assert len(listeners(port)) == 1
        samples = run(SMALLEST, GROUPS, port, [], load, said.append)
    budgets = budget.read_budgets(budget.write_budgets(samples))
    table = write_table(samples, [], budgets)
    for figure in FIGURES.values():
        assert samples.value(figure.name, OURS) is not None, figure.name
        assert figure.label in table
        assert (samples.ratio(figure.name) is not None) == figure.calibrated
    assert samples.value("unstreamed", OURS) > 10
    assert samples.value("burst_chat", OURS) > samples.value("unstreamed", OURS) / 10
    assert samples.value("rss_rest", OURS) > 10
    assert budgets.keys() == {figure.name for figure in FIGURES.values() if figure.budgeted}
    assert budget.past_budget(samples, budgets) == []
    assert said


def test_a_figure_past_its_budget_is_named():
    samples = Samples()
    samples.add("burst_chat", OURS, 0.003, 0.001)
    samples.add("unstreamed", OURS, 0.001, 0.001)
    budgets = {"burst_chat": budget.Budget(2.5), "unstreamed": budget.Budget(1.5)}
    assert budget.past_budget(samples, budgets) == ["burst_chat is 3.000, past its budget of 2.500"]


def test_the_budgets_that_are_kept_can_be_read():
    kept = budget.read_budgets(budget.FILE.read_text())
    assert kept.keys() == {figure.name for figure in FIGURES.values() if figure.budgeted}


def test_a_budget_of_no_figure_is_an_error():
    with pytest.raises(ValueError, match="no figure unstremed"):
        budget.read_budgets("[unstremed]\nmost = 1.0\n")


def test_an_incomplete_answer_is_an_error():
    with upstream() as port, loader() as load:
        short = Load("127.0.0.1", port, "/x", '{"stream":true,"p":"pieces=3 pause_ms=0"}', 4, 2, 1, stream=True)
        with pytest.raises(BenchError, match="3 of 4 pieces"):
            load.send(short)
        unknown = Load("127.0.0.1", port, "/x", '{"stream":true,"p":"pieces=3 pause_ms=1"}', 3, 2, 1, last="response.")
        with pytest.raises(BenchError, match=r"no response\. at the end"):
            load.send(unknown)


def test_chunks_have_the_size_of_real_ones():
    sizes = [len(chunk) for chunk in answers.stream(100).chunks]
    assert 180 <= min(sizes) <= max(sizes) <= 230
    assert 900 <= len(answers.whole(5)) <= 1400


def test_what_a_feature_costs_is_what_is_saved_without_it():
    samples = Samples()
    for case in CASES:
        samples.add(case, OURS, 0.001, 0.0005)
        samples.add(case, "limits", 0.0009, 0.0005)
        # Another machine's speed at another moment, but the same cost.
        samples.add(case, NOTHING, 0.002, 0.001)
    _, _, everything, limits, alike = write_features(samples, ["limits", NOTHING]).splitlines()
    assert everything.count("1,000 µs") == len(CASES)
    assert limits.count("100 µs +10.0%") == len(CASES)
    assert alike.count(" 0 µs  +0.0%") == len(CASES)


def test_requests_at_a_rate_are_all_answered():
    with upstream() as port, loader() as load:
        wanted = Load("127.0.0.1", port, "/x", '{"p":"pieces=5 pause_ms=0"}', 5, 40, 2, rate=400.0)
        report = load.send(wanted)
    assert report.complete == len(report.latencies) == 40
    # The last one was due after 39 / 400 seconds.
    assert report.seconds >= 0.0975
