"""``POST /v1/responses/input_tokens``: how large a request is, estimated."""

from __future__ import annotations

from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.reply import Replies
from app.api.unsent import answer_unsent
from app.core.request import GenerationRequest
from app.core.surface import Surface
from app.exchange import Exchange, Wiring
from app.exchange.counting import count_input

ESTIMATED = {"x-flarelay-estimated": "true"}


class _Counting:
    """Reads a request like the route that would answer it, and counts instead."""

    def __init__(self, surface: Surface, wiring: Wiring, replies: Replies) -> None:
        self._surface = surface
        self._wiring = wiring
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        exchange = Exchange(self._wiring, self._surface, state["caller"], state["request_id"])
        await answer_unsent(exchange, self._replies, _counted, scope, receive, send, ESTIMATED)


async def _counted(request: GenerationRequest) -> dict[str, Any]:
    return {"object": "response.input_tokens", "input_tokens": count_input(request)}


def routes(path: str, surface: Surface, wiring: Wiring, replies: Replies) -> list[Route]:
    """The routes, with and without the version in front."""
    endpoint = _Counting(surface, wiring, replies)
    return [Route(f"{prefix}{path}/input_tokens", endpoint, methods=["POST"]) for prefix in ("/v1", "")]
