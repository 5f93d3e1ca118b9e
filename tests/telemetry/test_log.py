"""The canonical line is complete, and nothing in any line is what somebody wrote or keeps secret."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import fields

from app.core.cost import Cost
from app.core.outcome import Outcome
from app.core.usage import Usage
from app.telemetry.line import MEANINGS, outcome_fields
from app.telemetry.log import ExchangeLog, JsonFormatter, PrettyFormatter, log_format
from tests.telemetry.records import outcome, refusal

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-4711"

# What the line calls a field of the record, where it is not the field's own name.
RENAMED = {
    "began": (),
    "seconds": ("ms",),
    "first_byte_seconds": ("first_byte_ms",),
    "upstream_seconds": ("upstream_ms",),
    "queue_seconds": ("queue_ms",),
    "own_seconds": ("own_ms",),
    "usage": ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "usage_source"),
    "cost": ("neurons", "cost_usd", "cost_source"),
}


def line_of(record, form="json"):
    stream = io.StringIO()
    ExchangeLog(stream, form, lambda: 1_700_000_000.25).report(record)
    text = stream.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


def test_every_field_of_the_record_is_in_the_line():
    full = outcome(
        error_code="upstream_error",
        upstream_code=3040,
        dropped=("a", "b"),
        adjusted=("c",),
        queue_seconds=0.5,
    )
    expected = {name for field in fields(Outcome) for name in RENAMED.get(field.name, (field.name,))}
    assert set(outcome_fields(full)) == expected
    line = json.loads(line_of(full))
    assert list(line) == list(MEANINGS)
    assert set(line) == expected | {"time", "event"}
    assert line["time"] == "2023-11-14T22:13:20.250Z"
    assert (line["dropped"], line["adjusted"], line["ms"]) == ("a,b", "c", 2400.0)


def test_every_figure_of_usage_and_cost_is_in_the_line():
    usage = {field.name for field in fields(Usage)} - {"neurons", "source"}
    assert usage <= set(outcome_fields(outcome()))
    assert {field.name for field in fields(Cost)} == {"neurons", "source"}


def test_what_there_was_not_is_left_out():
    line = json.loads(line_of(refusal()))
    assert not {"prompt_tokens", "neurons", "finish_reason", "first_byte_ms", "upstream_status", "dropped"} & set(line)
    assert None not in line.values()


def test_a_person_reads_one_short_line():
    assert " 200 chat gpt-oss-120b completed 100→201 tokens 2400 ms req_1\n" in line_of(outcome(), "pretty")
    assert " 429 chat - refused rate_limit_exceeded 2400 ms req_1\n" in line_of(refusal(model=None), "pretty")


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_model_that_a_client_made_up_neither_steers_the_terminal_nor_fills_the_disk(form):
    text = line_of(outcome(model="\x1b[2J\r\n" + "x" * 100_000), form)
    assert len(text) < 800
    assert text.rstrip("\n").isprintable()


def test_the_form_is_for_who_looks():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert log_format("auto", Terminal()) == "pretty"
    assert log_format("auto", io.StringIO()) == "json"
    assert log_format("json", Terminal()) == "json"


@pytest.fixture(params=[JsonFormatter, PrettyFormatter])
def logged(request):
    """A logger of its own, and what it has written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(request.param())
    root = logging.getLogger()
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)


def fail_with(text):
    raise ValueError(text)


def test_of_an_exception_only_its_type_and_its_places_are_told(logged):
    try:
        fail_with(CANARY)
    except ValueError:
        logging.getLogger("app.somewhere").exception("a defect")
    text = logged.getvalue()
    assert "a defect" in text
    assert "ValueError" in text
    assert "fail_with" in text
    assert "test_log.py" in text
    assert CANARY not in text


async def test_an_exception_that_nobody_awaits_is_told_without_its_text(logged):
    async def failing():
        fail_with(CANARY)

    loop = asyncio.get_running_loop()
    loop.call_exception_handler({"message": "Task exception was never retrieved", "exception": ValueError(CANARY)})
    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    loop.call_exception_handler({"message": "lost", "future": task, "exception": task.exception()})
    text = logged.getvalue()
    assert "never retrieved" in text
    assert "lost" in text
    assert text.count("ValueError") == 2
    assert CANARY not in text


def test_a_traceback_in_a_message_is_cut(logged):
    trace = f'Traceback (most recent call last):\n  File "x", line 1\nValueError: {CANARY}\n'
    logging.getLogger("a.library").error(trace)
    logging.getLogger("a.library").error("startup failed: %s", trace)
    assert "startup failed" in logged.getvalue()
    assert CANARY not in logged.getvalue()


CRASHES = {
    "main": "raise ValueError(secret)",
    "chained": "try:\n    raise KeyError(secret)\nexcept KeyError as error:\n    raise ValueError(secret) from error",
    "thread": "t = threading.Thread(target=fail, args=(secret,)); t.start(); t.join()",
    "finalizer": "class A:\n    def __del__(self): fail(secret)\nA()",
    "group": "raise ExceptionGroup(secret, [ValueError(secret)])",
}


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_does_not_tell_what_it_was_about(where):
    code = (
        "import sys, threading\n"
        "from app.telemetry.log import quiet_crashes\n"
        "quiet_crashes(sys.stderr)\n"
        "secret = sys.stdin.read()\n"
        "def fail(text): raise ValueError(text)\n"
        f"{CRASHES[where]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=CANARY, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == (1 if where in {"main", "chained", "group"} else 0)
    assert "a defect of this program" in done.stderr
    assert "Error" in done.stderr or "ExceptionGroup" in done.stderr
    assert CANARY not in done.stdout + done.stderr
