"""The routes that generate: each names its surface and calls the exchange."""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.reply import Replies
from app.core.surface import Surface
from app.exchange import Exchange, Wiring


class _Endpoint:
    """Serves one surface. A plain ASGI application: the framework's own request handling costs more than ours."""

    def __init__(self, surface: Surface, wiring: Wiring, replies: Replies) -> None:
        self._surface = surface
        self._wiring = wiring
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        conversation = state["headers"].get(b"x-session-affinity", b"").decode("latin-1") or None
        exchange = Exchange(self._wiring, self._surface, state["caller"], state["request_id"], conversation)
        await self._replies.serve(exchange, scope, receive, send)


def routes(path: str, surface: Surface, wiring: Wiring, replies: Replies) -> list[Route]:
    """The routes of one surface, with and without the version in front, since people set either as their base URL."""
    endpoint = _Endpoint(surface, wiring, replies)
    return [Route(prefix + path, endpoint, methods=["POST"]) for prefix in ("/v1", "")]
