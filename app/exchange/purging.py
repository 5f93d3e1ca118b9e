"""Forgetting what has expired, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from app.store.contract import Store, StoreUnavailable

EVERY_SECONDS = 600.0
PAUSE_SECONDS = 0.2
"""Between two bounded deletes, so that they never hold up what people wait for."""

EVENT_SECONDS = 3600.0
"""How long the stream of a background response can be replayed after it was made."""

_log = logging.getLogger(__name__)


async def keep_purged(store: Store, clock: Callable[[], float]) -> None:
    """Purge now and then, for ever."""
    while True:
        try:
            more = True
            while more:
                more = (await store.purge(clock(), events_before=clock() - EVENT_SECONDS)).more
                await asyncio.sleep(PAUSE_SECONDS)
        except StoreUnavailable as error:
            _log.warning("what has expired could not be purged: %s", error.message)
        await asyncio.sleep(EVERY_SECONDS)
