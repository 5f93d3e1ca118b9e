"""The routes that generate: each names its surface and calls the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.reply import Replies, send_error
from app.api.unsent import answer_unsent
from app.core.errors import ApiError, BadRequest
from app.core.request import GenerationRequest
from app.core.surface import Surface
from app.exchange import Exchange, Wiring
from app.exchange.drafting import upstream_headers
from app.exchange.explain import explain

EXPLAIN: Final = "x-flarelay-explain"
"""The header that asks what would be sent, in the place of sending it."""

_NAME: Final = EXPLAIN.encode()
_YES: Final = frozenset({"true", "1"})
_NO: Final = frozenset({"", "false", "0"})


class _Endpoint:
    """Serves one surface. A plain ASGI application: the framework's own request handling costs more than ours."""

    def __init__(self, surface: Surface, wiring: Wiring, replies: Replies) -> None:
        self._surface = surface
        self._wiring = wiring
        self._replies = replies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        asked = state["headers"]
        conversation = asked.get(b"x-session-affinity", b"").decode("latin-1") or None
        exchange = Exchange(
            self._wiring, self._surface, state["caller"], state["request_id"], conversation, asked=asked
        )
        if _NAME in asked:
            try:
                explains = _is_wanted(asked)
            except ApiError as error:
                exchange.fail(error)
                await exchange.settle()
                await send_error(error, {}, send)
                return
            if explains:
                await self._explain(exchange, conversation, scope, receive, send)
                return
        await self._replies.serve(exchange, scope, receive, send)

    async def _explain(
        self, exchange: Exchange, conversation: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        state, wiring = scope["state"], self._wiring

        async def say(request: GenerationRequest) -> dict[str, Any]:
            headers = upstream_headers(wiring, state["caller"], request, conversation, state["headers"])
            return await explain(wiring, self._surface, state["caller"], request, headers, wiring.clock())

        await answer_unsent(exchange, self._replies, say, scope, receive, send, {EXPLAIN: "true"})


def _is_wanted(asked: Mapping[bytes, bytes]) -> bool:
    """The client wants an explanation.

    Raises:
        BadRequest: It cannot be told what it wants: to send the request would cost something.
    """
    value = asked[_NAME].decode("latin-1").strip().lower()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise BadRequest(f"The header {EXPLAIN} must be 'true' or 'false'.", param=EXPLAIN, code="invalid_header")


def routes(path: str, surface: Surface, wiring: Wiring, replies: Replies) -> list[Route]:
    """The routes of one surface, with and without the version in front, since people set either as their base URL."""
    endpoint = _Endpoint(surface, wiring, replies)
    return [Route(prefix + path, endpoint, methods=["POST"]) for prefix in ("/v1", "")]
