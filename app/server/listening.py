"""The listening sockets."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import Final

BACKLOG: Final = 2048

UNSENT_BYTES: Final = 128 * 1024
"""How much the kernel takes of an answer that the client does not read, instead of some megabytes."""

COMMON_FILES: Final = 10_240
"""How many files may be open where the system names a limit and does not take it."""

SPREADS: Final = sys.platform == "linux"
"""The kernel spreads connections over several sockets on one port. Elsewhere they can be opened, but one gets all."""


class PortTakenError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes any free one.

    Raises:
        PortTakenError: It cannot be opened.
    """
    try:
        listener = _bound(host, port)
        listener.listen(BACKLOG)
    except OSError as error:
        raise _taken(host, port, error) from error
    return listener


class Listeners:
    """The listening sockets of several processes on one port: one for each, where the kernel spreads over them.

    They are opened by the parent of these processes, which keeps them: when one dies, the connections that wait at its
    socket wait for its successor.

    Args:
        host: The address.
        port: 0 takes any free one.
        count: How many processes there are.

    Attributes:
        address: Where they listen, host and port.

    Raises:
        PortTakenError: It cannot be listened on.
    """

    def __init__(self, host: str, port: int, count: int) -> None:
        self._sockets: list[socket.socket | None] = []
        try:
            # The first is bound alone, so that a port that somebody else has is refused; only then may others join.
            first = _bound(host, port)
            self._sockets.append(first)
            self.address: tuple[str, int] = first.getsockname()[:2]
            if SPREADS and count > 1:
                first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                self._sockets += [_bound(*self.address, shared=True) for _ in range(count - 1)]
            for listener in self._sockets:
                assert listener is not None  # noqa: S101 - they were just opened
                listener.listen(BACKLOG)
        except OSError as error:
            self.close()
            raise _taken(host, port, error) from error
        if not SPREADS:
            self._sockets *= count

    def take(self, number: int) -> socket.socket:
        """The socket of one process; opened again, if it was given up.

        Raises:
            OSError: It cannot be opened again.
        """
        listener = self._sockets[number]
        if listener is None:
            listener = _bound(*self.address, shared=True)
            listener.listen(BACKLOG)
            self._sockets[number] = listener
        return listener

    def give_up(self, number: int) -> None:
        """Close the socket of a process that will not be there for a while: the others get its connections."""
        listener = self._sockets[number]
        if SPREADS and listener is not None and sum(each is not None for each in self._sockets) > 1:
            listener.close()
            self._sockets[number] = None

    def close(self, but: socket.socket | None = None) -> None:
        """Close all, in this process, but one."""
        for listener in self._sockets:
            if listener is not None and listener is not but:
                listener.close()


def allow_many_files() -> int | None:
    """Lift the soft limit of open files to the hard one, since each answer takes two; gives it, where there is one."""
    try:
        import resource  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Some systems do not take their own hard limit.
        for limit in (hard, COMMON_FILES):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
                soft = limit
                break
    return None if soft == resource.RLIM_INFINITY else soft


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Connections inherit it. Not every event loop sets it; without it a token may wait 40 ms for the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _taken(host: str, port: int, error: OSError) -> PortTakenError:
    return PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}")
