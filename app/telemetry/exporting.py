"""Where spans go: over OTLP (HTTP) to a collector; imported only where tracing is on.

What the standard OTEL_* variables of the environment say, such as where the collector is, is read by the library.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

CLOSE_SECONDS: Final = 3.0
"""How long the last spans may take to be sent."""

_QUERY: Final = "url.query"


class Exporting:
    """Takes spans, and sends them in batches from a thread of its own.

    Args:
        version: Of this program.
        instance: Tells this process from others.
        exporter: What sends them; by default it is made by ``start``.

    Attributes:
        provider: What spans are made with.
    """

    def __init__(self, version: str, instance: str, exporter: SpanExporter | None = None) -> None:
        own = {"service.name": "flarelay", "service.version": version, "service.instance.id": instance}
        # What the environment says is stronger.
        resource = Resource.create(own).merge(OTELResourceDetector().detect())
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(_WithoutQuery())
        self._exporter = exporter
        self._started = False

    def start(self) -> None:
        """Begin to send. It starts a thread: to be called in the process that serves, never before a fork."""
        if not self._started:
            self._started = True
            self._exporter = self._exporter or OTLPSpanExporter()
            self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    async def aclose(self) -> None:
        """Send what is left, within a bounded time."""
        # Not in the event loop's own threads: those are waited for at its end, however long they take.
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self.provider.shutdown()
            # Where it took too long the loop has ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=send, name="last-spans", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await sent.wait()
        except TimeoutError:
            if self._exporter is not None:
                self._exporter.shutdown()


class _WithoutQuery(SpanProcessor):
    """Takes the query out of the server's spans: some clients put keys there."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        if span.attributes and _QUERY in span.attributes:
            span.set_attribute(_QUERY, "REDACTED")
