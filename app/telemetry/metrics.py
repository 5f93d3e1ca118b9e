"""What is counted about exchanges: once for each, at its end, and shown to Prometheus.

Counting is an addition to a number at a known place: 3 µs for one request. The client library takes 7 for the same, and
19 where several processes count together.
"""

from __future__ import annotations

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from app.catalog.catalogue import Catalogue
from app.core.outcome import Outcome
from app.telemetry.cells import Cells
from app.telemetry.exposition import joined, write
from app.telemetry.families import FAMILIES
from app.telemetry.labels import NONE, Callers, Models, error_code, fields, upstream_code
from app.telemetry.process import Reading, process_readings

PUBLISH_SECONDS: Final = 1.0
"""How old what other processes state may be: what is waiting and open there; what they count is never old."""

Probe = Callable[[], Iterable[Reading]]
"""Asked for numbers that somebody else knows, each time that they are to be shown."""


class _Places(dict[tuple[object, ...], int]):
    """Where the series of one metric are, by the values of their labels."""

    def __init__(self, cells: Cells, name: str) -> None:
        super().__init__()
        self._cells = cells
        self._family = FAMILIES[name]

    def __missing__(self, labels: tuple[object, ...]) -> int:
        place = self[labels] = self._cells.place(self._family, tuple(map(_text, labels)))
        return place


def _text(value: object) -> str:
    if value is None:
        return NONE
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class _Histogram:
    """Sorts what is measured into buckets, and adds it up."""

    __slots__ = ("_bounds", "_places", "_total", "_values")

    def __init__(self, cells: Cells, name: str) -> None:
        self._values = cells.values
        self._places = _Places(cells, name)
        self._bounds = FAMILIES[name].buckets
        self._total = len(self._bounds) + 1

    def observe(self, value: float, *labels: object) -> None:
        place, values = self._places[labels], self._values
        values[place + bisect_left(self._bounds, value)] += 1.0
        values[place + self._total] += value


class Gauge:
    """Counts what is there at the moment."""

    __slots__ = ("_place", "_values")

    def __init__(self, cells: Cells, name: str) -> None:
        self._values = cells.values
        self._place = cells.place(FAMILIES[name], ())

    def inc(self) -> None:
        """One more."""
        self._values[self._place] += 1.0

    def dec(self) -> None:
        """One less."""
        self._values[self._place] -= 1.0


