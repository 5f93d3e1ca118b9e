"""``/healthz`` (the process lives) and ``/readyz`` (it takes requests)."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from app.wire.codec import encode


def router(is_ready: Callable[[], bool], version: str) -> APIRouter:
    """Make the routes."""
    routes = APIRouter()

    async def healthz() -> Response:
        return Response(encode({"status": "ok", "version": version}), media_type="application/json")

    async def readyz() -> Response:
        ready = is_ready()
        body = encode({"status": "ready" if ready else "not ready"})
        return Response(body, status_code=200 if ready else 503, media_type="application/json")

    routes.add_api_route("/healthz", healthz, methods=["GET", "HEAD"])
    routes.add_api_route("/readyz", readyz, methods=["GET", "HEAD"])
    return routes
