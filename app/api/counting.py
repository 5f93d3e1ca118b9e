"""``POST /v1/responses/input_tokens``: how large a request is, estimated."""

from __future__ import annotations

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.reply import ClientLeft, Replies, send_error, send_json
from app.core.errors import ApiError
from app.core.surface import Surface
from app.exchange import Exchange, Wiring
from app.exchange.counting import count_input
from app.wire.codec import encode

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
        try:
            request = await exchange.read(await self._replies.read(scope, receive))
            exchange.skip()
            body = encode({"object": "response.input_tokens", "input_tokens": count_input(request)})
            await send_json(200, body, {**ESTIMATED, **exchange.headers}, send)
        except ApiError as error:
            exchange.fail(error)
            await send_error(error, exchange.headers, send)
        except ClientLeft:
            exchange.leave()
        finally:
            await exchange.settle()


def routes(path: str, surface: Surface, wiring: Wiring, replies: Replies) -> list[Route]:
    """The routes, with and without the version in front."""
    endpoint = _Counting(surface, wiring, replies)
    return [Route(f"{prefix}{path}/input_tokens", endpoint, methods=["POST"]) for prefix in ("/v1", "")]
