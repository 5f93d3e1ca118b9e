"""What is measured: the name, the kind, the labels and the meaning of every metric. The documentation reads it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram"]

Joining = Literal["sum", "max", "min", "own"]
"""What several processes make together: their sum, the largest, the smallest, or what the asked one says alone."""

DURATION: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
FIRST_BYTE: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
PER_TOKEN: Final = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0)
OVERHEAD: Final = (0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)
DELAY: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
QUEUE: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Family(Struct, frozen=True):
    """One metric, with all its series.

    Attributes:
        name: As it is scraped; it ends in its unit, and a counter in ``_total``.
        kind: What may be done with it.
        meaning: In one sentence.
        labels: What its series are told apart by.
        buckets: Of a histogram: the upper bounds, without the infinite one.
        joining: How it is joined where several processes serve.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    joining: Joining = "sum"

    @property
    def width(self) -> int:
        """How many numbers a series is: a histogram has its buckets, the infinite one and the sum."""
        return len(self.buckets) + 2 if self.kind == "histogram" else 1


def _counter(name: str, meaning: str, *labels: str) -> Family:
    return Family(name, "counter", meaning, labels)


def _gauge(name: str, meaning: str, *labels: str, joining: Joining = "sum") -> Family:
    return Family(name, "gauge", meaning, labels, joining=joining)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(name, "histogram", meaning, labels, buckets)


_ALL: Final[Sequence[Family]] = (
    _counter(
        "flarelay_requests_total",
        "Requests for an answer, by how they ended.",
        *("surface", "model", "status", "ending", "stream"),
    ),
    _counter("flarelay_errors_total", "Requests that ended in an error, by its code.", "surface", "model", "code"),
    _counter("flarelay_finishes_total", "Answers by why the model stopped.", "model", "reason"),
    _histogram(
        "flarelay_request_duration_seconds",
        "From a request's arrival to the end of its answer; of whole answers.",
        DURATION,
        *("surface", "model", "stream"),
    ),
    _histogram(
        "flarelay_time_to_first_byte_seconds",
        "From a request's arrival to the first byte of its answer; unstreamed, to the model's first words.",
        FIRST_BYTE,
        *("surface", "model", "stream"),
    ),
    _histogram(
        "flarelay_time_per_output_token_seconds",
        "Between two tokens after the first byte, on the average of one whole answer.",
        PER_TOKEN,
        "model",
    ),
    _histogram(
        "flarelay_overhead_seconds",
        "What the proxy itself adds to a whole answer: its time without the waits for the upstream, for a turn at the "
        "account's limits, for Redis, for images, for the request's body and for a slow client.",
        OVERHEAD,
        *("surface", "stream"),
    ),
    _histogram(
        "flarelay_upstream_seconds",
        "How long a whole answer waited for Workers AI, in all its calls.",
        DURATION,
        "model",
    ),
    _histogram(
        "flarelay_queue_seconds", "How long requests waited for their turn at the account's limits.", QUEUE, "model"
    ),
    _counter("flarelay_input_tokens_total", "Input tokens, cached ones among them.", "model", "source"),
    _counter("flarelay_cached_input_tokens_total", "Input tokens from the upstream's prefix cache.", "model", "source"),
    _counter("flarelay_output_tokens_total", "Output tokens, reasoning among them.", "model", "source"),
    _counter("flarelay_reasoning_tokens_total", "Output tokens spent on reasoning.", "model", "source"),
    _counter("flarelay_neurons_total", "Neurons, Cloudflare's billing unit.", "model", "source"),
    _counter("flarelay_cost_usd_total", "The same in US dollars.", "model", "source"),
    _counter(
        "flarelay_upstream_attempts_total",
        "Calls of Workers AI by the HTTP status of the answer; `none` where none came.",
        *("model", "dialect", "account", "status"),
    ),
    _counter("flarelay_upstream_errors_total", "Requests that ended in an error of Cloudflare, by its code.", "code"),
    _counter("flarelay_fields_dropped_total", "Requests of which a field could not be sent.", "field"),
    _counter("flarelay_fields_adjusted_total", "Requests of which a field was sent with another value.", "field"),
    _counter("flarelay_caller_requests_total", "Requests by who asked; only where `metrics_callers` is set.", "caller"),
    _counter("flarelay_caller_tokens_total", "Likewise input and output tokens together.", "caller"),
    _counter("flarelay_caller_neurons_total", "Likewise neurons.", "caller"),
    _counter("flarelay_http_responses_total", "Answers on all routes, those of the gate among them.", "status"),
    _counter(
        "flarelay_overload_refused_total",
        "Requests refused before they were read, because too many were under way. They are in no other family.",
    ),
    _gauge("flarelay_http_requests_open", "HTTP requests that are being answered."),
    _gauge("flarelay_streams_open", "Of these, answers that are being streamed."),
    _gauge("flarelay_websockets_open", "WebSocket connections."),
    _gauge("flarelay_background_running", "Background responses that are being made."),
    _counter(
        "flarelay_limiter_decisions_total",
        "What became of charges to the limits of callers and of the account: `admitted`, `refused`, or `unavailable` "
        "where it could not be found out.",
        "decision",
    ),
    _counter("flarelay_limiter_degraded_total", "Of these, what one process decided alone, Redis being away."),
    _gauge("flarelay_redis_away", "1 while Redis is not reached.", joining="max"),
    _counter("flarelay_redis_away_seconds_total", "How long Redis was away, added up over the processes."),
    _counter("flarelay_redis_outages_total", "How often Redis went away, added up over the processes."),
    _gauge("flarelay_account_guard_waiting", "Requests that wait for their turn at the account's limits."),
    _counter("flarelay_account_guard_waited_total", "Requests that had to wait for it."),
    _counter("flarelay_account_guard_refused_total", "Requests whose turn would have come too late."),
    _gauge("flarelay_store_up", "1 when the store answers; absent where nothing is stored.", joining="own"),
    _gauge("flarelay_catalogue_models", "Models in the catalogue.", joining="own"),
    _gauge(
        "flarelay_catalogue_refreshed_timestamp_seconds",
        "When Cloudflare's list of models was read last, in Unix seconds; 0 while only the bundled one is known.",
        joining="max",
    ),
    _gauge("flarelay_build_info", "Always 1; its labels tell what runs.", "version", "python", joining="own"),
    _histogram(
        "flarelay_loop_delay_seconds",
        "How late a process gets round to what is due, measured once a second: what it adds to every wait when it has "
        "too much to do.",
        DELAY,
    ),
    _gauge("flarelay_processes", "Server processes that serve this port."),
    _counter("process_cpu_seconds_total", "CPU time, of all server processes."),
    _gauge("process_resident_memory_bytes", "Memory, of all server processes."),
    _gauge("process_open_fds", "Open file descriptors, of all server processes."),
    _gauge("process_max_fds", "The most that one process may open.", joining="min"),
    _gauge("process_start_time_seconds", "When the oldest server process began, in Unix seconds.", joining="min"),
)

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({family.name: family for family in _ALL})
"""Every metric there is, by its name, in the order in which they are shown."""


def metrics_table() -> str:
    """All metrics as a Markdown table."""
    lines = ["| Metric | Type | Labels | Meaning |", "|---|---|---|---|"]
    for family in FAMILIES.values():
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.meaning} |")
    return "\n".join(lines) + "\n"
