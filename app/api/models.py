"""``/v1/models``: the catalogue in OpenAI's words; each key sees the models that it may use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from app.api.routing import Routes
from app.catalog.catalogue import Catalogue
from app.core.caller import Caller
from app.core.errors import NotFound
from app.wire.codec import encode


def routes(catalogue: Callable[[], Catalogue]) -> Routes:
    """Make the routes; ids hold slashes, so the last part of the path is all of the id."""
    routes = Routes()

    async def list_models(request: Request) -> Response:
        caller: Caller = request.state.caller
        entries = catalogue().entries()
        if caller.models:
            entries = [entry for entry in entries if _is_for(caller, entry)]
        return Response(encode({"object": "list", "data": entries}), media_type="application/json")

    async def retrieve_model(request: Request, model: str) -> Response:
        entry = catalogue().find_entry(model)
        if not _is_for(request.state.caller, entry):
            raise NotFound(
                f"The model '{model}' does not exist or you do not have access to it.",
                code="model_not_found",
                param="model",
            )
        return Response(encode(entry), media_type="application/json")

    for prefix in ("/v1", ""):
        routes.add(f"{prefix}/models", list_models, "GET")
        routes.add(f"{prefix}/models/{{model:path}}", retrieve_model, "GET")
    return routes


def _is_for(caller: Caller, entry: dict[str, Any]) -> bool:
    root: str = entry["root"]
    return caller.may_use(entry["id"], root, root.rpartition("/")[2])
