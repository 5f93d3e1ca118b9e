"""What is counted of an exchange, what labels may hold, and what counting costs."""

import ast
import re
import timeit
from pathlib import Path

import pytest

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.usage import Usage
from app.telemetry.families import FAMILIES, metrics_table
from app.telemetry.labels import ERROR_CODES
from app.telemetry.metrics import Metrics
from app.telemetry.process import Reading
from tests.telemetry.records import CATALOGUE, MODEL, outcome, refusal

APP = Path(__file__).resolve().parents[2] / "app"


def metrics(**more):
    return Metrics(lambda: CATALOGUE, version="1.2.3", started=5.0, **more)


def samples(measured):
    """What is shown, by name and labels."""
    return samples_in(measured.text().decode())


def samples_in(text):
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, number = line.rsplit(" ", 1)
            assert name not in found, line
            found[name] = float(number)
    return found


def named(found, name):
    return {key: value for key, value in found.items() if key.partition("{")[0] == name and value}


def test_a_whole_answer_is_counted_in_every_respect():
    measured = metrics()
    for _ in range(2):
        measured.report(outcome())
    found = samples(measured)
    model = f'model="{MODEL}"'
    labels = f'surface="chat",{model},status="200",ending="completed",stream="true"'
    assert named(found, "flarelay_requests_total") == {f"flarelay_requests_total{{{labels}}}": 2}
    for name, value in (
        ("input_tokens_total", 200),
        ("output_tokens_total", 402),
        ("cached_input_tokens_total", 20),
        ("reasoning_tokens_total", 40),
        ("neurons_total", 7),
        ("cost_usd_total", 7 * 0.011 / 1000),
    ):
        assert found[f'flarelay_{name}{{{model},source="reported"}}'] == pytest.approx(value)
    assert found[f'flarelay_finishes_total{{{model},reason="stop"}}'] == 2
    assert found[f'flarelay_upstream_attempts_total{{{model},dialect="chat",account="account-1",status="200"}}'] == 2
    around = f'surface="chat",{model},stream="true"'
    assert found[f"flarelay_request_duration_seconds_sum{{{around}}}"] == pytest.approx(4.8)
    assert found[f'flarelay_request_duration_seconds_bucket{{{around},le="2.0"}}'] == 0
    assert found[f'flarelay_request_duration_seconds_bucket{{{around},le="4.0"}}'] == 2
    assert found[f"flarelay_time_to_first_byte_seconds_sum{{{around}}}"] == pytest.approx(0.8)
    # Two seconds for the 200 tokens after the first.
    assert found[f"flarelay_time_per_output_token_seconds_sum{{{model}}}"] == pytest.approx(0.02)
    assert found['flarelay_overhead_seconds_sum{surface="chat",stream="true"}'] == pytest.approx(0.008)
    assert found['flarelay_overhead_seconds_bucket{surface="chat",stream="true",le="0.003"}'] == 0
    assert found['flarelay_overhead_seconds_bucket{surface="chat",stream="true",le="0.005"}'] == 2
    assert not named(found, "flarelay_errors_total")
    assert not named(found, "flarelay_queue_seconds_count")
    assert not named(found, "flarelay_caller_requests_total")


def test_a_refusal_is_counted_without_times_and_tokens():
    measured = metrics()
    measured.report(refusal())
    found = samples(measured)
    labels = f'surface="chat",model="{MODEL}",code="rate_limit_exceeded"'
    assert named(found, "flarelay_errors_total") == {f"flarelay_errors_total{{{labels}}}": 1}
    for name in ("request_duration_seconds_count", "time_to_first_byte_seconds_count", "overhead_seconds_count"):
        assert not named(found, f"flarelay_{name}")
    assert not named(found, "flarelay_input_tokens_total")
    assert not named(found, "flarelay_upstream_attempts_total")


def test_a_failure_half_way_counts_its_first_byte_and_its_tokens_but_not_its_time():
    measured = metrics()
    attempts = (429, 0, 200)
    measured.report(
        outcome(ending="failed", finish_reason=None, error_code="upstream_truncated", upstream_attempts=attempts)
    )
    found = samples(measured)
    assert named(found, "flarelay_time_to_first_byte_seconds_count")
    assert named(found, "flarelay_output_tokens_total")
    assert not named(found, "flarelay_request_duration_seconds_count")
    assert not named(found, "flarelay_time_per_output_token_seconds_count")
    tried = {key[-6:-2]: value for key, value in named(found, "flarelay_upstream_attempts_total").items()}
    assert tried == {'"429': 1, "none": 1, '"200': 1}


@pytest.mark.parametrize("tokens", [0, 1])
def test_one_token_has_no_time_between_tokens(tokens):
    measured = metrics()
    measured.report(outcome(usage=Usage(3, tokens)))
    assert not named(samples(measured), "flarelay_time_per_output_token_seconds_count")


def test_a_wait_for_the_account_is_measured_apart():
    measured = metrics()
    measured.report(outcome(queue_seconds=1.5))
    found = samples(measured)
    assert found[f'flarelay_queue_seconds_bucket{{model="{MODEL}",le="1.0"}}'] == 0
    assert found[f'flarelay_queue_seconds_bucket{{model="{MODEL}",le="2.0"}}'] == 1