class Metrics:
    """All metrics of one process, and how to show them.

    To be made in the process that counts, never before a fork.

    Args:
        catalogue: The catalogue as it is now: only its models are told apart.
        version: Of this program.
        started: When the process began, in Unix seconds.
        directory: Where the processes that serve one port have their numbers; ``None`` for a process alone.
        callers: How many callers are told apart, by their public ids; 0 for none.

    Attributes:
        http_open: HTTP requests that are being answered.
        streams_open: Answers that are being streamed.
        websockets_open: WebSocket connections.
    """

    def __init__(
        self,
        catalogue: Callable[[], Catalogue],
        *,
        version: str,
        started: float,
        directory: Path | None = None,
        callers: int = 0,
    ) -> None:
        cells = self._cells = Cells(directory)
        self._values = cells.values
        self._models = Models(catalogue)
        self._callers = Callers(callers) if callers else None
        self._started = started
        self._build = (version, platform.python_version())
        self._alone = directory is None
        self._probes: list[Probe] = []
        self._bases: dict[int, float] = {}

        self._requests = _Places(cells, "flarelay_requests_total")
        self._errors = _Places(cells, "flarelay_errors_total")
        self._finishes = _Places(cells, "flarelay_finishes_total")
        self._duration = _Histogram(cells, "flarelay_request_duration_seconds")
        self._first_byte = _Histogram(cells, "flarelay_time_to_first_byte_seconds")
        self._per_token = _Histogram(cells, "flarelay_time_per_output_token_seconds")
        self._overhead = _Histogram(cells, "flarelay_overhead_seconds")
        self._upstream = _Histogram(cells, "flarelay_upstream_seconds")
        self._queue = _Histogram(cells, "flarelay_queue_seconds")
        self._input = _Places(cells, "flarelay_input_tokens_total")
        self._cached = _Places(cells, "flarelay_cached_input_tokens_total")
        self._output = _Places(cells, "flarelay_output_tokens_total")
        self._reasoning = _Places(cells, "flarelay_reasoning_tokens_total")
        self._neurons = _Places(cells, "flarelay_neurons_total")
        self._cost = _Places(cells, "flarelay_cost_usd_total")
        self._attempts = _Places(cells, "flarelay_upstream_attempts_total")
        self._upstream_errors = _Places(cells, "flarelay_upstream_errors_total")
        self._dropped = _Places(cells, "flarelay_fields_dropped_total")
        self._adjusted = _Places(cells, "flarelay_fields_adjusted_total")
        self._caller_requests = _Places(cells, "flarelay_caller_requests_total")
        self._caller_tokens = _Places(cells, "flarelay_caller_tokens_total")
        self._caller_neurons = _Places(cells, "flarelay_caller_neurons_total")
        self._responses = _Places(cells, "flarelay_http_responses_total")
        self._loop_delay = _Histogram(cells, "flarelay_loop_delay_seconds")
        self.http_open = Gauge(cells, "flarelay_http_requests_open")
        self.streams_open = Gauge(cells, "flarelay_streams_open")
        self.websockets_open = Gauge(cells, "flarelay_websockets_open")

    def report(self, outcome: Outcome) -> None:
        """Count one exchange."""
        values = self._values
        model = self._models.label(outcome.upstream_model)
        surface, stream = outcome.surface, outcome.stream
        values[self._requests[surface, model, outcome.status, outcome.ending, stream]] += 1.0
        if outcome.error_code is not None:
            values[self._errors[surface, model, error_code(outcome.error_code)]] += 1.0
        if outcome.upstream_code is not None:
            values[self._upstream_errors[(upstream_code(outcome.upstream_code),)]] += 1.0
        for status in outcome.upstream_attempts:
            values[self._attempts[model, outcome.dialect, outcome.account, status or None]] += 1.0
        if outcome.dropped or outcome.adjusted:
            self._count_fields(outcome)
        if outcome.usage is not None:
            self._count_usage(outcome, model)
        if outcome.queue_seconds:
            self._queue.observe(outcome.queue_seconds, model)
        first_byte = outcome.first_byte_seconds
        if first_byte is not None:
            self._first_byte.observe(first_byte, surface, model, stream)
        if outcome.finish_reason is not None:
            values[self._finishes[model, outcome.finish_reason]] += 1.0
        if outcome.ending == "completed" and first_byte is not None:
            seconds = outcome.seconds
            self._duration.observe(seconds, surface, model, stream)
            self._upstream.observe(outcome.upstream_seconds, model)
            if outcome.own_seconds is not None:
                self._overhead.observe(outcome.own_seconds, surface, stream)
            if outcome.usage is not None and (tokens := outcome.usage.completion_tokens) > 1:
                self._per_token.observe((seconds - first_byte) / (tokens - 1), model)
        if self._callers is not None:
            self._count_caller(outcome, self._callers.label(outcome.caller))

    def answered(self, status: int) -> None:
        """Count one answer, on whatever route."""
        self._values[self._responses[(status,)]] += 1.0

    def watch(self, probe: Probe) -> None:
        """Show numbers that somebody else knows."""
        self._probes.append(probe)

    def publish(self) -> None:
        """Put what others know where all processes see it."""
        self.state(Reading("flarelay_processes", 1))
        self.state(Reading("flarelay_build_info", 1, self._build))
        self.state(Reading("process_start_time_seconds", self._started))
        self.state(Reading("flarelay_catalogue_models", len(self._models)))
        for reading in process_readings():
            self.state(reading)
        for probe in self._probes:
            for reading in probe():
                self.state(reading)

    def state(self, reading: Reading) -> None:
        """Take one number that somebody else knows."""
        family = FAMILIES[reading.name]
        place = self._cells.place(family, reading.labels)
        # A counter of this process goes on from where the one before it has stopped.
        base = self._bases.setdefault(place, self._values[place]) if family.kind == "counter" else 0.0
        self._values[place] = base + reading.value

    def text(self) -> bytes:
        """Everything, of all processes, as Prometheus reads it."""
        self.publish()
        return write(joined(self._cells.rows()))

    async def run(self) -> None:
        """Measure how late this process is, and keep what others show of it fresh, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._alone:
                self.publish()
            due = loop.time() + PUBLISH_SECONDS
            await asyncio.sleep(PUBLISH_SECONDS)
            self._loop_delay.observe(max(0.0, loop.time() - due))

    def close(self) -> None:
        """Let go of the numbers, for a process that starts later to go on with."""
        self._cells.close()

    def _count_usage(self, outcome: Outcome, model: str) -> None:
        values, usage, cost = self._values, outcome.usage, outcome.cost
        assert usage is not None  # noqa: S101 - the only caller looks first
        key = (model, usage.source)
        values[self._input[key]] += usage.prompt_tokens
        values[self._output[key]] += usage.completion_tokens
        if usage.cached_tokens:
            values[self._cached[key]] += usage.cached_tokens
        if usage.reasoning_tokens:
            values[self._reasoning[key]] += usage.reasoning_tokens
        if cost is not None:
            key = (model, cost.source)
            values[self._neurons[key]] += cost.neurons
            values[self._cost[key]] += cost.usd

    def _count_fields(self, outcome: Outcome) -> None:
        for field in fields(outcome.dropped):
            self._values[self._dropped[(field,)]] += 1.0
        for field in fields(outcome.adjusted):
            self._values[self._adjusted[(field,)]] += 1.0

    def _count_caller(self, outcome: Outcome, caller: str) -> None:
        key = (caller,)
        self._values[self._caller_requests[key]] += 1.0
        if outcome.usage is not None:
            self._values[self._caller_tokens[key]] += outcome.usage.total_tokens
        if outcome.cost is not None:
            self._values[self._caller_neurons[key]] += outcome.cost.neurons
