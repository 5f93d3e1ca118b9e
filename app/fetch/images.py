"""Fetching the images that a request names by URL, without being led anywhere that its client could not go."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from app.core.errors import BadRequest
from app.fetch.budget import Budget, refused
from app.fetch.guard import WEB_PORTS, Allow, Refused, is_public
from app.fetch.pictures import not_an_image, to_data_uri
from app.wire.kinds import HEAD_BYTES, picture_kind

if TYPE_CHECKING:
    from app.fetch.download import Download

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Turns a name and a port into addresses; raises ``OSError`` when there are none."""

MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024

_HEADERS: Final = {
    "accept": "image/png, image/jpeg, image/gif, image/webp",
    # A small compressed body can grow without bound.
    "accept-encoding": "identity",
}


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(address[0]) for *_, address in found]


class ImageFetcher:
    """Fetches images.

    Nothing of this process goes along: no cookies, no credentials, no proxy from the environment. Each fetch has a
    connection of its own, which is closed after it.

    Args:
        allow: Which addresses may be connected to.
        resolve: Turns a name into addresses.
        ports: Which ports may be named; ``None`` for all.
        enabled: Off: every URL is refused, and only images within the request are served.
        max_bytes: The size of one image.
        seconds: The time for one image, redirects included.
        max_redirects: How many redirects are followed.
        user_agent: Who we say we are.
        verify: TLS trust; ``None`` for the system's and certifi's.
    """

    def __init__(
        self,
        *,
        allow: Allow = is_public,
        resolve: Resolve = resolve,
        ports: Collection[int] | None = WEB_PORTS,
        enabled: bool = True,
        max_bytes: int = MAX_IMAGE_BYTES,
        seconds: float = 15.0,
        max_redirects: int = 3,
        user_agent: str = "flarelay",
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self.enabled = enabled
        self.max_bytes = max_bytes
        self._seconds = seconds

        def make() -> Download:
            # Here and not above: few requests name images by URL, and what downloads them takes long to load.
            from app.fetch.download import Download  # noqa: PLC0415

            return Download(
                allow=allow,
                resolve=resolve,
                ports=ports,
                max_bytes=max_bytes,
                max_redirects=max_redirects,
                headers={**_HEADERS, "user-agent": user_agent},
                verify=verify,
            )

        self._make = make
        self._download: Download | None = None

    async def fetch(self, url: str, param: str, budget: Budget | None = None) -> str:
        """Fetch one image.

        Args:
            url: Where it is.
            param: Where that stood in the request.
            budget: What its bytes are taken from as they come.

        Returns:
            A ``data:`` URI.

        Raises:
            BadRequest: It may not, or cannot, be had. What the image's host does wrong is the client's to mend too.
        """
        if not self.enabled:
            raise BadRequest(
                "Image URLs are not fetched by this server; send the image as a base64 'data:' URI.",
                param=param,
                code="unsupported_value",
            )
        # The messages do not hold the URL, which may be a signed one: ``param`` tells which it is.
        if self._download is None:
            # The event loop goes on meanwhile.
            self._download = await asyncio.to_thread(self._make)
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._download.fetch(url, param, budget or Budget(self.max_bytes))
        except Refused as error:
            raise refused(f"Invalid image URL: {error}", param) from None
        except TimeoutError:
            raise refused(f"Timeout while downloading the image: over {self._seconds:g} seconds.", param) from None
        kind = picture_kind(data[:HEAD_BYTES])
        if kind is None:
            raise not_an_image(data[:HEAD_BYTES], param)
        return to_data_uri(data, kind)
