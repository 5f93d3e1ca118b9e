"""Sending an answer, noticing a client that leaves, and breaking off on purpose."""

import asyncio
import contextlib
import math
from collections.abc import Iterable, Mapping
from typing import Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.emulator.capacity import Place
from app.emulator.connection import Connection
from app.emulator.state import EmulatorState
from app.emulator.wire import Signal, Spill, Step, Wait

_LONGEST_FAREWELL = 1.0
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Reply(Response):
    """An answer as an ASGI application.

    It waits for its place where the model is busy, and stops producing as soon as the client is gone. A cut closes the
    connection with the body unfinished.

    Args:
        state: Where open streams are counted.
        status: HTTP status.
        content_type: Content type, or nothing.
        steps: What to write, and when to wait, fall silent or break off.
        first_byte: Seconds before the headers; `inf` for never.
        delay: Seconds between writes.
        headers: More headers.
        opening: Whether there is an answer, or the connection ends before it.
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
        headers: Headers = (),
        opening: Literal["answer", "close", "reset"] = "answer",
        streamed: bool = False,
    ) -> None:
        super().__init__(status_code=status)
        self._state = state
        self._status = status
        self._steps = iter(steps)
        self._first_byte = first_byte
        self._delay = delay
        self._opening = opening
        self._streamed = streamed
        named = {"content-type": content_type} if content_type else {}
        pairs = [*named.items(), *(headers.items() if isinstance(headers, Mapping) else headers)]
        self._fields = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in pairs]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Play the answer."""
        connection: Connection = scope["emulator.connection"]
        place: Place | None = scope["emulator.incoming"].place
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            if place is not None and not await place.reached(gone):
                return
            if await _left_within(gone, self._first_byte):
                return
            if self._opening != "answer":
                await _broken_off(connection, gone, reset=self._opening == "reset")
                return
            await send({"type": "http.response.start", "status": self._status, "headers": self._fields})
            self._state.open_streams += self._streamed
            try:
                if await self._play(send, connection, gone):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self._state.open_streams -= self._streamed
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _play(self, send: Send, connection: Connection, gone: "asyncio.Future[None]") -> bool:
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
                case Signal.CUT | Signal.RESET:
                    await _broken_off(connection, gone, reset=step is Signal.RESET)
                    return False
                case Spill(data):
                    if connection.write(data):
                        await _broken_off(connection, gone, reset=False)
                        return False
                    await send({"type": "http.response.body", "body": data, "more_body": True})
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


async def _broken_off(connection: Connection, gone: "asyncio.Future[None]", *, reset: bool) -> None:
    """Break the connection, and wait until the server has noticed: it would answer in our place otherwise."""
    await (connection.reset() if reset else connection.close())
    await asyncio.wait({gone}, timeout=_LONGEST_FAREWELL)


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
