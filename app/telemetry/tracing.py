"""Spans by OpenTelemetry's semantic conventions for generative AI; imported only where tracing is on.

The server's span of the client's request, with the client's ``traceparent`` above it, is the framework's. Below it an
exchange has one span, and the upstream gets its ``traceparent``. Nothing of prompts and answers is in it unless asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from app.core.generation import Generation
from app.core.model import Model
from app.core.outcome import Outcome
from app.core.request import GenerationRequest
from app.telemetry.content import input_messages, output_messages, system_instructions, tool_definitions
from app.telemetry.spans import Trace

PROVIDER: Final = "cloudflare.workers_ai"
"""The conventions have no word for Workers AI; custom ones are allowed."""

_OPERATIONS: Final[Mapping[str, str]] = {"completions": "text_completion"}
_KNOBS: Final = {
    "temperature": float,
    "top_p": float,
    "top_k": float,
    "frequency_penalty": float,
    "presence_penalty": float,
    "seed": int,
}

# Not the global one, which relays baggage too: what clients put into that is not the upstream's business.
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class OtelTracing:
    """Makes spans with OpenTelemetry.

    Args:
        tracer: What they are made with.
        upstream_url: Cloudflare's API.
        content: Put prompts and answers into them.
    """

    def __init__(self, tracer: Tracer, upstream_url: str, *, content: bool = False) -> None:
        self._tracer = tracer
        self._content = content
        url = urlsplit(upstream_url)
        self._server: dict[str, AttributeValue] = {"server.address": url.hostname or ""}
        if port := url.port or {"https": 443, "http": 80}.get(url.scheme):
            self._server["server.port"] = port

    def begin(self, surface: str, request: GenerationRequest, model: Model) -> Trace:
        """Begin a span; see ``app.telemetry.spans.Tracing``."""
        operation = _OPERATIONS.get(surface, "chat")
        span = self._tracer.start_span(
            f"{operation} {model.id}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": model.id,
                **_of_request(request),
                **self._server,
            },
        )
        if self._content and span.is_recording():
            _set(
                span,
                {
                    "gen_ai.system_instructions": system_instructions(request),
                    "gen_ai.input.messages": input_messages(request),
                    "gen_ai.tool.definitions": tool_definitions(request),
                },
            )
        return _OtelTrace(span, content=self._content)


class _OtelTrace:
    def __init__(self, span: Span, *, content: bool) -> None:
        self._span = span
        self._content = content

    @property
    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(self._span))
        return carrier

    def end(self, outcome: Outcome, generations: Sequence[Generation]) -> None:
        span = self._span
        if span.is_recording():
            _set(span, _of_outcome(outcome, generations))
            if self._content and generations:
                span.set_attribute("gen_ai.output.messages", output_messages(generations))
            if outcome.ending in {"failed", "refused"}:
                span.set_status(StatusCode.ERROR)
        span.end()


def _of_request(request: GenerationRequest) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        f"gen_ai.request.{name}": kind(value)
        for name, kind in _KNOBS.items()
        if isinstance(value := request.knobs.get(name, request.extra.get(name)), int | float)
    }
    attributes["gen_ai.request.stream"] = request.stream
    attributes["gen_ai.output.type"] = "text" if request.response_format is None else "json"
    if request.max_tokens is not None:
        attributes["gen_ai.request.max_tokens"] = request.max_tokens
    if len(request.branches) > 1:
        attributes["gen_ai.request.choice.count"] = len(request.branches)
    return attributes


def _of_outcome(outcome: Outcome, generations: Sequence[Generation]) -> dict[str, Any]:
    usage, cost = outcome.usage, outcome.cost
    return {
        "gen_ai.response.model": outcome.upstream_model,
        "gen_ai.response.finish_reasons": [one.reason for one in generations if one.reason is not None] or None,
        "gen_ai.response.time_to_first_chunk": outcome.first_byte_seconds if outcome.stream else None,
        "gen_ai.usage.input_tokens": usage and usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage and usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage and usage.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage and usage.reasoning_tokens,
        "error.type": outcome.error_code,
        "flarelay.request_id": outcome.request_id,
        "flarelay.surface": outcome.surface,
        "flarelay.caller": outcome.caller,
        "flarelay.dialect": outcome.dialect,
        "flarelay.ending": outcome.ending,
        "flarelay.usage_source": usage and usage.source,
        "flarelay.neurons": cost and cost.neurons,
        "flarelay.cost_usd": cost and cost.usd,
        "flarelay.dropped": outcome.dropped or None,
        "flarelay.adjusted": outcome.adjusted or None,
        "flarelay.own_seconds": outcome.own_seconds,
        "flarelay.queue_seconds": outcome.queue_seconds,
        "flarelay.account": outcome.account,
        "flarelay.upstream.attempts": outcome.upstream_attempts or None,
        "flarelay.upstream.code": outcome.upstream_code,
        "flarelay.upstream.request_id": outcome.upstream_request_id,
        "flarelay.upstream.seconds": outcome.upstream_seconds,
    }


def _set(span: Span, attributes: Mapping[str, Any]) -> None:
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
