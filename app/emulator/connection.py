"""The connection under a request, for the faults that HTTP has no words for."""

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Any, Final

from starlette.types import Send

# Closing a socket whose linger time is zero sends RST in place of FIN.
_NO_LINGER = struct.pack("ii", 1, 0)
_LONGEST_FLUSH = 1.0
# How many bytes a socket has still to send, or has sent and not heard of: Linux tells it, and calls it SIOCOUTQ.
_UNSENT: Final = 0x5411


class Connection:
    """The way to the client, below HTTP.

    Where the application is called in memory there is no socket: breaking the connection then raises
    `ConnectionError` through the application.

    Args:
        transport: The server's transport, or nothing.
    """

    def __init__(self, transport: Any = None) -> None:  # noqa: ANN401 - asyncio's, or one of another event loop
        self._transport = transport
        self.broken = False

    @classmethod
    def under(cls, send: Send) -> "Connection":
        """Find the connection that an application's `send` writes to.

        ASGI has no word for it; uvicorn's `send` is a method of the object that holds the transport.
        """
        return cls(getattr(getattr(send, "__self__", None), "transport", None))

    def write(self, data: bytes) -> bool:
        """Write past HTTP; return whether there is a socket to write to."""
        if self._transport is None:
            return False
        self._transport.write(data)
        return True

    async def close(self) -> None:
        """End the connection in order, wherever the answer stands.

        Raises:
            ConnectionError: There is no socket.
        """
        await self._flush("closed")
        self._transport.close()

    async def reset(self) -> None:
        """End the connection with a reset, after everything that was written.

        Raises:
            ConnectionError: There is no socket.
        """
        await self._flush("reset")
        await self._arrive()
        with contextlib.suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    async def _flush(self, how: str) -> None:
        self.broken = True
        if self._transport is None:
            raise ConnectionResetError(f"the emulator {how} the connection")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONGEST_FLUSH
        # Some event loops write only at the end of a turn, even when their buffer is said to be empty.
        await asyncio.sleep(0)
        while self._transport.get_write_buffer_size() and loop.time() < deadline:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)

    async def _arrive(self) -> None:
        """Wait until the other side's system has everything: a reset throws away what is still on its way."""
        if sys.platform != "linux":
            return
        import fcntl  # noqa: PLC0415 - absent on Windows

        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONGEST_FLUSH
        with contextlib.suppress(OSError):
            number = self._transport.get_extra_info("socket").fileno()
            while loop.time() < deadline and any(fcntl.ioctl(number, _UNSENT, bytes(4))):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.001)
