"""Sending an answer, noticing a client that leaves, and breaking off on purpose."""

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.emulator.state import EmulatorState
from app.emulator.wire import Signal, Step, Wait


class Reply(Response):
    """An answer as an ASGI application.

    It stops producing as soon as the client is gone. A cut is a body that is never finished: the server then
    closes the connection with the chunked encoding incomplete.

    Args:
        state: Where open streams are counted.
        status: HTTP status.
        content_type: Content type, or nothing.
        steps: What to write, and when to wait, fall silent or break off.
        first_byte: Seconds before the headers; `inf` for never.
        delay: Seconds between writes.
        headers: More headers.
        streamed: Whether it counts as an open stream.
    """

    def __init__(
        self,
        state: EmulatorState,
        *,
        status: int = 200,
        content_type: str = "application/json",
        steps: Iterable[Step] = (),
        first_byte: float = 0.0,
        delay: float = 0.0,
        headers: Mapping[str, str] | None = None,
        streamed: bool = False,
    ) -> None:
        super().__init__(status_code=status)
        self._state = state
        self._status = status
        self._steps = iter(steps)
        self._first_byte = first_byte
        self._delay = delay
        self._streamed = streamed
        named = {"content-type": content_type} if content_type else {}
        named |= dict(headers or {})
        self._fields = [(key.lower().encode(), value.encode()) for key, value in named.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's shape
        """Play the answer."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            if await _left_within(gone, self._first_byte):
                return
            await send({"type": "http.response.start", "status": self._status, "headers": self._fields})
            self._state.open_streams += self._streamed
            try:
                if await self._play(send, gone):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self._state.open_streams -= self._streamed
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _play(self, send: Send, gone: "asyncio.Future[None]") -> bool:
        """Write every step; return whether the body may be finished."""
        first = True
        for step in self._steps:
            match step:
                case Wait(seconds):
                    if await _left_within(gone, seconds):
                        return False
                case Signal.SILENCE:
                    await gone
                    return False
                case Signal.CUT:
                    # Let what was written reach the client before the connection goes.
                    await asyncio.sleep(0)
                    return False
                case bytes():
                    if not first and await _left_within(gone, self._delay):
                        return False
                    first = False
                    await send({"type": "http.response.body", "body": step, "more_body": True})
                case _:
                    continue
            if gone.done():
                return False
        return True


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _left_within(gone: "asyncio.Future[None]", seconds: float) -> bool:
    """Wait; return whether the client left meanwhile."""
    if seconds <= 0:
        await asyncio.sleep(0)
    else:
        await asyncio.wait({gone}, timeout=None if math.isinf(seconds) else seconds)
    return gone.done()
