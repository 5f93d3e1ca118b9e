"""The WebSocket protocol, with an end that lets the application finish."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Final

DEFAULT_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The largest message over a WebSocket, where nothing else is said."""


def websocket_protocol(**arguments: Any) -> asyncio.Protocol:  # noqa: ANN401 - the server's business
    """Make the protocol of one WebSocket connection. At the server's end it lets the application finish."""
    return _protocol()(**arguments)


@functools.cache
def _protocol() -> type[asyncio.Protocol]:
    # Here and not above: few clients upgrade, and the others need not wait for it.
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol  # noqa: PLC0415

    class Protocol(WebSocketsSansIOProtocol):
        async def send(self, message: Any) -> None:  # noqa: ANN401 - the server's type
            await super().send(message)
            if message["type"] == "websocket.http.response.body":
                # Refusing the upgrade is an answer too; without this each one is logged as a defect.
                self.handshake_complete = True

        def shutdown(self) -> None:
            if self.handshake_complete and not self.close_sent:
                self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012, "reason": ""})
            else:
                super().shutdown()

    return Protocol
