"""One canonical line per exchange, and the format of every other line. Never a prompt, an answer or a secret."""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

from app.core.outcome import Outcome
from app.telemetry.line import outcome_fields, shown
from app.wire.codec import encode

Format = Literal["json", "pretty"]

_TRACED: Final = "Traceback (most recent call last):"
_MOST_PLACES: Final = 8


def log_format(wanted: Literal["auto", "json", "pretty"], stream: TextIO) -> Format:
    """The form of the log: when nobody said, for a person where one is looking."""
    if wanted == "auto":
        return "pretty" if stream.isatty() else "json"
    return wanted


class ExchangeLog:
    """Writes the canonical line of every exchange.

    It does not go through ``logging``, which costs more than all the rest of the line; there is one line, one place
    and one level.

    Args:
        stream: Where to.
        form: As JSON, or for a person at a terminal.
        clock: Unix seconds.
    """

    def __init__(self, stream: TextIO, form: Format, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._write = self._write_json if form == "json" else self._write_pretty
        self._clock = clock

    def report(self, outcome: Outcome) -> None:
        """Write one line."""
        self._write(outcome)

    def _write_json(self, outcome: Outcome) -> None:
        line = {"time": _timestamp(self._clock()), "event": "exchange", **outcome_fields(outcome)}
        self._stream.write(encode(line).decode() + "\n")
        self._stream.flush()

    def _write_pretty(self, outcome: Outcome) -> None:
        usage = outcome.usage
        tokens = f" {usage.prompt_tokens}→{usage.completion_tokens} tokens" if usage else ""
        trouble = f" {outcome.error_code}" if outcome.error_code else ""
        model = shown(outcome.model) or "-"
        time = datetime.fromtimestamp(self._clock(), UTC).astimezone().strftime("%H:%M:%S")
        self._stream.write(
            f"{time} {outcome.status} {outcome.surface} {model} {outcome.ending}{trouble}{tokens}"
            f" {outcome.seconds * 1000:.0f} ms {outcome.request_id}\n"
        )
        self._stream.flush()


class JsonFormatter(logging.Formatter):
    """Writes the remaining log lines as JSON; of an exception only its type and place, for its text may quote input."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "event": "log",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": discreet(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["places"] = _places(record.exc_info[2])
        return encode(line).decode()


class PrettyFormatter(logging.Formatter):
    """Writes the remaining log lines for a person; of an exception no more than in JSON."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Write one line, and one for each place of an exception."""
        lines = [f"{self.formatTime(record, self.datefmt)} {record.levelname} {discreet(record)}"]
        if record.exc_info and record.exc_info[0] is not None:
            lines += crash_lines(record.exc_info[0], record.exc_info[2])
        return "\n".join(lines)


def crash_lines(kind: type[BaseException], trace: TracebackType | None) -> list[str]:
    """What may be told of an exception, in lines: its type and its places. Its text may quote a prompt or a key."""
    return [f"  {kind.__name__}", *(f"    {place}" for place in _places(trace))]


def discreet(record: logging.LogRecord) -> str:
    """The message of a log line, without the exceptions that libraries write into it."""
    message = record.getMessage()
    if record.name == "asyncio":
        # What follows the first line is what the exception was in, and its text with it.
        return message.partition("\n")[0]
    head, traced, _ = message.partition(_TRACED)
    return f"{head}{traced}…" if traced else message


def quiet_crashes(stream: TextIO) -> None:
    """Let what nobody catches be told without its text, wherever in the process it happens."""

    def tell(kind: type[BaseException], trace: TracebackType | None) -> None:
        stream.write("\n".join(["flarelay: a defect of this program", *crash_lines(kind, trace), ""]))
        stream.flush()

    def crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            tell(kind, trace)

    sys.excepthook = crash
    sys.unraisablehook = lambda found: tell(found.exc_type, found.exc_traceback)
    threading.excepthook = lambda found: tell(found.exc_type, found.exc_traceback)


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[-_MOST_PLACES:]


def _timestamp(seconds: float) -> str:
    whole, microseconds = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{microseconds // 1000:03d}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
