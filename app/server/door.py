"""Where requests come in: how many, and in which order they are begun."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from app.api.caller import PUBLIC_PATHS
from app.api.drain import shutting_down
from app.api.metrics import PATH as METRICS_PATH
from app.core.errors import BadRequest, Overloaded
from app.core.surface import NewId
from app.server.bounds import Bounds, Refusal

OPEN_PATHS: Final = PUBLIC_PATHS | {METRICS_PATH}
"""What is answered however busy the server is: who looks after it must see that it is busy."""

LONG_TURN_SECONDS: Final = 0.002
"""A turn of the event loop that takes longer has had too much to do."""

MOST_PER_TURN: Final = 8
"""How many requests are begun in one turn where turns are short; one, where they are long."""


PROMPT_REFUSALS: Final = 20
"""How many requests are refused at once within ``REFUSAL_SECONDS``."""

REFUSAL_SECONDS: Final = 0.035
"""How long the others wait for it. Clients that come back at once could otherwise keep the process refusing."""

REST_AFTER_REFUSALS: Final = 4
"""They wait longer where there are very many: so many times as long as it took to refuse the last of them. The kernel
needs about as long again for what was written, so refusing never takes more than about a third of the time."""


class PutOff(Protocol):
    """A connection that waits with what it has received."""

    def take_put_off(self) -> None:
        """Go on with it."""


class Waiting(Protocol):
    """A request that waits for its turn."""

    def begin(self) -> None:
        """Begin to answer it."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer it with a refusal."""


class Door:
    """What all connections of a server share; for one event loop.

    Args:
        bounds: What is taken.
        new_id: Makes request ids.
        timer: Monotonic seconds.

    Attributes:
        refused: How many requests were refused for lack of room.
        last_requests: The server ends: every answer is the last of its connection.
        waiting: The requests that wait for their turn.
        put_off: The connections that wait with a request, which is likely to be refused.
    """

    def __init__(self, bounds: Bounds, new_id: NewId, timer: Callable[[], float] = time.perf_counter) -> None:
        self.bounds = bounds
        self.new_id = new_id
        self.refused = 0
        self.last_requests = False
        self.waiting: deque[Waiting] = deque()
        self.put_off: list[PutOff] = []
        self._refusals = 0
        self._rest = 0.0
        self._timer = timer
        self._turns = False
        self._turned = 0.0
        self._begun = 0
        self._per_turn = 1
        self.full = Refusal(Overloaded(retry_after=1.0))
        self.ending = Refusal(shutting_down())
        self.malformed = Refusal(BadRequest("This is not an HTTP request that can be understood."))
        self.large_head = Refusal(
            BadRequest(
                f"The request's headers are too large: at most {bounds.headers}, of {bounds.head_bytes} bytes in all.",
                status=431,
            )
        )
        self.slow_head = Refusal(BadRequest("The request's headers did not arrive in time.", status=408))
        self.slow_body = Refusal(
            BadRequest(
                f"The request's body did not arrive in time: at most {math.ceil(bounds.stall_seconds)} s may pass "
                f"between two pieces, and {math.ceil(bounds.body_seconds)} s in all.",
                status=408,
            )
        )

    def has_turn(self) -> bool:
        """Tell whether a request may be begun at once; if not, it has to be put among those that are waiting.

        So few are begun in one turn of the event loop that it stays short, whatever comes in at once: health checks,
        refusals, the tokens of open streams, and new connections, of which a turn takes one, do not wait for hundreds
        of requests.
        """
        if not self._turns:
            self._turns = True
            self._turned = self._timer()
            asyncio.get_running_loop().call_soon(self._turn)
        if self._begun >= self._per_turn or self.waiting:
            return False
        self._begun += 1
        return True

    def _turn(self) -> None:
        now = self._timer()
        if now - self._turned > LONG_TURN_SECONDS:
            self._per_turn = max(1, self._per_turn // 2)
        elif self._per_turn < MOST_PER_TURN:
            self._per_turn += 1
        self._turned = now
        self._begun = 0
        while self.waiting and self._begun < self._per_turn:
            self._begun += 1
            self.waiting.popleft().begin()
        self._turns = self._begun > 0
        if self._turns:
            asyncio.get_running_loop().call_soon(self._turn)

    def puts_off(self) -> bool:
        """Tell whether a request for which there is no room is to be put among those that are put off.

        A few are refused at once. More than a few are refused together a little later: that is cheaper for each, and
        those who come back as soon as they are refused do so less often, which leaves the process time for the
        requests that it has taken.
        """
        if self.last_requests:
            return False
        if not self._refusals:
            asyncio.get_running_loop().call_later(max(REFUSAL_SECONDS, self._rest), self.take_put_off)
        self._refusals += 1
        return self._refusals > PROMPT_REFUSALS

    def take_put_off(self) -> None:
        """Go on with all that was put off."""
        self._refusals = 0
        put_off, self.put_off = self.put_off, []
        began = self._timer()
        for connection in put_off:
            connection.take_put_off()
        self._rest = (self._timer() - began) * REST_AFTER_REFUSALS

    def refuse_waiting(self) -> None:
        """Refuse all requests that wait, because the server ends."""
        while self.waiting:
            self.waiting.popleft().refuse(self.ending)
