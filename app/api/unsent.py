"""Answering a request from what it says alone, without its being sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from starlette.types import Receive, Scope, Send

from app.api.reply import ClientLeft, Replies, send_error, send_json
from app.core.errors import ApiError
from app.core.request import GenerationRequest
from app.exchange import Exchange
from app.wire.codec import encode

Say: TypeAlias = Callable[[GenerationRequest], Awaitable[dict[str, Any]]]


async def answer_unsent(
    exchange: Exchange, replies: Replies, say: Say, scope: Scope, receive: Receive, send: Send, more: Mapping[str, str]
) -> None:
    """Read a request like the route that would answer it, and say something of it instead.

    Args:
        exchange: The request's; it is settled here.
        replies: Reads its body.
        say: Makes the answer.
        scope: ASGI's.
        receive: Likewise.
        send: Likewise.
        more: Headers of the answer.
    """
    try:
        request = await exchange.read(await replies.read(scope, receive))
        body = encode(await say(request))
        exchange.skip()
        await send_json(200, body, {**more, **exchange.headers}, send)
    except ApiError as error:
        exchange.fail(error)
        await send_error(error, exchange.headers, send)
    except ClientLeft:
        exchange.leave()
    finally:
        await exchange.settle()
