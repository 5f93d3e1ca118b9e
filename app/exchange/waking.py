"""Waiting for work: until somebody tells of it, or until it is time to look."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def woken(wake: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, for so long at most.

    Args:
        wake: Set by whoever brings work; clearing it is the waiter's business.
        seconds: After which others' work, of which nobody tells here, is looked for.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
