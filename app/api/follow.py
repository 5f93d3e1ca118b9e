"""Following a background response: what has been said so far, then what is being said, until it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from app.api.reply import Presence, send_json
from app.core.surface import BackgroundSurface
from app.exchange.background import Bells
from app.exchange.exchange import Exchange
from app.exchange.memory import Memory
from app.store.contract import OPEN
from app.wire.codec import encode
from app.wire.sse import DONE

POLL_SECONDS = 0.5
"""How often the log is read for what another replica writes."""


class Follower:
    """Serves the streams of background responses.

    Args:
        memory: Where their logs are.
        bells: Rung when this process writes to a log.
        keep_alive_seconds: Silence before a comment line; 0 for none.
    """

    def __init__(self, memory: Memory, bells: Bells, keep_alive_seconds: float) -> None:
        self._memory = memory
        self._bells = bells
        self._keep_alive_seconds = keep_alive_seconds

    def follow(self, caller: str, response_id: str, after: int) -> Following:
        """A stream of all events with a higher number than ``after``, past and to come."""
        return Following(self._blocks(caller, response_id, after), self._keep_alive_seconds)

    async def _blocks(self, caller: str, response_id: str, after: int) -> AsyncIterator[bytes]:
        while self._memory.store is not None:
            events = await self._memory.store.work.events(caller, response_id, after=after)
            if events is None:
                break
            if events.frames:
                after = events.frames[-1][0]
                yield b"".join(frame for _, frame in events.frames)
            if events.more:
                continue
            if events.status not in OPEN:
                break
            await self._bells.wait(response_id, POLL_SECONDS)
        yield DONE


class Following(EventSourceResponse):
    """One such stream. Who stops listening stops nothing: the work goes on."""

    def __init__(self, blocks: AsyncIterator[bytes], keep_alive_seconds: float) -> None:
        super().__init__(content=blocks, headers={"cache-control": "no-cache"}, sep="\n", ping=0)
        self._blocks = blocks
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the status, then every block as it comes."""
        del scope
        async with Presence(receive, send, self._keep_alive_seconds) as presence:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for block in self._blocks:
                await presence.send(block, more=True)
            await presence.send(b"", more=False)


class BackgroundReplies:
    """Answers a request whose client does not wait: with the queued object, or with its stream.

    Args:
        surface: What the client speaks.
        follower: Serves the stream.
        wake: Tells the workers of new work.
    """

    def __init__(self, surface: BackgroundSurface, follower: Follower, wake: Callable[[], None]) -> None:
        self._surface = surface
        self._follower = follower
        self._wake = wake

    async def __call__(self, exchange: Exchange, raw: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the work to a worker, and answer."""
        queued = await exchange.enqueue(raw, self._surface)
        self._wake()
        if exchange.stream:
            await self._follower.follow(scope["state"]["caller"].id, queued["id"], -1)(scope, receive, send)
        else:
            await send_json(200, encode(queued), exchange.headers, send)
