"""The Grafana dashboard, panel by panel: ``python -m tests.deploy.dashboard`` writes ``deploy/grafana/dashboard.json``.

What Grafana stores is a thousand lines that nobody reads; this is what they are made from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.deploy.composed import DEPLOY

PATH = DEPLOY / "grafana/dashboard.json"

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, PER_ROW = 8, 8, 3

LOGGED = {
    "request_id": "one for each request",
    "upstream_request_id": "one for each request",
    "model": "the client's own word; `upstream_model` is the label",
    "began": "the time axis",
}
"""Fields of the outcome that no metric may have, because their values have no end: they are in the log line."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Its heading.
        queries: What is drawn, each with its legend.
        unit: Grafana's name of the unit.
        fields: The outcome's fields that it shows.
        about: What else to know.
        stacked: The series are parts of a whole.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    fields: tuple[str, ...] = ()
    about: str = ""
    stacked: bool = False


def series(name: str, *matchers: str) -> str:
    """A metric of the chosen instances."""
    chosen = ", ".join(['job=~"$job"', 'instance=~"$instance"', *matchers])
    return f"{name}{{{chosen}}}"


def rate(name: str, *labels: str, matchers: tuple[str, ...] = ()) -> str:
    """How fast a counter grows, by some labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} (rate({series(name, *matchers)}[$__rate_interval]))"


def total(name: str, *labels: str) -> str:
    """A gauge over all instances, by some labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    return f"sum{by} ({series(name)})"


def by(title: str, name: str, label: str, unit: str = "reqps", **more: Any) -> Panel:
    """A counter by one label."""
    return Panel(title, ((rate(name, label), f"{{{{{label}}}}}"),), unit, stacked=True, **more)


def quantiles(title: str, name: str, **more: Any) -> Panel:
    """The spread of a histogram."""
    inner = rate(f"{name}_bucket", "le")
    drawn = tuple((f"histogram_quantile({q}, {inner})", f"p{100 * q:g}") for q in (0.5, 0.95, 0.99))
    return Panel(title, drawn, "s", **more)


def one(title: str, expression: str, unit: str = "short", legend: str = "", **more: Any) -> Panel:
    """One line, or one for each instance."""
    return Panel(title, ((expression, legend or title.lower()),), unit, **more)


