"""The calls to the upstream that one choice of an answer takes: again and elsewhere, as long as nothing was given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from app.cloudflare.answer import Answer, total_timeout
from app.core.caller import Caller
from app.core.errors import ApiError, BadRequest
from app.core.model import Model
from app.core.request import GenerationRequest
from app.core.upstream import Dialect, UpstreamRequest
from app.dialects.choice import choose
from app.exchange.gate import Gate
from app.exchange.route import Account, Guard, Route
from app.exchange.waits import Waits
from app.exchange.wiring import Wiring

REJECT_IF_BUSY: Final[Mapping[str, bool]] = {"rejectIfBusy": True}
"""Of the field ``options``: rather refuse at once than queue."""

GATEWAY_RETRIES: Final = "cf-aig-max-attempts"
"""The header by which a client has the gateway try again: if we did as well, the two would multiply."""

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Calls:
    """Makes the calls. Use: ``start``, then ``make``; tell it what became of the answer.

    Args:
        wiring: What it works with.
        request: What to generate.
        model: What generates it.
        headers: Sent to the upstream beside those of every request.
        caller: Who asks.

    Attributes:
        model: What was asked last: another one than was wanted, when that could not be had.
        dialect: What was spoken to it.
        sent: What was sent to it.
        statuses: What the upstream answered to every call; 0 where it did not.
        upstream: The waits for it, the pauses between two calls among them.
        queue: The waits for a turn at the account's own limits.
        status: The upstream's last status; ``None`` before there was one.
        request_id: Cloudflare's id of the last call.
        gateway: What the AI Gateway said about the last call, as headers.
        given_up: The last call has failed, and none will be made after it.
    """

    def __init__(
        self, wiring: Wiring, request: GenerationRequest, model: Model, headers: Mapping[str, str], caller: Caller
    ) -> None:
        self._wiring = wiring
        self._headers = headers
        self._caller = caller
        self.model = model
        self.dialect: Dialect = wiring.dialects[choose(request, model)]
        # What is asked, and that it has been written for the model that is asked.
        self._asked = request
        self._streams = True
        self._written = True
        self.sent = self._write()
        self.statuses: list[int] = []
        self.upstream = Waits(wiring.timer)
        self.queue = Waits(wiring.timer)
        self.status: int | None = None
        self.request_id: str | None = None
        self.gateway = _NOTHING
        self.given_up = False
        fallbacks = wiring.fallbacks(model)
        self._route = wiring.upstream.route(request, model, fallbacks, caller, retries=GATEWAY_RETRIES not in headers)
        self._deadline: float | None = None
        self._gate: Gate | None = None

    @property
    def account(self) -> str:
        """The account that was asked last, by its name."""
        return self._route.account.name

    @property
    def route(self) -> Route:
        """The way from target to target."""
        return self._route

    def start(self, gate: Gate | None = None) -> None:
        """Choose whom to ask first; from now on the whole answer's time runs.

        Args:
            gate: Is passed before the first call.

        Raises:
            ApiError: Nobody may be asked at the moment.
        """
        self._gate = gate
        total = self._wiring.upstream.total_seconds
        if total is not None:
            self._deadline = asyncio.get_running_loop().time() + total
        self._route.start(self._fits)

    async def make(self, request: GenerationRequest, *, stream: bool = True) -> Answer:
        """Call the upstream, again and elsewhere where that makes sense; return when an answer has begun.

        Raises:
            ApiError: The last failure.
        """
        if request is not self._asked or stream != self._streams:
            self._asked, self._streams, self._written = request, stream, False
        self.given_up = False
        route = self._route
        while True:
            account = route.account
            try:
                sent = self.to_be_sent()
                if account.guard is not None or self._gate is not None:
                    await self.queue.of(self._let_through(account.guard))
                route.enter()
                answer = await self.upstream.of(self._call(account, sent))
                break
            except ApiError as error:
                wait = self.after(error)
                if wait is None:
                    raise
            except asyncio.CancelledError:
                route.abandoned()
                raise
            await self._pause(wait)
        route.answered()
        self.request_id = answer.request_id
        self.status = answer.status
        self.gateway = answer.gateway
        return answer

    def to_be_sent(self) -> UpstreamRequest:
        """What is asked, written for the target: what the next call sends."""
        route = self._route
        if route.model is not self.model:
            self.model, self._written = route.model, False
            self.dialect = self._wiring.dialects[choose(self._asked, self.model)]
        if not self._written:
            self.sent, self._written = self._write(), True
        if route.elsewhere:
            return replace(self.sent, json={**self.sent.json, "options": REJECT_IF_BUSY})
        return self.sent

    def succeeded(self) -> None:
        """The last answer has come to its end."""
        self._route.succeeded()

    def broke_off(self, error: ApiError) -> None:
        """The last answer broke off when the client had seen some of it."""
        self._route.failed(error)

    def after(self, error: ApiError) -> float | None:
        """After a failure of which the client has seen nothing: seconds until another call; ``None`` for none."""
        left = math.inf if self._deadline is None else self._deadline - asyncio.get_running_loop().time()
        wait = self._route.after(error, left, self._fits)
        self.given_up = wait is None
        return wait

    async def again(self, wait: float) -> Answer:
        """Ask once more what was asked last, after some seconds.

        Raises:
            ApiError: As for ``make``.
        """
        await self._pause(wait)
        return await self.make(self._asked, stream=self._streams)

    async def unstreamed(self) -> Answer:
        """Ask what was asked last, for an answer in one piece.

        Raises:
            ApiError: As for ``make``.
        """
        return await self.make(self._asked, stream=False)

    async def _call(self, account: Account, sent: UpstreamRequest) -> Answer:
        status = 0
        try:
            answer = await account.client.open(sent, self._deadline)
            status = answer.status
        except ApiError as error:
            status = error.upstream_status or 0
            raise
        finally:
            self.statuses.append(status)
        return answer

    async def _pause(self, seconds: float) -> None:
        if seconds:
            began = self._wiring.timer()
            await self._wiring.upstream.sleep(seconds)
            self.upstream.seconds += self._wiring.timer() - began

    def _write(self) -> UpstreamRequest:
        sent = self.dialect.write(self._asked, self.model, stream=self._streams)
        return replace(sent, headers={**sent.headers, **self._headers})

    def _fits(self, model: Model) -> bool:
        """Another model can take what is asked."""
        try:
            sent = self._wiring.dialects[choose(self._asked, model)].write(self._asked, model, stream=self._streams)
        except BadRequest:
            return False
        return not (self._wiring.strict and (sent.dropped or sent.adjusted))

    async def _let_through(self, guard: Guard | None) -> None:
        """Wait for the account's own limits, and for those who may only be called together with this one."""
        try:
            async with asyncio.timeout_at(self._deadline):
                if guard is not None:
                    await guard.enter(self._caller.id, self.model)
                if self._gate is not None:
                    await self._gate.passed()
        except TimeoutError:
            raise total_timeout() from None
