"""Whether the client of an answer is still there, and signs of life for one that waits in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from starlette.types import Receive, Scope, Send

from app.api.drain import Drain
from app.wire.sse import KEEP_ALIVE

DEPARTURE: Final = "flarelay.departure"
"""The ASGI extension of a server that calls back when the client leaves; its field ``tell`` is a ``Tell``.

Without it, on any other server or when the client has left already, the server is listened to as ASGI has it, which
takes a task for each request.
"""

Tell: TypeAlias = Callable[[Callable[[], None] | None], None]
"""Given what is to be called, once, when the client leaves; ``None`` ends that. Never called after it has left."""


class Answered(Protocol):
    """A request that is being answered."""

    @property
    def ending(self) -> bool:
        """The answer has come to its end; it is not to be interrupted any more."""


class Presence:
    """Watches whether the client is still there, and cancels the task that serves it when it is not.

    While a stream is silent it also sends comment lines, so that nobody between here and the client takes the silence
    for death. Nothing of it is done per chunk. To be made in the task that it watches over.

    Args:
        scope: What the server says of the request.
        receive: Where the server says that the client has left, unless it calls back.
        send: Where comment lines go.
        interval: Seconds of silence before a comment line; 0 for none.
        drain: Cancels the task, too, when the server has to end before the answer does.
        exchange: What is answered; one that is ending anyway is left to do so.

    Attributes:
        left: The client has left.
        interrupted: The server ends.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        interval: float,
        drain: Drain,
        exchange: Answered | None = None,
    ) -> None:
        self._tell: Tell | None = scope.get("extensions", {}).get(DEPARTURE, {}).get("tell")
        self._receive = receive
        self._send = send
        self._interval = interval
        self._drain = drain
        self._exchange = exchange
        served = asyncio.current_task()
        assert served is not None  # noqa: S101 - it is made by the task that serves the request
        self._served = served
        self._listener: asyncio.Task[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._busy = True
        self._spoke = False
        self.left = False
        self.interrupted = False

    async def __aenter__(self) -> Self:
        if self._tell is not None:
            self._tell(self._leave)
        else:
            self._listener = asyncio.create_task(self._listen())
        self._drain.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._tell is not None:
            self._tell(None)
        for waits in (self._listener, self._silence, self._comment):
            if waits is not None:
                waits.cancel()
        self._drain.leave(self)
        if kind is asyncio.CancelledError and self.left:
            # Only our own cancellation ends here; one from outside goes on.
            return self._served.uncancel() == 0
        return False

    def interrupt(self) -> None:
        """Cancel the task, which then ends the answer; see ``resume``."""
        if not self.left and (self._exchange is None or not self._exchange.ending):
            self.interrupted = True
            self._served.cancel()

    def resume(self) -> bool:
        """Tell whether a cancellation that was caught is an interruption; then the task goes on, to end the answer."""
        return self.interrupted and self._served.uncancel() == 0

    async def send(self, block: bytes, *, more: bool) -> None:
        """Send a part of a stream's body; comment lines come only between two of them."""
        self._busy = self._spoke = True
        await self._send({"type": "http.response.body", "body": block, "more_body": more})
        self._busy = not more
        if self._silence is None and self._interval and more:
            self._silence = asyncio.get_running_loop().call_later(self._interval, self._look)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.left = True
        if not self.interrupted:
            self._served.cancel()

    def _look(self) -> None:
        """Look, once in an interval, whether anything was said in it."""
        self._silence = asyncio.get_running_loop().call_later(self._interval, self._look)
        if self._spoke:
            self._spoke = False
        elif self._comment is None or self._comment.done():
            self._comment = asyncio.create_task(self._break_silence())

    async def _break_silence(self) -> None:
        if not self._busy:
            await self._send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