def test_no_word_of_a_client_becomes_a_label():
    measured = metrics(callers=3)
    canary = 'canary"\n\\{}'
    for number in range(50):
        measured.report(
            outcome(
                model=f"{canary}{number}",
                upstream_model=f"@cf/{canary}{number}",
                error_code=f"{canary}{number}",
                upstream_code=990_000 + number,
                dropped=(f"{canary}{number}", f"tools[{number}]", "tools[1000].type"),
                adjusted=(f"{canary}{number}", "temperature"),
                request_id=canary,
                upstream_request_id=canary,
                caller=f"key-{number}",
            )
        )
    text = measured.text().decode()
    assert "canary" not in text
    found = samples(measured)
    assert len(named(found, "flarelay_requests_total")) == 1
    assert named(found, "flarelay_errors_total").popitem() == (
        'flarelay_errors_total{surface="chat",model="other",code="other"}',
        50,
    )
    assert named(found, "flarelay_upstream_errors_total") == {'flarelay_upstream_errors_total{code="other"}': 50}
    assert named(found, "flarelay_fields_dropped_total") == {
        'flarelay_fields_dropped_total{field="other"}': 50,
        'flarelay_fields_dropped_total{field="tools"}': 50,
    }
    assert named(found, "flarelay_fields_adjusted_total") == {
        'flarelay_fields_adjusted_total{field="other"}': 50,
        'flarelay_fields_adjusted_total{field="temperature"}': 50,
    }
    assert named(found, "flarelay_caller_requests_total") == {
        'flarelay_caller_requests_total{caller="key-0"}': 1,
        'flarelay_caller_requests_total{caller="key-1"}': 1,
        'flarelay_caller_requests_total{caller="key-2"}': 1,
        'flarelay_caller_requests_total{caller="other"}': 47,
    }


def test_the_models_that_are_told_apart_follow_the_catalogue():
    catalogues = [CATALOGUE]
    measured = Metrics(lambda: catalogues[0], version="1", started=0.0)
    measured.report(outcome(upstream_model="@cf/new/model"))
    catalogues[0] = build(bundled(), aliases={"mine": "@cf/new/model"})
    measured.report(outcome(upstream_model="@cf/new/model"))
    measured.report(outcome(upstream_model=None))
    counted = named(samples(measured), "flarelay_requests_total")
    assert {re.search('model="([^"]*)"', key)[1] for key in counted} == {"other", "@cf/new/model", "none"}


def test_every_code_of_an_error_in_the_program_has_its_label():
    trees = {path: ast.parse(path.read_text("utf-8")) for path in APP.rglob("*.py")}
    constants = {
        node.target.id: node.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    found = set()
    for path, tree in trees.items():
        if "emulator" in path.parts or "recorder" in path.parts:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                words = [word.value for word in node.keywords if word.arg in {"code", "type_"}]
                words += node.args[2:] if getattr(node.func, "attr", getattr(node.func, "id", "")) == "invalid" else []
            elif isinstance(node, ast.ClassDef):
                words = [
                    one.value
                    for one in node.body
                    if isinstance(one, ast.Assign | ast.AnnAssign)
                    and {target.id for target in getattr(one, "targets", [getattr(one, "target", None)])}
                    & {"code", "type"}
                    and path.name == "errors.py"
                ]
            else:
                continue
            words = [constants.get(word.id) if isinstance(word, ast.Name) else word for word in words]
            found |= {word.value for word in words if isinstance(word, ast.Constant) and isinstance(word.value, str)}
    # Of routes that no exchange serves.
    found -= {"key_is_read_only", "key_is_revoked", "websockets_disabled"}
    assert len(found) > 30
    assert found - ERROR_CODES == set()


def test_numbers_of_others_are_read_when_they_are_shown():
    measured = metrics()
    state = {"waiting": 3, "waited": 5}

    def probe():
        yield Reading("flarelay_account_guard_waiting", state["waiting"])
        yield Reading("flarelay_account_guard_waited_total", state["waited"])

    measured.watch(probe)
    assert samples(measured)["flarelay_account_guard_waiting"] == 3
    state.update(waiting=0, waited=9)
    found = samples(measured)
    assert found["flarelay_account_guard_waiting"] == 0
    assert found["flarelay_account_guard_waited_total"] == 9
    assert (
        found['flarelay_build_info{version="1.2.3",python="' + re.search(r'python="([^"]*)', str(found))[1] + '"}'] == 1
    )
    assert found["process_start_time_seconds"] == 5
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 10_000_000
    assert 3 < found["process_open_fds"] < found["process_max_fds"]
    assert found["flarelay_catalogue_models"] > 20


def test_gauges_go_up_and_down():
    measured = metrics()
    measured.http_open.inc()
    measured.http_open.inc()
    measured.streams_open.inc()
    measured.http_open.dec()
    found = samples(measured)
    assert found["flarelay_http_requests_open"] == 1
    assert found["flarelay_streams_open"] == 1
    assert found["flarelay_websockets_open"] == 0
    measured.answered(200)
    measured.answered(401)
    measured.answered(401)
    assert samples(measured)['flarelay_http_responses_total{status="401"}'] == 2


def test_names_follow_the_conventions_and_the_table_has_them_all():
    table = metrics_table()
    for name, family in FAMILIES.items():
        assert re.fullmatch(r"(flarelay|process)_[a-z_]+[a-z]", name)
        assert name.endswith("_total") == (family.kind == "counter"), name
        assert bool(family.buckets) == (family.kind == "histogram")
        assert list(family.buckets) == sorted(set(family.buckets))
        assert family.kind != "histogram" or name.endswith("_seconds")
        assert not {"le", "instance", "job"} & set(family.labels)
        assert family.meaning.endswith(".")
        assert table.count(f"`{name}`") == 1
    assert len(table.splitlines()) == len(FAMILIES) + 2


def test_counting_one_request_costs_microseconds():
    measured = metrics(callers=10)
    whole, refused = outcome(), refusal()

    def count():
        measured.report(whole)
        measured.report(refused)

    count()
    assert min(timeit.repeat(count, number=500, repeat=10)) / 500 < 15e-6
