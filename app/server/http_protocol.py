"""The HTTP protocol, with bounds on what a client may send, and on how slowly it may send and read."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.api.caller import REQUEST_ID_PREFIX, request_id_of
from app.api.presence import DEPARTURE
from app.server.bounds import Refusal
from app.server.door import OPEN_PATHS, REFUSAL_SECONDS, Door
from app.server.plain import plain_request
from app.server.writing import JoinedWrites

CROWD: Final = 100
"""How many connections past the bound are still heard, so that a health check comes through."""

CROWDED_SECONDS: Final = 2.0
"""How long these have for their request."""

LINGER_SECONDS: Final = 2.0
"""How long a client that was refused in the middle of its request may go on sending it."""

MOST_PUT_OFF_BYTES: Final = 16 * 1024
"""What is put off is kept; more than this is refused at once."""

_OPEN_REQUESTS: Final = tuple(f"{method} {path}".encode() for method in ("GET", "HEAD") for path in OPEN_PATHS)


class _Refused(Exception):
    """Ends the parsing of a request; the refusal has been chosen."""


def http_protocol(door: Door) -> Callable[..., asyncio.Protocol]:
    """What makes the protocol of one connection."""

    def connection(**arguments: Any) -> Connection:  # noqa: ANN401 - the server's business
        return Connection(door, **arguments)

    return connection


class Connection(HttpToolsProtocol):
    """One connection.

    Nothing is timed on the way of a request: the server looks at all its connections about once a second (``look``).

    Args:
        door: What all connections share.
        arguments: The server's.
    """

    def __init__(self, door: Door, **arguments: Any) -> None:  # noqa: ANN401 - the server's business
        super().__init__(**arguments)
        self._door = door
        self._most = door.bounds.in_flight
        self._most_headers = door.bounds.headers
        self._most_head_bytes = door.bounds.head_bytes
        self._crowded = False
        self._deaf = False
        self._put_off = b""
        self._refused_at = -math.inf
        self._on_departure: Callable[[], None] | None = None
        self._extensions: dict[str, dict[Any, Any]] = {DEPARTURE: {"tell": self.tell_departure}}
        self._reads = 0
        self._resumes = 0
        self._large_read = False
        # Of a head that is not whole.
        self._head_bytes = 0
        self._chosen: Refusal | None = None
        # What was seen at the last look, and since when it is so.
        self._waiting_for: object = self
        self._waiting_since = 0.0
        self._seen: object = None
        self._seen_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or close it when there are far too many."""
        super().connection_made(transport)  # type: ignore[arg-type]  # a socket's transport
        past = len(self.connections) - self._door.bounds.connections
        if past > 0:
            self._crowded = True
            if past > CROWD:
                self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the client has left."""
        super().connection_lost(exc)
        # Requests of it that are still to begin hear of it as ASGI has it.
        self._extensions.clear()
        if self._on_departure is not None:
            self._on_departure()

    def tell_departure(self, call: Callable[[], None] | None) -> None:
        """Set what is called when the client leaves, by the one request that is being answered; see ``DEPARTURE``."""
        self._on_departure = call
        # A large body may have stopped the reading, and the end of a connection is something to be read.
        self.flow.resume_reading()

    def cut_off(self) -> None:
        """Close it at once, because the server ends: it is not the client who leaves."""
        self._on_departure = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what has come, as far as it is within the bounds."""
        if self._put_off:
            # It is longer than it looked, so it is not one of those.
            data, self._put_off = self._put_off + data, b""
        elif len(data) <= MOST_PUT_OFF_BYTES and self._is_full() and self._is_for_refusal(data):
            if self._door.puts_off():
                self._put_off = data
                self._door.put_off.append(self)
                return
            if self._refuses(data):
                return
        self._take(data)

    def take_put_off(self) -> None:
        """Take what was put off when it came; called by the door."""
        data, self._put_off = self._put_off, b""
        if data and not self.transport.is_closing() and not (self._is_full() and self._refuses(data)):
            self._take(data)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; called by uvicorn's timer, which does not know of refusals without a parser."""
        left = self._refused_at + self.timeout_keep_alive - self.loop.time()
        if self._put_off or left > 0:
            self._keep_alive(max(left, REFUSAL_SECONDS))
        else:
            super().timeout_keep_alive_handler()

    def _is_for_refusal(self, data: bytes) -> bool:
        """Tell whether a request begins here that is to be refused, unless there is room before it is looked at."""
        cycle = self._current()
        between = cycle is None or (cycle.response_complete and not self.pipeline)
        return between and not self._is_in_head() and not data.startswith(_OPEN_REQUESTS)

    def _refuses(self, data: bytes) -> bool:
        """Refuse a whole request of the plain kind as it is; any other takes the parser, and three times as long."""
        door = self._door
        if self._crowded or door.last_requests:
            return False
        named = plain_request(data)
        if named is None:
            return False
        door.refused += 1
        request_id = request_id_of({b"x-request-id": named}, door.new_id)
        self.transport.write(door.full.answer(self.server_state.default_headers, request_id, close=False))
        self._refused_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._keep_alive(self.timeout_keep_alive)
        return True

    def _keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _take(self, data: bytes) -> None:
        if self._deaf:
            return
        self._reads += 1
        self._large_read = len(data) > self._most_head_bytes
        super().data_received(data)
        if self._is_in_head():
            self._head_bytes += len(data)
            if self._head_bytes > self._most_head_bytes and not self._deaf:
                self._refuse_and_close(self._door.large_head)

    def on_headers_complete(self) -> None:
        """Hear that the head is complete, from the parser."""
        # A head that came in one small read need not be weighed.
        if len(self.headers) > self._most_headers or (
            (self._head_bytes or self._large_read) and self._head_size() > self._most_head_bytes
        ):
            self._chosen = self._door.large_head
            raise _Refused
        self._head_bytes = 0
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()
        cycle = self._current()
        # There is none for a request that becomes a WebSocket.
        if cycle is not None and cycle.scope is self.scope:
            # It begins to write in a later turn, and does with a transport what is done there.
            cycle.transport = JoinedWrites(self.transport, self.loop)  # type: ignore[assignment]

    def handle_websocket_upgrade(self) -> None:
        """Give the connection to the WebSocket protocol, if there is room."""
        if self._is_full():
            self._door.refused += 1
            self._refuse_and_close(self._door.full)
        else:
            self._deaf = True
            super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or is past a bound."""
        del msg
        self._refuse_and_close(self._chosen or self._door.malformed)

    def resume_writing(self) -> None:
        """Hear that the client has read, from the transport."""
        self._resumes += 1
        super().resume_writing()

    def finish_requests(self) -> None:
        """Let the answer under way be the last."""
        cycle = self._current()
        # One that has begun has said already whether others may follow.
        if cycle is not None and not cycle.response_started:
            cycle.keep_alive = False

    def give_up_arriving(self) -> None:
        """Refuse a request that is still arriving, because the server ends."""
        cycle = self._current()
        if cycle is not None and cycle.more_body and not cycle.response_started:
            self._give_up(cycle, self._door.ending)

    def look(self, now: float) -> None:
        """Look after a client that is slow; called about once a second.

        Args:
            now: Monotonic seconds.
        """
        if self._deaf:
            return
        if self.flow.write_paused or self.transport.is_closing():
            # It is the client's turn to read.
            unread = ("unread", self.transport.get_write_buffer_size(), self._resumes)
            if self._lasts(unread, now) > self._door.bounds.unread_seconds:
                self.transport.abort()
            return
        cycle = self._current()
        if cycle is None or cycle.response_complete:
            # A whole request is waited for. Between two of them uvicorn counts the time.
            if self.timeout_keep_alive_task is None:
                self._look_at_head(now)
                return
        elif cycle.more_body and not (cycle.response_started or self.pipeline or self.flow.read_paused):
            self._look_at_body(cycle, now)
            return
        # An answer is under way. The next request, or the rest of this one, has time.
        self._waiting_for = self

    def _look_at_head(self, now: float) -> None:
        seconds = CROWDED_SECONDS if self._crowded else self._door.bounds.head_seconds
        if self._waits(self.scope, now) <= seconds:
            return
        if self._is_in_head():
            self._refuse_and_close(self._door.slow_head)
        else:
            # Nothing was sent, or what is still being sent was answered long ago.
            self.transport.close()

    def _look_at_body(self, cycle: RequestResponseCycle, now: float) -> None:
        bounds = self._door.bounds
        if self._waits(cycle, now) > bounds.body_seconds or self._lasts(self._reads, now) > bounds.stall_seconds:
            self._give_up(cycle, self._door.slow_body)

    def _give_up(self, cycle: RequestResponseCycle, refusal: Refusal) -> None:
        self._refuse_and_close(refusal)
        # The application hears that its client is gone.
        cycle.disconnected = True
        cycle.message_event.set()

    def _waits(self, what: object, now: float) -> float:
        """Seconds for which the same has been waited for."""
        if self._waiting_for is not what:
            self._waiting_for, self._waiting_since = what, now
            self._seen = None
        return now - self._waiting_since

    def _lasts(self, seen: object, now: float) -> float:
        """Seconds for which the same has been seen."""
        if self._seen != seen:
            self._seen, self._seen_since = seen, now
        return now - self._seen_since

    def _current(self) -> RequestResponseCycle | None:
        """The last request whose head is whole; none before the first, which uvicorn's type does not tell."""
        return self.cycle

    def _is_in_head(self) -> bool:
        """A request has begun, and its head is not whole."""
        cycle = self._current()
        return self.scope is not (cycle.scope if cycle is not None else None)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _is_full(self) -> bool:
        return self._crowded or len(self.tasks) + len(self._door.waiting) >= self._most

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - the server's type
        door = self._door
        if self._crowded or door.last_requests:
            cycle.keep_alive = False
        if cycle.scope["path"] in OPEN_PATHS:
            super()._start_asgi_task(cycle, app)
        elif self._is_full():
            door.refused += 1
            self.refuse(cycle, door.full)
        elif door.has_turn():
            super()._start_asgi_task(cycle, app)
        else:
            door.waiting.append(_Waiting(self, cycle, app))

    def begin(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401 - the server's type
        """Begin to answer a request that has waited, unless its client has gone."""
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def refuse(self, cycle: RequestResponseCycle, refusal: Refusal) -> None:
        """Answer a request here. The connection goes on, for a new one would cost more; its body is skipped."""
        if self.transport.is_closing():
            return
        if cycle.waiting_for_100_continue or self.pipeline:
            cycle.keep_alive = False
        head_only = cycle.scope["method"] == "HEAD"
        request_id = request_id_of(dict(cycle.scope["headers"]), self._door.new_id)
        self.transport.write(
            refusal.answer(cycle.default_headers, request_id, close=not cycle.keep_alive, head_only=head_only)
        )
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _refuse_and_close(self, refusal: Refusal) -> None:
        """Answer a request that is not whole, and hear nothing more of it."""
        self._deaf = True
        cycle = self._current()
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            # Into an answer that has begun nothing else may be written.
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        # Its head may not be whole, so whatever name the client has given it is not known.
        request_id = self._door.new_id(REQUEST_ID_PREFIX)
        self.transport.write(refusal.answer(self.server_state.default_headers, request_id, close=True))
        # Closed at once, with bytes unread, the connection would be reset, and the client might not see the answer.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class _Waiting:
    """A request of a connection that waits for its turn."""

    __slots__ = ("_app", "_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        self._connection = connection
        self._cycle = cycle
        self._app = app

    def begin(self) -> None:
        self._connection.begin(self._cycle, self._app)

    def refuse(self, refusal: Refusal) -> None:
        if not self._cycle.disconnected:
            self._connection.refuse(self._cycle, refusal)
