"""What the web framework is told about tracing: it can make the spans of requests, and would do more unasked."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from fastapi.telemetry import TelemetryConfig

from app.api.caller import PUBLIC_PATHS
from app.api.metrics import PATH as METRICS

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


_UNTRACED: Final = PUBLIC_PATHS | {METRICS}
"""What is asked for every few seconds, for ever."""


def server_spans(provider: TracerProvider | None) -> TelemetryConfig:
    """Let the framework make spans of requests, and nothing else.

    By itself it also sends metrics and, with their texts, exceptions and bodies that do not fit, as soon as anything
    in the process or its environment names somewhere to send them to.

    Args:
        provider: What spans are made with; ``None`` for no spans.
    """
    return {
        "tracer_provider": provider,
        "tracing": provider is not None,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": _is_untraced,
    }


def _is_untraced(scope: MutableMapping[str, Any]) -> bool:
    return scope["path"] in _UNTRACED
