"""``/metrics``: everything that is counted, for Prometheus; and what others know, read when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.api.routing import Routes
from app.core.errors import ApiError
from app.limits.buckets import Buckets
from app.limits.guard import AccountGuard
from app.store.contract import Store
from app.telemetry.exposition import CONTENT_TYPE
from app.telemetry.metrics import Metrics, Probe
from app.telemetry.process import Reading

PATH: Final = "/metrics"

STORE_SECONDS: Final = 2.0
"""How long the store may take to say that it is there."""


SWITCHED: Final = 101
"""The status of a connection that has become a WebSocket."""

_STREAM: Final = b"text/event-stream"


class Visit:
    """One request, counted as long as it is open.

    Args:
        metrics: Where it is counted.
        kind: What ASGI calls it: ``http`` or ``websocket``.
    """

    __slots__ = ("_metrics", "_open", "_streams")

    def __init__(self, metrics: Metrics, kind: str) -> None:
        self._metrics = metrics
        self._open = metrics.websockets_open if kind == "websocket" else metrics.http_open
        self._streams = False
        self._open.inc()

    def answer(self, start: Message) -> None:
        """Count the answer, of which this is the first message."""
        self._metrics.answered(start.get("status", SWITCHED))
        for name, value in start.get("headers", ()):
            if name == b"content-type":
                if value.startswith(_STREAM):
                    self._streams = True
                    self._metrics.streams_open.inc()
                return

    def end(self) -> None:
        """It is open no more."""
        self._open.dec()
        if self._streams:
            self._metrics.streams_open.dec()


def routes(metrics: Metrics, store: Callable[[], Store | None]) -> Routes:
    """Make the route.

    Args:
        metrics: What is shown.
        store: The store, once it is open; it is asked for nothing at every reading.
    """
    routes = Routes()

    async def show(_: Request) -> Response:
        answers = await _answers(store())
        if answers is not None:
            metrics.state(Reading("flarelay_store_up", float(answers)))
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})

    routes.add(PATH, show, "GET")
    return routes


async def _answers(store: Store | None) -> bool | None:
    if store is None:
        return None
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await store.ping()
    except (ApiError, TimeoutError):
        return False
    return True


def limiting(buckets: Buckets, guards: Sequence[AccountGuard]) -> Probe:
    """Numbers of the limits.

    Args:
        buckets: What limits are counted in.
        guards: Those of all accounts; none where nothing guards them.
    """

    def read() -> Iterator[Reading]:
        limits = buckets.stats
        yield Reading("flarelay_limiter_decisions_total", limits.admitted, ("admitted",))
        yield Reading("flarelay_limiter_decisions_total", limits.refused, ("refused",))
        yield Reading("flarelay_limiter_decisions_total", limits.unavailable, ("unavailable",))
        yield Reading("flarelay_limiter_degraded_total", limits.degraded)
        yield Reading("flarelay_redis_away", limits.away)
        yield Reading("flarelay_redis_away_seconds_total", limits.away_seconds)
        yield Reading("flarelay_redis_outages_total", limits.outages)
        if guards:
            turns = [guard.stats for guard in guards]
            yield Reading("flarelay_account_guard_waiting", sum(stats.waiting for stats in turns))
            yield Reading("flarelay_account_guard_waited_total", sum(stats.waited for stats in turns))
            yield Reading("flarelay_account_guard_refused_total", sum(stats.refused for stats in turns))

    return read


def refusing(refused: Callable[[], int]) -> Probe:
    """Numbers of the server.

    Args:
        refused: How many requests it has refused for lack of room.
    """

    def read() -> Iterator[Reading]:
        yield Reading("flarelay_overload_refused_total", refused())

    return read


def standing(refreshed_at: Callable[[], float], running: Callable[[], int]) -> Probe:
    """Numbers of the catalogue and of the background.

    Args:
        refreshed_at: When Cloudflare's list of models was read last, in Unix seconds; 0 before.
        running: How many background responses are being made.
    """

    def read() -> Iterator[Reading]:
        yield Reading("flarelay_catalogue_refreshed_timestamp_seconds", refreshed_at())
        yield Reading("flarelay_background_running", running())

    return read
