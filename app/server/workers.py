"""Several processes on one port, and the parent that supervises them.

Each worker has a listening socket of its own (``Listeners``) and is forked from a parent that has loaded the code and
does nothing else: it has no event loop and no threads, holds no connection, and sleeps until a child or a signal wakes
it. What the code takes is shared among all, and a new worker is there in the time that it takes to make an application.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

from msgspec import Struct

from app.server.listening import Listeners
from app.server.parent import END, STOP, Parent
from app.server.running import CANCEL_SECONDS, CLOSE_SECONDS, LAST_WORDS_SECONDS, leave

MOST_FAILURES: Final = 5
"""How often in a row a worker may end before it serves, while no other serves, until the parent gives up."""

STEADY_SECONDS: Final = 10.0
"""A worker that has lived so long has not failed at its start, whatever happened then."""

FIRST_WAIT_SECONDS: Final = 0.2
LONGEST_WAIT_SECONDS: Final = 10.0
"""The waits before a worker is started again; they double. The first time it is started at once."""

GIVE_UP_PORT_SECONDS: Final = 0.5
"""A worker that is away for longer than this is sent no connections."""

STOP_SECONDS: Final = 0.7
BESIDE_SECONDS: Final = 5.0
_SLACK_SECONDS: Final = 3.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_BESIDE: Final = -1
_log = logging.getLogger(__name__)


class WorkersError(Exception):
    """The workers cannot be kept running; the message says why."""


class _Child(Struct):
    """A process.

    Attributes:
        number: Its place; ``_BESIDE`` for the one beside the workers.
        pid: The system's number for it.
        link: Our end of the pair.
        began: When it was started, in monotonic seconds.
        ready: It serves.
    """

    number: int
    pid: int
    link: socket.socket
    began: float
    ready: bool = False


def run_workers(
    count: int,
    work: Callable[[socket.socket, Parent], None],
    listeners: Listeners,
    *,
    drain_seconds: float,
    drain_delay: float = 0.0,
    beside: Callable[[Parent], None] | None = None,
) -> None:
    """Keep workers running until a signal ends them; a second signal ends them at once, with the status of that signal.

    Args:
        count: How many.
        work: What each does in its own process: makes its application and calls ``run`` with the listening socket and
            the parent that it is given. When the first one ends with a status before it serves, so does the parent.
        listeners: Where they listen.
        drain_seconds: As for ``run``.
        drain_delay: As for ``run``.
        beside: What one more process does, such as the emulator, that is there before the workers and ends after them.

    Raises:
        WorkersError: Workers end again and again before they serve.
        SystemExit: The end was not in good order, or the first worker could not start.
    """
    if not hasattr(os, "fork"):
        raise WorkersError("several workers need a system on which processes can be forked")
    if threading.active_count() > 1:
        raise WorkersError("workers cannot be started from a process that has threads")
    most_seconds = drain_delay + drain_seconds + LAST_WORDS_SECONDS + CANCEL_SECONDS + CLOSE_SECONDS + _SLACK_SECONDS
    # What lives from the start is never looked at again by a collector, so its memory stays shared.
    gc.freeze()
    with contextlib.ExitStack() as stack:
        status = _Supervisor(count, work, listeners, beside, most_seconds, stack).run()
    if status:
        sys.exit(status)


class _Supervisor:
    """The parent."""

    def __init__(
        self,
        count: int,
        work: Callable[[socket.socket, Parent], None],
        listeners: Listeners,
        beside: Callable[[Parent], None] | None,
        most_seconds: float,
        stack: contextlib.ExitStack,
    ) -> None:
        self._count = count
        self._work = work
        self._listeners = listeners
        self._beside = beside
        self._most_seconds = most_seconds
        self._selector = stack.enter_context(selectors.DefaultSelector())
        self._wakes = stack.enter_context(_signals_wake(self._take_signal))
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._children: dict[int, _Child] = {}
        # When what is not running is to be started.
        self._due: dict[int, float] = {}
        self._failures: dict[int, int] = {}
        self._signals: list[int] = []
        self._served = False
        self._status = 0

    def run(self) -> int:
        """Supervise to the end; gives the exit status."""
        try:
            if self._beside is not None:
                self._start(_BESIDE)
            # The first one alone: what it does to the store, and says about the settings, need not happen twice.
            self._due[0] = time.monotonic()
            while not self._signals and not self._status:
                self._start_what_is_due()
                self._wait(min(self._due.values(), default=None))
            if self._status:
                self._stop()
                return self._status
            return self._end()
        except BaseException:
            self._stop()
            raise

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            del self._due[number]
            self._start(number)

    def _wait(self, until: float | None) -> None:
        """Wait for a signal or for a child to say something or end, but not longer than until then."""
        seconds = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wakes.recv(64)
            else:
                self._hear(key.data)

    def _hear(self, child: _Child) -> None:
        try:
            said = child.link.recv(16)
        except ConnectionError:
            said = b""
        if not said:
            self._forget(child)
        elif not child.ready:
            child.ready = True
            if not self._served and child.number != _BESIDE:
                self._served = True
                self._due.update(dict.fromkeys(range(1, self._count), time.monotonic()))

    def _forget(self, child: _Child) -> None:
        """Take note of the end of a child."""
        self._selector.unregister(child.link)
        child.link.close()
        del self._children[child.number]
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        if self._signals:
            # A forced end has its own status.
            self._status = self._status or (1 if code else 0)
            return
        if not self._served and child.number != _BESIDE and code > 0:
            # It has said why.
            self._status = code
            return
        self._start_again(child, code)

    def _start_again(self, child: _Child, code: int) -> None:
        how = f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        steady = child.ready and time.monotonic() - child.began >= STEADY_SECONDS
        failures = 1 if steady else self._failures.get(child.number, 0) + 1
        self._failures[child.number] = failures
        if failures >= MOST_FAILURES and not any(other.ready for other in self._workers()):
            raise WorkersError(f"worker processes end as soon as they are started ({how}, {failures} times in a row)")
        wait = min(FIRST_WAIT_SECONDS * 2 ** (failures - 2), LONGEST_WAIT_SECONDS) if failures > 1 else 0.0
        if wait > GIVE_UP_PORT_SECONDS and child.number != _BESIDE:
            self._listeners.give_up(child.number)
        _log.warning("a worker process has ended (%s); another is started in %.1f s", how, wait)
        self._due[child.number] = time.monotonic() + wait

    def _end(self) -> int:
        """End all in good order."""
        # Ours are copies: as long as they are open, connections are taken that nobody will answer.
        self._listeners.close()
        self._due.clear()
        for child in self._workers():
            _say(child, END)
        deadline = time.monotonic() + self._most_seconds
        while self._workers() and len(self._signals) < 2 and time.monotonic() < deadline:
            self._wait(deadline)
        if len(self._signals) > 1:
            self._stop()
            return 128 + self._signals[1]
        if self._workers():
            _log.error("worker processes that did not end are killed")
            self._stop()
        beside = self._children.get(_BESIDE)
        if beside is not None:
            _say(beside, END)
            deadline = time.monotonic() + BESIDE_SECONDS
            while self._children and len(self._signals) < 2 and time.monotonic() < deadline:
                self._wait(deadline)
            self._stop()
        return self._status

    def _stop(self) -> None:
        """End all at once."""
        self._due.clear()
        for child in self._children.values():
            _say(child, STOP)
        self._signals = self._signals or [signal.SIGTERM]
        deadline = time.monotonic() + STOP_SECONDS
        while self._children and time.monotonic() < deadline:
            self._wait(deadline)
        for child in list(self._children.values()):
            os.kill(child.pid, signal.SIGKILL)
            self._forget(child)

    def _workers(self) -> list[_Child]:
        return [child for number, child in self._children.items() if number != _BESIDE]

    def _take_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signals.append(number)

    def _start(self, number: int) -> None:
        """Start a child."""
        try:
            listener = self._listeners.take(number) if number != _BESIDE else None
        except OSError as error:
            raise WorkersError(f"the port cannot be opened again: {error.strerror or error}") from error
        ours, theirs = socket.socketpair()
        # What is buffered would be written twice.
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes between the two processes must not be heard by the handlers of the one in the other.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be_child(Parent(theirs, hears_signals=listener is not None), listener)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        child = self._children[number] = _Child(number, pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _be_child(self, parent: Parent, listener: socket.socket | None) -> NoReturn:
        """Do the work of a child; everything here happens in its process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL if parent.hears_signals else signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._selector.close()
            self._wakes.close()
            # A sibling must not look alive, nor the parent, because its socket is open here.
            for child in self._children.values():
                child.link.close()
            self._listeners.close(but=listener)
            if listener is not None:
                self._work(listener, parent)
            elif self._beside is not None:
                self._beside(parent)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - whatever it was, the parent's stack must not go on here
            sys.excepthook(*sys.exc_info())
        finally:
            leave(status)


def _say(child: _Child, what: bytes) -> None:
    with contextlib.suppress(OSError):
        child.link.send(what)


@contextlib.contextmanager
def _signals_wake(take: Callable[[int, FrameType | None], None]) -> Iterator[socket.socket]:
    """Have signals handed to a function, and something to read whenever there was one."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0.0)
    theirs.settimeout(0.0)
    before = {number: signal.signal(number, take) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()
