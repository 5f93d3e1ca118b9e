"""One connection to Redis on which a process says everything in order, many commands to a round trip.

What is asked while an answer is awaited goes out together with the next batch, so a busy process makes fewer round
trips than requests. Because there is one order, what a request gives back is known before the next one asks.

When Redis cannot be reached, everything that waits is told at once, nobody else is made to wait, and one task per
process tries again, at growing and scattered intervals.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

_log = logging.getLogger(__name__)

Argument = str | bytes | int
Reply = Any

_BATCH: Final = 256
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

_LOOKS: Final = 5
_LOOK_SECONDS: Final = 0.01
"""How often, and how far apart, it is looked once more whether an answer has come, when its time is over."""


class Away(Exception):
    """Redis cannot be asked at the moment."""


class Script(Struct, frozen=True):
    """A script, by the SHA-1 under which Redis knows it once it was loaded."""

    text: str
    sha: str


class _Call(Struct):
    """Somebody waits for the answer.

    Attributes:
        command: What to send.
        answer: Who waits.
        orphaned: Takes the answer when nobody waits any more, or ``None`` when it was lost.
    """

    command: tuple[Argument, ...]
    answer: asyncio.Future[Reply]
    orphaned: Callable[[Reply | None], None]


class _Post(Struct):
    """Nobody waits for the answer, but it should arrive.

    Attributes:
        command: What to send.
        again: What to send when nobody knows whether the first arrived; ``None`` to let it go then.
    """

    command: tuple[Argument, ...]
    again: tuple[Argument, ...] | None


class Channel:
    """The connection of one process. Use it from one event loop; close it with ``aclose``.

    Args:
        url: Such as ``redis://127.0.0.1:6379/0`` or ``rediss://user:password@host``.
        scripts: What is loaded whenever the connection is made.
        timeout: The longest time for one exchange with Redis, connecting included, in seconds.
        most_posts: How many posts are kept while Redis is away; the oldest are given up first.
        on_connect: Called whenever a connection was made, before anything waiting is sent.

    Raises:
        ModuleNotFoundError: The ``redis`` package is not installed.
        ValueError: The URL cannot be read.
    """

    def __init__(
        self,
        url: str,
        scripts: Sequence[Script],
        *,
        timeout: float,
        most_posts: int = 10_000,
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        # Only a proxy that shares its limits needs the package.
        from redis.asyncio import ConnectionPool  # noqa: PLC0415
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import NoScriptError, RedisError, ResponseError  # noqa: PLC0415

        # A library that sends a command again by itself could admit a request twice.
        self._pool = ConnectionPool.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=None, protocol=2)
        self._failures: tuple[type[BaseException], ...] = (RedisError, OSError, TimeoutError)
        self._refusal: type[Exception] = ResponseError
        self._unknown_script: type[Exception] = NoScriptError
        self._scripts = scripts
        self._timeout = timeout
        self._most_posts = most_posts
        self._on_connect = on_connect
        self._connection: AbstractConnection | None = None
        self._queue: deque[_Call | _Post] = deque()
        self._awake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._away_since = 0.0
        self._away_before = 0.0
        self._outages = 0
        self._lost = 0

    @property
    def away(self) -> bool:
        """Redis was not reached when it was last tried."""
        return self._away

    @property
    def away_seconds(self) -> float:
        """How long it was away so far, all outages together."""
        return self._away_before + (time.monotonic() - self._away_since if self._away else 0.0)

    @property
    def outages(self) -> int:
        """How often it went away."""
        return self._outages

    async def call(self, command: tuple[Argument, ...], orphaned: Callable[[Reply | None], None]) -> Reply:
        """Send a command and wait for its answer.

        Args:
            command: Its words.
            orphaned: Takes the answer when the caller was cancelled meanwhile; ``None`` when it was sent, perhaps
                carried out, and the answer lost.

        Raises:
            Away: There is no answer.
        """
        if self._away:
            raise Away
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._put(_Call(command, answer, orphaned))
        try:
            return await answer
        except asyncio.CancelledError:
            # The answer may have come in the moment between.
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                orphaned(answer.result())
            raise

    def post(self, command: tuple[Argument, ...], again: tuple[Argument, ...] | None) -> None:
        """Send a command as soon as possible, without waiting."""
        if self._away and len(self._queue) >= self._most_posts:
            self._queue.popleft()
            self._lost += 1
        self._put(_Post(command, again))

    async def aclose(self, within: float = 1.0) -> None:
        """Send what waits, as far as that is possible in time, and close the connection."""
        if self._task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    if not self._away:
                        await self._empty.wait()
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._disconnect()

    def _put(self, item: _Call | _Post) -> None:
        self._queue.append(item)
        self._empty.clear()
        self._awake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work(), name="limits-redis")

    async def _work(self) -> None:
        queue = self._queue
        while True:
            if not queue:
                self._empty.set()
                self._awake.clear()
                await self._awake.wait()
            sent: list[_Call | _Post] = []
            try:
                async with answer_within(self._timeout):
                    connection = self._connection or await self._connect()
                    while queue and len(sent) < _BATCH:
                        item = queue.popleft()
                        # Who gave up before it was sent needs no answer.
                        if isinstance(item, _Post) or not item.answer.cancelled():
                            sent.append(item)
                    await self._exchange(connection, sent)
            except self._failures as error:
                await self._lose(sent, error)
                await self._return()
            except BaseException:
                self._drop_calls(sent)
                raise

    async def _exchange(self, connection: AbstractConnection, sent: list[_Call | _Post]) -> None:
        """Send a batch and hand out its answers; what was answered leaves the list."""
        if not sent:
            return
        packed = connection.pack_commands([item.command for item in sent])
        await connection.send_packed_command(packed, check_health=False)
        unknown: list[_Call | _Post] = []
        refused: Exception | None = None
        done = 0
        try:
            for item in sent:
                try:
                    reply: Reply = await connection.read_response(disconnect_on_error=False)
                except self._unknown_script:
                    unknown.append(item)
                except self._refusal as error:
                    # It was not carried out. The next item's answer follows all the same.
                    refused = error
                    if isinstance(item, _Call) and not item.answer.done():
                        item.answer.set_exception(Away())
                else:
                    _hand_over(item, reply)
                done += 1
        finally:
            del sent[:done]
        if unknown:
            # Redis has forgotten its scripts: nothing of this was carried out.
            self._queue.extendleft(reversed(unknown))
            await self._load(connection)
        if refused is not None:
            # A replica, a full memory, a server that is still loading: it cannot be worked with.
            raise refused

    async def _connect(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # the library's
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # the library's
            await self._load(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._on_connect()
        return connection

    async def _load(self, connection: AbstractConnection) -> None:
        loads = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
        await connection.send_packed_command(connection.pack_commands(loads), check_health=False)
        for _ in loads:
            await connection.read_response()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*self._failures):
                await connection.disconnect(nowait=True)

    async def _lose(self, sent: list[_Call | _Post], error: BaseException) -> None:
        """Redis went away: tell everybody who waits, and keep what nobody waits for."""
        if not self._away:
            self._away = True
            self._away_since = time.monotonic()
            self._outages += 1
            _log.warning("Redis does not answer (%s): %s", type(error).__name__, str(error) or "no answer in time")
        await self._disconnect()
        kept = [_Post(item.again, item.again) for item in sent if isinstance(item, _Post) and item.again is not None]
        kept += [item for item in self._queue if isinstance(item, _Post)]
        waiting = [item for item in self._queue if isinstance(item, _Call)]
        self._queue.clear()
        self._queue.extend(kept)
        self._drop_calls(sent)
        for item in waiting:
            if not item.answer.done():
                item.answer.set_exception(Away())
        # Nothing more can be sent, which is what a closing proxy waits for.
        self._empty.set()

    def _drop_calls(self, sent: list[_Call | _Post]) -> None:
        for item in sent:
            if isinstance(item, _Call):
                item.orphaned(None)
                if not item.answer.done():
                    item.answer.set_exception(Away())

    async def _return(self) -> None:
        """Try until Redis is back."""
        pause = _FIRST_PAUSE
        while True:
            # Scattered, so that the processes that lost it together do not return together.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            try:
                async with answer_within(self._timeout):
                    await self._connect()
            except self._failures:
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            lasted = time.monotonic() - self._away_since
            self._away = False
            self._away_before += lasted
            _log.warning("Redis answers again after %.1f s; %d messages to it were given up", lasted, self._lost)
            self._lost = 0
            return


@asynccontextmanager
async def answer_within(seconds: float) -> AsyncIterator[None]:
    """Give up after so many seconds, in which this process has looked for the answer.

    A process that was busy with hundreds of requests for longer than that finds its timer and the answer at the same
    time, and must not take its own lateness for Redis's.

    Raises:
        TimeoutError: The time is over.
    """
    loop = asyncio.get_running_loop()

    limit = asyncio.timeout(None)
    timer: asyncio.TimerHandle

    def over(looks: int) -> None:
        nonlocal timer
        if looks:
            timer = loop.call_later(_LOOK_SECONDS, over, looks - 1)
        else:
            limit.reschedule(loop.time())

    timer = loop.call_later(seconds, over, _LOOKS)
    try:
        async with limit:
            yield
    finally:
        timer.cancel()


def _hand_over(item: _Call | _Post, reply: Reply) -> None:
    if isinstance(item, _Call):
        if item.answer.done():
            item.orphaned(reply)
        else:
            item.answer.set_result(reply)
