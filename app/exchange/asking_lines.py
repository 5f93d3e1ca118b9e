"""Asking a line of a batch: like any other request, but for a body and without a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from msgspec.structs import replace

from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest
from app.core.surface import NOTHING, Surface
from app.dialects.choice import choose
from app.dialects.queued import FORMS, item
from app.exchange.exchange import Exchange
from app.exchange.run import Run, Service
from app.exchange.upstream import Upstream
from app.exchange.wiring import Wiring, no_fallbacks
from app.wire.codec import encode

Ask: TypeAlias = Callable[[bytes, Caller, str], Awaitable[bytes]]
"""Asks a raw body for a caller, under a request id; the raw body of the answer. Raises ``ApiError``."""

_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


class Packable(Protocol):
    """An endpoint whose lines can go to the upstream's own queue."""

    def fits(self, body: Mapping[str, Any]) -> bool:
        """Nothing of a body is lost there."""

    def through(self, upstream: Upstream) -> Ask:
        """Ask another upstream than the usual one."""


class Generating:
    """Asks models that generate text.

    Args:
        wiring: What every exchange needs.
        surface: What the lines speak.
    """

    def __init__(self, wiring: Wiring, surface: Surface) -> None:
        self._wiring = wiring
        self._surface = surface

    async def __call__(self, raw: bytes, caller: Caller, request_id: str) -> bytes:
        """Ask a line.

        Raises:
            ApiError: It cannot be served, or was not.
        """
        exchange = Exchange(self._wiring, self._surface, caller, request_id)
        try:
            await exchange.read(raw)
            if exchange.stream:
                raise _unsupported("stream")
            if exchange.background:
                raise _unsupported("background")
            await exchange.send()
            return encode(await exchange.whole())
        except ApiError as error:
            exchange.fail(error)
            raise
        except asyncio.CancelledError:
            exchange.leave()
            raise
        finally:
            await exchange.settle()

    def fits(self, body: Mapping[str, Any]) -> bool:
        """Nothing of a body is lost in the upstream's own queue."""
        wiring = self._wiring
        try:
            model = wiring.catalogue().resolve(str(body.get("model")))
            # What is not alone, or has something to be fetched, is left to those who can do everything.
            if model.id not in FORMS or body.get("n") not in {None, 1} or self._surface.wants(body) != NOTHING:
                return False
            request = self._surface.read(body)
            if request.stream:
                return False
            sent = wiring.dialects[choose(request, model)].write(request, model, stream=True)
        except (ApiError, TypeError):
            return False
        return item(model, sent.json, limited=limited(body, wiring)) is not None

    def through(self, upstream: Upstream) -> Ask:
        """Ask another upstream."""
        return Generating(replace(self._wiring, upstream=upstream, fallbacks=no_fallbacks), self._surface)


class Running:
    """Asks models that answer in one piece.

    Args:
        wiring: What every exchange needs.
        service: What the lines speak.
    """

    def __init__(self, wiring: Wiring, service: Service[Any, Any]) -> None:
        self._wiring = wiring
        self._service = service

    async def __call__(self, raw: bytes, caller: Caller, request_id: str) -> bytes:
        """Ask a line.

        Raises:
            ApiError: It cannot be served, or was not.
        """
        run = Run(self._wiring, self._service, caller, request_id)
        try:
            return (await run.answer(raw)).body
        except ApiError as error:
            run.fail(error)
            raise
        except asyncio.CancelledError:
            run.leave()
            raise
        finally:
            await run.settle()

    def fits(self, body: Mapping[str, Any]) -> bool:
        """Nothing of a body is lost in the upstream's own queue."""
        try:
            model = self._wiring.catalogue().resolve(str(body.get("model")))
            if model.id not in FORMS or not self._service.dialect.serves(model):
                return False
            calls = self._service.dialect.write(self._service.surface.read(body), model)
        except ApiError:
            return False
        return len(calls) == 1 and item(model, calls[0].request.json, limited=False) is not None

    def through(self, upstream: Upstream) -> Ask:
        """Ask another upstream."""
        return Running(replace(self._wiring, upstream=upstream, fallbacks=no_fallbacks), self._service)


def limited(body: Mapping[str, Any], wiring: Wiring) -> bool:
    """Somebody has set a limit of tokens: the client, or whoever runs the proxy."""
    return wiring.default_max_tokens is not None or any(body.get(name) is not None for name in _LIMITS)


def _unsupported(name: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{name}' does not support true in a batch.", param=name, code="unsupported_value"
    )
