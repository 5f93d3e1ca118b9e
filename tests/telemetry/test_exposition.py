"""The text that Prometheus reads, judged by its own client library's parser."""

import pytest

from app.telemetry.cells import Series
from app.telemetry.exposition import CONTENT_TYPE, joined, write
from app.telemetry.families import FAMILIES
from app.telemetry.metrics import Metrics
from tests.telemetry.records import CATALOGUE, outcome, refusal

parser = pytest.importorskip("prometheus_client.parser")


def parsed(text):
    return {family.name: family for family in parser.text_string_to_metric_families(text.decode())}


def test_the_library_reads_what_is_written():
    measured = Metrics(lambda: CATALOGUE, version="1", started=1.5, callers=5)
    measured.report(outcome())
    measured.report(outcome(dropped=("tools[1]",), adjusted=("seed",), queue_seconds=0.2, upstream_code=3040))
    measured.report(refusal())
    measured.answered(200)
    found = parsed(measured.text())
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    for name, family in FAMILIES.items():
        shown = found.get(name.removesuffix("_total"))
        if shown is None:
            # What only the server knows.
            assert name.startswith(
                ("flarelay_limiter", "flarelay_redis", "flarelay_account", "flarelay_store")
            ) or name in {
                "flarelay_background_running",
                "flarelay_loop_delay_seconds",
                "flarelay_overload_refused_total",
                "flarelay_catalogue_refreshed_timestamp_seconds",
            }, name
            continue
        assert shown.type == family.kind
        assert shown.documentation == family.meaning
        for sample in shown.samples:
            assert set(sample.labels) - {"le"} == set(family.labels)
    buckets = [
        sample
        for sample in found["flarelay_overhead_seconds"].samples
        if sample.name == "flarelay_overhead_seconds_bucket"
    ]
    assert [float(sample.labels["le"]) for sample in buckets][-1] == float("inf")
    assert [sample.value for sample in buckets] == sorted(sample.value for sample in buckets)
    assert buckets[-1].value == 2


def test_any_label_survives():
    family = FAMILIES["flarelay_errors_total"]
    for strange in ('quo"te', "back\\slash", "new\nline", "\\n", "", "ü→", '{a="b"} 1'):
        text = write({family.name: {("chat", "m", strange): [1.5]}})
        (sample,) = parsed(text)["flarelay_errors"].samples
        assert sample.labels == {"surface": "chat", "model": "m", "code": strange}
        assert sample.value == 1.5


def test_rows_are_joined_as_their_metric_says():
    def rows(name, *values):
        return [Series(FAMILIES[name], (), [value], own=index == 0) for index, value in enumerate(values)]

    for name, expected in (
        ("flarelay_http_requests_open", 6.0),
        ("flarelay_redis_away", 3.0),
        ("process_max_fds", 1.0),
        ("flarelay_store_up", 2.0),
    ):
        assert joined(rows(name, 2.0, 1.0, 3.0)) == {name: {(): [expected]}}
