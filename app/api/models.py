"""``/v1/models``: the catalogue in OpenAI's words."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from app.catalog.catalogue import Catalogue
from app.wire.codec import encode


def router(catalogue: Callable[[], Catalogue]) -> APIRouter:
    """Make the routes; ids hold slashes, so the last part of the path is all of the id."""
    routes = APIRouter()

    async def list_models() -> Response:
        entries = catalogue().entries()
        return Response(encode({"object": "list", "data": entries}), media_type="application/json")

    async def retrieve_model(model: str) -> Response:
        return Response(encode(catalogue().find_entry(model)), media_type="application/json")

    for prefix in ("/v1", ""):
        routes.add_api_route(f"{prefix}/models", list_models, methods=["GET"])
        routes.add_api_route(f"{prefix}/models/{{model:path}}", retrieve_model, methods=["GET"])
    return routes