EACH = "{{instance}}"
ROWS: dict[str, tuple[Panel, ...]] = {
    "Requests": (
        by("By status", "flarelay_requests_total", "status", fields=("status",)),
        by("By ending", "flarelay_requests_total", "ending", fields=("ending",)),
        by("Errors by code", "flarelay_errors_total", "code", fields=("error_code",)),
        by("By surface", "flarelay_requests_total", "surface", fields=("surface",)),
        by("By model", "flarelay_requests_total", "model", fields=("upstream_model",)),
        by("Streamed or not", "flarelay_requests_total", "stream", fields=("stream",)),
        by("Why models stopped", "flarelay_finishes_total", "reason", fields=("finish_reason",)),
        by("Fields left out", "flarelay_fields_dropped_total", "field", fields=("dropped",)),
        by("Fields changed", "flarelay_fields_adjusted_total", "field", fields=("adjusted",)),
    ),
    "Time": (
        quantiles("Duration", "flarelay_request_duration_seconds", fields=("seconds",)),
        quantiles("To the first byte", "flarelay_time_to_first_byte_seconds", fields=("first_byte_seconds",)),
        quantiles("Per output token", "flarelay_time_per_output_token_seconds"),
        quantiles("Waiting for Workers AI", "flarelay_upstream_seconds", fields=("upstream_seconds",)),
        quantiles(
            "The proxy's own part",
            "flarelay_overhead_seconds",
            fields=("own_seconds",),
            about="Without waiting for anybody else.",
        ),
        quantiles("Late to its work", "flarelay_loop_delay_seconds", about="High where a process has too much to do."),
        quantiles(
            "Waiting for a turn",
            "flarelay_queue_seconds",
            fields=("queue_seconds",),
            about="At the account's own limits.",
        ),
        one("Requests that wait", total("flarelay_account_guard_waiting"), legend="waiting"),
    ),
    "Tokens and cost": (
        Panel(
            "Tokens",
            (
                (rate("flarelay_input_tokens_total"), "input"),
                (rate("flarelay_cached_input_tokens_total"), "of these cached"),
                (rate("flarelay_output_tokens_total"), "output"),
                (rate("flarelay_reasoning_tokens_total"), "of these reasoning"),
            ),
            "cps",
            fields=("usage",),
        ),
        by("Neurons by model", "flarelay_neurons_total", "model", "cps", fields=("cost",)),
        Panel(
            "US dollars an hour",
            ((f"3600 * {rate('flarelay_cost_usd_total', 'source')}", "{{source}}"),),
            "currencyUSD",
            about="`reported` by Cloudflare, computed from its prices, or `estimated`.",
            stacked=True,
        ),
        by("By caller", "flarelay_caller_requests_total", "caller", fields=("caller",)),
        by("Tokens by caller", "flarelay_caller_tokens_total", "caller", "cps"),
        by("Neurons by caller", "flarelay_caller_neurons_total", "caller", "cps"),
    ),
    "Workers AI": (
        by(
            "Calls by status",
            "flarelay_upstream_attempts_total",
            "status",
            fields=("upstream_status", "upstream_attempts"),
        ),
        by("Calls by account", "flarelay_upstream_attempts_total", "account", fields=("account",)),
        by("Calls by dialect", "flarelay_upstream_attempts_total", "dialect", fields=("dialect",)),
        by("Cloudflare's error codes", "flarelay_upstream_errors_total", "code", fields=("upstream_code",)),
        one("Models in the catalogue", series("flarelay_catalogue_models"), legend=EACH),
        one(
            "Age of the catalogue",
            f"time() - ({series('flarelay_catalogue_refreshed_timestamp_seconds')} > 0)",
            "s",
            EACH,
            about="Nothing is drawn while only the bundled list is known.",
        ),
    ),
    "Limits": (
        by("Decisions", "flarelay_limiter_decisions_total", "decision"),
        Panel(
            "Turns at the account's limits",
            (
                (rate("flarelay_account_guard_waited_total"), "waited"),
                (rate("flarelay_account_guard_refused_total"), "refused"),
            ),
            "reqps",
        ),
        Panel(
            "Redis",
            (
                (f"max({series('flarelay_redis_away')})", "away"),
                (rate("flarelay_redis_outages_total"), "outages a second"),
                (rate("flarelay_redis_away_seconds_total"), "share of time, added up"),
                (rate("flarelay_limiter_degraded_total"), "decided alone, a second"),
            ),
        ),
    ),
    "Process": (
        Panel(
            "Open",
            (
                (total("flarelay_http_requests_open"), "requests"),
                (total("flarelay_streams_open"), "of these streams"),
                (total("flarelay_websockets_open"), "WebSockets"),
                (total("flarelay_background_running"), "in the background"),
            ),
        ),
        by("Answers on all routes", "flarelay_http_responses_total", "status"),
        one(
            "Refused for lack of room",
            rate("flarelay_overload_refused_total"),
            "reqps",
            about="These are in no other panel: FLARELAY_MAX_IN_FLIGHT, or one replica too few.",
        ),
        one("The store answers", series("flarelay_store_up"), legend=EACH),
        one("CPU", f"sum by (instance) (rate({series('process_cpu_seconds_total')}[$__rate_interval]))", "short", EACH),
        one("Memory", series("process_resident_memory_bytes"), "bytes", EACH),
        Panel(
            "Open files",
            ((series("process_open_fds"), EACH), (f"min({series('process_max_fds')})", "most in one process")),
        ),
        one("Up since", f"time() - {series('process_start_time_seconds')}", "s", EACH),
        one("Processes", total("flarelay_processes", "instance"), legend=EACH),
        one(
            "Versions",
            f"count by (version, python) ({series('flarelay_build_info')})",
            legend="{{version}} on {{python}}",
        ),
    ),
}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    told = [f"Outcome field `{name}`." for name in panel.fields] + ([panel.about] if panel.about else [])
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": " ".join(told),
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": {
                    "fillOpacity": 20 if panel.stacked else 0,
                    "stacking": {"mode": "normal" if panel.stacked else "none"},
                },
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def dashboard() -> dict[str, Any]:
    """The whole, as Grafana imports it."""
    numbers, panels, y = count(1), [], 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": next(numbers),
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
                "panels": [],
            }
        )
        y += 1
        for place, panel in enumerate(row):
            panels.append(_panel(panel, next(numbers), WIDTH * (place % PER_ROW), y + HEIGHT * (place // PER_ROW)))
        y += HEIGHT * -(-len(row) // PER_ROW)
    logged = "\n".join(f"- `{name}`: {why}" for name, why in LOGGED.items())
    panels.append(
        {
            "id": next(numbers),
            "type": "text",
            "title": "In the log only",
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 5},
            "options": {"mode": "markdown", "content": logged},
        }
    )
    return {
        "uid": "flarelay",
        "title": "flarelay",
        "tags": ["flarelay"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                _variable("job", "Job", "label_values(flarelay_build_info, job)"),
                _variable("instance", "Instance", 'label_values(flarelay_build_info{job=~"$job"}, instance)'),
            ]
        },
        "panels": panels,
    }


def written() -> str:
    """What the file is to hold."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(written(), "utf-8")
