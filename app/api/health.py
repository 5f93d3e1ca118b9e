"""``/healthz`` (the process lives) and ``/readyz`` (it takes requests)."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from app.api.routing import Routes
from app.wire.codec import encode


def routes(is_ready: Callable[[], bool], version: str) -> Routes:
    """Make the routes."""
    routes = Routes()

    async def healthz(_: Request) -> Response:
        return Response(encode({"status": "ok", "version": version}), media_type="application/json")

    async def readyz(_: Request) -> Response:
        ready = is_ready()
        body = encode({"status": "ready" if ready else "not ready"})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    routes.add("/healthz", healthz, "GET", "HEAD")
    routes.add("/readyz", readyz, "GET", "HEAD")
    return routes
