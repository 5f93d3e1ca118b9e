"""The catalogue as Cloudflare tells it: fetched now and then, and kept when a fetch fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.catalog.catalogue import Catalogue
from app.cloudflare.client import CloudflareClient
from app.core.errors import ApiError, UpstreamBroken
from app.wire.codec import CodecError, decode_leniently

MAX_PAGES = 50
PAGE_SIZE = 100

_log = logging.getLogger(__name__)


async def fetch_rows(client: CloudflareClient) -> list[Mapping[str, Any]]:
    """Fetch every row of ``GET /ai/models/search``.

    The total it reports is wrong and the page size may be ignored, so pages are asked for until one is empty or brings
    nothing new.

    Raises:
        ApiError: A page could not be had; a part of the catalogue is not given as the whole.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    for page in range(1, MAX_PAGES + 1):
        body = await client.get("/models/search", {"page": str(page), "per_page": str(PAGE_SIZE)})
        fresh = {name: row for name, row in _named(body) if name not in rows}
        if not fresh:
            break
        rows.update(fresh)
    return list(rows.values())


def _named(body: bytes) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        page = decode_leniently(body)
    except CodecError:
        raise UpstreamBroken("Workers AI sent a catalogue that cannot be read.") from None
    result = page.get("result") if isinstance(page, dict) else None
    if not isinstance(result, list):
        raise UpstreamBroken("Workers AI sent a catalogue that cannot be read.")
    return [(row["name"], row) for row in result if isinstance(row, dict) and isinstance(row.get("name"), str)]


class LiveCatalogue:
    """The catalogue as it is now.

    Args:
        client: Where rows come from.
        build: Makes a catalogue from the rows; ``None`` for the bundled facts alone.
        clock: Unix seconds.

    Attributes:
        refreshed_at: When the rows were fetched last, in Unix seconds; 0 before.
    """

    def __init__(
        self,
        client: CloudflareClient,
        build: Callable[[Sequence[Mapping[str, Any]] | None], Catalogue],
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._build = build
        self._clock = clock
        self._current = build(None)
        self.refreshed_at = 0.0

    def current(self) -> Catalogue:
        """The catalogue."""
        return self._current

    async def refresh(self) -> bool:
        """Fetch the rows anew; keep what there is when that fails.

        Returns:
            Whether it worked.
        """
        try:
            self._current = self._build(await fetch_rows(self._client))
        except ApiError as error:
            _log.warning("the model catalogue could not be refreshed, the last one stays in use: %s", error.message)
            return False
        self.refreshed_at = self._clock()
        return True

    async def keep_fresh(self, seconds: float) -> None:
        """Refresh now and then every so many seconds, for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(seconds)
