"""Several processes that count together: what one of them shows is what all have counted, whatever becomes of them."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from app.telemetry import cells as cells_module
from app.telemetry.cells import SPARE, Cells, shared_directory
from app.telemetry.families import FAMILIES
from app.telemetry.metrics import Metrics
from tests.telemetry.records import CATALOGUE, MODEL, outcome
from tests.telemetry.test_metrics import named, samples

ROOT = Path(__file__).resolve().parents[2]
OTHER = "@cf/openai/gpt-oss-20b"


def metrics(directory):
    return contextlib.closing(Metrics(lambda: CATALOGUE, version="1", started=9.0, directory=directory))


@contextlib.contextmanager
def counting(directory, model=MODEL, times=1000):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.telemetry.counting", str(directory), model, str(times)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "counted\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def end(process):
    process.stdin.close()
    process.wait(20)


def requests(measured):
    return sum(named(samples(measured), "flarelay_requests_total").values())


def test_one_process_shows_what_all_have_counted(tmp_path):
    with counting(tmp_path), counting(tmp_path, OTHER, 10), metrics(tmp_path) as measured:
        measured.report(outcome())
        found = samples(measured)
        counted = {key.split('"')[3]: value for key, value in named(found, "flarelay_requests_total").items()}
        assert counted == {MODEL: 1001, OTHER: 10}
        assert found["flarelay_processes"] == 3
        assert found["flarelay_http_requests_open"] == 2
        assert found["process_start_time_seconds"] == 0
        assert len(named(found, "flarelay_build_info")) == 1
        around = f'surface="chat",model="{MODEL}",stream="true"'
        assert found[f"flarelay_request_duration_seconds_count{{{around}}}"] == 1001
        assert found[f"flarelay_request_duration_seconds_sum{{{around}}}"] == pytest.approx(1001 * 2.4)


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_what_a_process_has_counted_outlives_it_and_what_it_stated_does_not(tmp_path, how):
    with metrics(tmp_path) as measured:
        with counting(tmp_path) as process:
            before = samples(measured)
            if how == "ended":
                end(process)
        after = samples(measured)
        assert named(after, "flarelay_requests_total") == named(before, "flarelay_requests_total")
        assert (before["flarelay_processes"], after["flarelay_processes"]) == (2, 1)
        assert (before["flarelay_http_requests_open"], after["flarelay_http_requests_open"]) == (1, 0)
        assert after["process_cpu_seconds_total"] >= before["process_cpu_seconds_total"]


def test_the_next_process_goes_on_where_a_dead_one_stopped(tmp_path):
    with metrics(tmp_path) as measured:
        cpu = 0.0
        for generation in range(1, 6):
            with counting(tmp_path, times=10):
                found = samples(measured)
                assert requests(measured) == 10 * generation
                assert found["flarelay_processes"] == 2
                assert found["flarelay_http_requests_open"] == 1
                assert found["process_cpu_seconds_total"] > cpu
                cpu = found["process_cpu_seconds_total"]
        assert len(list(tmp_path.glob("*.cells"))) == 2


def test_half_a_line_of_a_killed_process_is_no_series(tmp_path):
    with metrics(tmp_path) as measured:
        measured.report(outcome())
    with (tmp_path / "0.series").open("ab") as file:
        file.write(b'["flarelay_requests_total",["chat","@cf')
    with metrics(tmp_path) as measured:
        assert requests(measured) == 1
        measured.report(outcome(surface="responses"))
        measured.report(outcome())
        assert requests(measured) == 3
    with metrics(tmp_path) as measured:
        assert requests(measured) == 3


def test_what_is_counted_after_the_end_does_no_harm(tmp_path):
    with metrics(tmp_path) as measured:
        measured.report(outcome())
    measured.report(outcome())
    measured.report(outcome(surface="completions"))


def test_series_without_a_place_are_not_counted_and_it_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cells_module, "CAPACITY", SPARE + 100)
    for directory in (None, tmp_path):
        caplog.clear()
        cells = Cells(directory)
        family = FAMILIES["flarelay_requests_total"]
        places = [cells.place(family, (str(number), "m", "200", "completed", "true")) for number in range(200)]
        assert places[:100] == list(range(SPARE, SPARE + 100))
        assert set(places[100:]) == {0}
        assert len(list(cells.rows())) == 100
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        cells.close()


def test_cells_that_are_no_rows_are_passed_over(tmp_path):
    (tmp_path / "7.cells").write_bytes(b"")
    (tmp_path / "8.cells").write_bytes(bytes(64))
    with metrics(tmp_path) as measured:
        measured.report(outcome())
        assert requests(measured) == 1


def test_the_directory_is_in_memory_and_goes_with_its_owner(monkeypatch):
    with shared_directory() as folder, metrics(folder) as measured:
        measured.report(outcome())
        assert (folder / "0.cells").stat().st_size > 0
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    monkeypatch.setattr(cells_module, "_IN_MEMORY", "/no/such/place")
    with shared_directory() as folder:
        assert folder.is_dir()
    assert not folder.exists()
