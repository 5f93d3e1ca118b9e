"""The server process: its sockets, its signals, its bounds, its workers, its log."""

from app.server.bounds import Bounds
from app.server.listening import Listeners, PortTakenError, listen
from app.server.logs import configure_logging
from app.server.parent import Parent
from app.server.running import run
from app.server.websocket import DEFAULT_MESSAGE_BYTES, websocket_protocol
from app.server.workers import WorkersError, run_workers

__all__ = [
    "DEFAULT_MESSAGE_BYTES",
    "Bounds",
    "Listeners",
    "Parent",
    "PortTakenError",
    "WorkersError",
    "configure_logging",
    "listen",
    "run",
    "run_workers",
    "websocket_protocol",
]
