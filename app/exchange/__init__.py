"""One request with its answer: the only place where translation and I/O meet."""

from app.exchange.exchange import Exchange
from app.exchange.wiring import Wiring

__all__ = ["Exchange", "Wiring"]
