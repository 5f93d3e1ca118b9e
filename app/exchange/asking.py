"""One call of a task model: made again, and on other accounts, until there is an answer or no sense in it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from app.cloudflare.answer import Answer, total_timeout
from app.core.caller import Caller
from app.core.errors import ApiError, UpstreamBroken
from app.core.model import Model
from app.core.task import JSON, Call, Given
from app.core.usage import Usage
from app.dialects.errors import frame_failure
from app.exchange.calls import GATEWAY_RETRIES
from app.exchange.route import Guard
from app.exchange.waits import Waits
from app.exchange.wiring import Wiring
from app.wire.codec import CodecError, decode_leniently
from app.wire.kinds import HEAD_BYTES

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Asking:
    """Makes one call and reads its whole answer.

    Args:
        wiring: What it works with.
        model: What is asked.
        call: What it is asked.
        caller: Who asks.
        headers: Sent to the upstream beside those of every request.

    Attributes:
        statuses: Of every call of the upstream, 0 where none came.
        request_id: Cloudflare's id of the last call.
        gateway: What the AI Gateway said about the last call, as headers.
        upstream: The waits for it, the pauses between two calls among them.
        queue: The waits for a turn at the account's own limits.
    """

    def __init__(self, wiring: Wiring, model: Model, call: Call, caller: Caller, headers: Mapping[str, str]) -> None:
        self._wiring = wiring
        self._model = model
        self._call = call
        self._caller = caller
        self._sent = replace(call.request, headers={**call.request.headers, **headers})
        self._route = wiring.upstream.task_route(model, retries=GATEWAY_RETRIES not in headers)
        self._charged = False
        self._open: Answer | None = None
        self.statuses: list[int] = []
        self.request_id: str | None = None
        self.gateway = _NOTHING
        self.upstream = Waits(wiring.timer)
        self.queue = Waits(wiring.timer)

    @property
    def account(self) -> str:
        """The account that was asked last, by its name."""
        return self._route.account.name

    @property
    def used(self) -> Usage | None:
        """What the call has used as far as can be known without its answer; ``None`` when nothing."""
        return self._call.estimate if self._charged else None

    async def ask(self, deadline: float | None) -> Given:
        """Call the upstream, and read its answer.

        Args:
            deadline: When it must have come, by the event loop's clock; ``None`` for any time.

        Raises:
            ApiError: The last failure.
        """
        route = self._route
        route.start()
        while True:
            try:
                if route.account.guard is not None:
                    await self.queue.of(self._let_through(route.account.guard, deadline))
                route.enter()
                given = await self.upstream.of(self._try(deadline))
            except ApiError as error:
                left = math.inf if deadline is None else deadline - asyncio.get_running_loop().time()
                wait = route.after(error, left)
                if wait is None:
                    raise
            except asyncio.CancelledError:
                route.abandoned()
                raise
            else:
                route.succeeded()
                return given
            if wait:
                await self.upstream.of(self._pause(wait))

    async def _try(self, deadline: float | None) -> Given:
        self.statuses.append(0)
        # Who is cancelled from now on leaves a call behind that runs on at the upstream.
        self._charged = True
        try:
            answer = await self._route.account.client.open(self._sent, deadline)
        except ApiError as error:
            self._charged = False
            self.statuses[-1] = error.upstream_status or 0
            self.request_id = error.upstream_request_id
            raise
        self._route.answered()
        self.statuses[-1], self.request_id, self.gateway = answer.status, answer.request_id, answer.gateway
        given: Given | None = None
        try:
            given = await self._read(answer)
        finally:
            if given is None or not given.more:
                await answer.aclose()
        return given

    async def more(self) -> bytes:
        """The next bytes of an answer that is given on as it comes; empty at its end.

        Raises:
            ApiError: It broke off.
        """
        assert self._open is not None  # noqa: S101 - there is more of it
        try:
            return await self._open.read()
        except ApiError as error:
            self._route.failed(error)
            raise

    async def aclose(self) -> None:
        """Give up an answer that is still coming. Safe to call again."""
        if self._open is not None:
            await self._open.aclose()

    async def _read(self, answer: Answer) -> Given:
        if self._call.passes and answer.content_type != JSON:
            return await self._begun(answer)
        body = await answer.read_all()
        if answer.content_type != JSON:
            return Given(answer.content_type, body)
        try:
            result = decode_leniently(body)
        except CodecError:
            raise UpstreamBroken("Workers AI sent an answer that cannot be read.") from None
        if isinstance(result, dict):
            failure = frame_failure(result, self._wiring.clock())
            if failure is not None:
                self._charged = False
                raise failure
        given = Given(answer.content_type, body, _unwrapped(result))
        return given if self._call.condense is None else self._call.condense(given)

    async def _begun(self, answer: Answer) -> Given:
        """The beginning of an answer, enough to see what it is."""
        head = b""
        while len(head) < HEAD_BYTES:
            block = await answer.read()
            if not block:
                return Given(answer.content_type, head)
            head += block
        self._open = answer
        return Given(answer.content_type, head, more=True)

    async def _pause(self, seconds: float) -> None:
        await self._wiring.upstream.sleep(seconds)

    async def _let_through(self, guard: Guard, deadline: float | None) -> None:
        """Wait for the account's own limits."""
        try:
            async with asyncio.timeout_at(deadline):
                await guard.enter(self._caller.id, self._model)
        except TimeoutError:
            raise total_timeout() from None


def _unwrapped(payload: Any) -> Any:  # noqa: ANN401 - any JSON
    """What is in Cloudflare's envelope, or the payload where it is in none."""
    if isinstance(payload, dict) and isinstance(payload.get("success"), bool) and "result" in payload:
        return payload["result"]
    return payload
