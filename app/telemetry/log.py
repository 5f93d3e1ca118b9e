"""One canonical line per exchange, and the format of every other line. Never a prompt, an answer or a secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from app.core.outcome import Outcome
from app.wire.codec import encode

Format = Literal["json", "pretty"]


def log_format(wanted: Literal["auto", "json", "pretty"], stream: TextIO) -> Format:
    """The form of the log: when nobody said, for a person where one is looking."""
    if wanted == "auto":
        return "pretty" if stream.isatty() else "json"
    return wanted


def outcome_fields(outcome: Outcome) -> dict[str, Any]:
    """The canonical line's fields, absent ones left out."""
    usage = outcome.usage
    values: dict[str, Any] = {
        "request_id": outcome.request_id,
        "surface": outcome.surface,
        "caller": outcome.caller,
        "model": outcome.model,
        "upstream_model": outcome.upstream_model,
        "dialect": outcome.dialect,
        "stream": outcome.stream,
        "status": outcome.status,
        "ending": outcome.ending,
        "finish_reason": outcome.finish_reason,
        "error_code": outcome.error_code,
        "upstream_status": outcome.upstream_status,
        "upstream_code": outcome.upstream_code,
        "upstream_request_id": outcome.upstream_request_id,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "neurons": usage.neurons if usage else None,
        "usage_source": usage.source if usage else None,
        "dropped": ",".join(outcome.dropped) or None,
        "adjusted": ",".join(outcome.adjusted) or None,
        "ms": round(outcome.seconds * 1000, 1),
        "first_byte_ms": _milliseconds(outcome.first_byte_seconds),
    }
    return {name: value for name, value in values.items() if value is not None}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


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
        time = datetime.fromtimestamp(self._clock(), UTC).astimezone().strftime("%H:%M:%S")
        self._stream.write(
            f"{time} {outcome.status} {outcome.surface} {outcome.model or '-'} {outcome.ending}{trouble}{tokens}"
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
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            trace = record.exc_info[2]
            places = []
            while trace is not None:
                code = trace.tb_frame.f_code
                places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
                trace = trace.tb_next
            line["places"] = places[-8:]
        return encode(line).decode()


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
