"""What a worker process and the one that has started it say to each other: single bytes over a pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

READY: Final = b"r"
END: Final = b"e"
STOP: Final = b"s"


class Parent:
    """The parent, as its child sees it.

    Args:
        link: The child's end of the pair. The parent's end closes with the parent, however that one ends.

    Attributes:
        hears_signals: Signals are also for this process; otherwise it ends only when the parent says so.
    """

    def __init__(self, link: socket.socket, *, hears_signals: bool = True) -> None:
        self._link = link
        self.hears_signals = hears_signals

    def attach(self, end: Callable[[], None], stop: Callable[[], None]) -> None:
        """Listen, in the running loop.

        Args:
            end: Called when this process is to end in good order, also because the parent is no more.
            stop: Called when it is to end at once.
        """
        self._link.settimeout(0.0)
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._hear, end, stop)

    def say_ready(self) -> None:
        """Say that this process serves."""
        try:
            self._link.send(READY)
        except OSError:
            # The parent is gone, which is heard elsewhere.
            return

    def _hear(self, end: Callable[[], None], stop: Callable[[], None]) -> None:
        said = self._link.recv(16)
        if STOP in said:
            stop()
        else:
            end()
        if not said:
            asyncio.get_running_loop().remove_reader(self._link.fileno())
