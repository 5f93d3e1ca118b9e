"""What one emulator remembers; it lives in the app object."""

import hashlib
import itertools
import socket
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.emulator.account import Accounts, Clock, Terms
from app.emulator.capacity import Capacity
from app.emulator.chaos import Chaos
from app.emulator.rights import EVERYTHING, Rights
from app.emulator.transcripts import Library

# The one fault that is about a listing by its nature.
LISTING_FAULT = "list-repeats"
_KEPT_REQUESTS = 1000


@dataclass(slots=True)
class Received:
    """One request, as the control plane shows it.

    Attributes:
        number: Its serial number.
        method: HTTP method.
        path: Path as sent, still percent-encoded.
        query: Query parameters.
        headers: Headers; the authorization value is masked.
        body: Parsed JSON; `None` when it is not JSON or larger than 1 MiB.
        size: Bytes of the body.
        model: The model, once known.
        scenario: The scenario that was played, or the recording.
        chaos: The kind of fault that chance chose.
        neurons: What it cost.
        status: Status answered.
        completed: Whether the whole answer was sent.
        closed_early: Whether the client left before that.
    """

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None
    size: int = 0
    model: str | None = None
    scenario: str | None = None
    chaos: str | None = None
    neurons: float = 0.0
    status: int | None = None
    completed: bool = False
    closed_early: bool = False


@dataclass(slots=True)
class QueuedFault:
    """A fault waiting for its requests.

    Attributes:
        name: Scenario.
        times: How many requests it is for; `None` for all.
        model: Only for this model.
        path: Only for paths that contain this.
        seconds: Replaces the scenario's pause.
        status: For the fault `status`: the status to answer.
        body: For the fault `status`: the body.
        headers: For the fault `status`: more headers.
    """

    name: str
    times: int | None = 1
    model: str | None = None
    path: str | None = None
    seconds: float | None = None
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Batch:
    """An async batch.

    Attributes:
        model: Model id.
        requests: Its items.
        polls: How often it was asked for.
    """

    model: str
    requests: list[Any]
    polls: int = 0


class EmulatorState:
    """The emulator's memory.

    Args:
        account_id: The one account, or `None` for any.
        token: The one token, or `None` for any.
        seed: Seed of texts, ids, cf-ray values and chaos.
        token_delay: Seconds between chunks.
        terms: What accounts may do.
        capacity: Requests that one model serves at a time.
        clock: Gives Unix time in seconds.
        faults: The first of the queue.
        chaos: Faults by chance.
        library: Recordings to answer from.
        rights: What the token may do.
    """

    def __init__(
        self,
        account_id: str | None,
        token: str | None,
        seed: int,
        token_delay: float,
        *,
        terms: Terms,
        capacity: int | None,
        clock: Clock,
        faults: Iterable[QueuedFault] = (),
        chaos: Chaos | None = None,
        library: Library | None = None,
        rights: Rights = EVERYTHING,
    ) -> None:
        self.account_id = account_id
        self.token = token
        self.seed = seed
        self.token_delay = token_delay
        self.clock = clock
        self.accounts = Accounts(terms, clock)
        self.capacity = Capacity(capacity)
        self.chaos = chaos
        self.library = library
        self.rights = rights
        self.received: deque[Received] = deque(maxlen=_KEPT_REQUESTS)
        self.faults: list[QueuedFault] = list(faults)
        self.open_streams = 0
        self.in_flight = 0
        self.agreed: set[str] = set()
        self.batches: dict[str, Batch] = {}
        self._prefixes: dict[tuple[str, str], tuple[str, ...]] = {}
        self._serials = itertools.count(1)
        self._refusing: socket.socket | None = None

    def next_serial(self) -> int:
        """Return the next request's number."""
        return next(self._serials)

    def ray(self, serial: int) -> str:
        """Return the `cf-ray` of a request."""
        return hashlib.blake2b(f"{self.seed}:{serial}".encode(), digest_size=8).hexdigest() + "-AMS"

    def refusing_address(self) -> tuple[str, int]:
        """Return an address where every connection is refused, for as long as the emulator lives.

        Its port is taken and nobody listens there: no other program can come to answer at it.
        """
        if self._refusing is None:
            self._refusing = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self._refusing.bind(("127.0.0.1", 0))
            weakref.finalize(self, self._refusing.close)
        host, port = self._refusing.getsockname()
        return str(host), int(port)

    def take_fault(self, path: str, model: str | None, *, paid_model: bool = False) -> QueuedFault | None:
        """Return the first queued fault that fits a request, and count it off.

        A request without a model (a listing) takes only faults that name its path, so that a proxy that refreshes
        its catalogue does not eat a fault meant for a model.
        """
        for fault in self.faults:
            if fault.model is not None and fault.model != model:
                continue
            if (fault.name == LISTING_FAULT) is not (model is None) and fault.path is None:
                continue
            if fault.path is not None and fault.path not in path:
                continue
            if fault.name == "free-plan" and not paid_model:
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
            return fault
        return None

    def cached_tokens(self, model: str, affinity: str | None, prompt: tuple[str, ...]) -> int:
        """Return how many prompt tokens an earlier request with the same affinity left in the cache."""
        if not affinity:
            return 0
        known = self._prefixes.get((model, affinity), ())
        self._prefixes[model, affinity] = prompt
        shared = 0
        for old, new in zip(known, prompt, strict=False):
            if old != new:
                break
            shared += 1
        return min(shared, len(prompt) - 1) // 16 * 16
