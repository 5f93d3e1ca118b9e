"""Forgetting files: first the bytes, then the row, so that what a killed process left is found again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from app.files.contract import Blobs, FilesUnavailable
from app.store.contract import Store, StoreUnavailable

EVERY_SECONDS: Final = 60.0
UNFINISHED_SECONDS: Final = 86_400.0
"""An upload that has taken so long will never be whole."""

MOST: Final = 100

_log = logging.getLogger(__name__)


async def keep_files_purged(store: Store, blobs: Blobs, clock: Callable[[], float]) -> None:
    """Purge now and then, for ever."""
    while True:
        try:
            while await purge_files(store, blobs, clock()) == MOST:
                pass
        except (StoreUnavailable, FilesUnavailable) as error:
            _log.warning("files that are deleted could not be purged: %s", error.message)
        await asyncio.sleep(EVERY_SECONDS)


async def purge_files(store: Store, blobs: Blobs, now: float) -> int:
    """Purge some files.

    Returns:
        How many; call again while it is ``MOST``.

    Raises:
        StoreUnavailable: The database failed.
        FilesUnavailable: Bytes could not be deleted; their rows stay.
    """
    doomed = await store.files.doomed(now, unfinished_before=now - UNFINISHED_SECONDS, limit=MOST)
    for file_id in doomed:
        await blobs.delete(file_id)
    await store.files.forget(doomed)
    return len(doomed)
