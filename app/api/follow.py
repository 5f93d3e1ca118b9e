"""Following a background response: what has been said so far, then what is being said, until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from app.api.drain import Drain, shutting_down
from app.api.presence import Presence
from app.api.reply import send_json
from app.core.errors import NotFound
from app.core.surface import BackgroundSurface
from app.exchange.background import Bells
from app.exchange.exchange import Exchange
from app.exchange.memory import Memory
from app.store.contract import OPEN
from app.surfaces.responses.frames import error_frames
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
        drain: Tells of the server's end.
    """

    def __init__(self, memory: Memory, bells: Bells, keep_alive_seconds: float, drain: Drain) -> None:
        self._drain = drain
        self._memory = memory
        self._bells = bells
        self._keep_alive_seconds = keep_alive_seconds

    async def has_nothing(self, caller: str, response_id: str) -> bool:
        """The work is done, and there is nothing to follow: its caller had not asked for a stream."""
        if self._memory.store is None:
            return True
        events = await self._memory.store.work.events(caller, response_id, limit=1)
        return events is not None and not events.frames and events.status not in OPEN

    def follow(self, caller: str, response_id: str, after: int) -> Following:
        """A stream of all events with a higher number than ``after``, past and to come."""
        return Following(self._blocks(caller, response_id, after), self._keep_alive_seconds, self._drain)

    async def _blocks(self, caller: str, response_id: str, after: int) -> AsyncIterator[bytes]:
        began = after >= 0
        while self._memory.store is not None:
            events = await self._memory.store.work.events(caller, response_id, after=after)
            if events is None:
                break
            if events.frames:
                began = True
                after = events.frames[-1][0]
                yield b"".join(frame for _, frame in events.frames)
            if events.more:
                continue
            if events.status not in OPEN:
                yield DONE if began else error_frames(no_stream(response_id))
                return
            await self._bells.wait(response_id, POLL_SECONDS)
        yield error_frames(NotFound(f"Response with id '{response_id[:128]}' was deleted."))


def no_stream(response_id: str) -> NotFound:
    """There is such a response, and it cannot be followed."""
    return NotFound(f"Response with id '{response_id[:128]}' was not streamed in the background; it has no stream.")


class Following(EventSourceResponse):
    """One such stream. Who stops listening stops nothing: the work goes on."""

    def __init__(self, blocks: AsyncIterator[bytes], keep_alive_seconds: float, drain: Drain) -> None:
        super().__init__(content=blocks, headers={"cache-control": "no-cache"}, sep="\n", ping=0)
        self._blocks = blocks
        self._keep_alive_seconds = keep_alive_seconds
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the status, then every block as it comes."""
        async with Presence(scope, receive, send, self._keep_alive_seconds, self._drain) as presence:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            unsent = b""
            try:
                async for unsent in self._blocks:
                    await presence.send(unsent, more=True)
                    unsent = b""  # noqa: PLW2901 - what was sent is no longer to be sent
            except asyncio.CancelledError:
                if not presence.resume():
                    raise
                # The response itself goes on, here or elsewhere; its client can follow it again from where it was.
                await presence.send(unsent + error_frames(shutting_down()), more=True)
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
