"""Downloading one image over connections that are made only to addresses that were checked."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from app.core.errors import BadRequest
from app.fetch.budget import Budget, refused
from app.fetch.guard import Allow, IPAddress, Refused, Target, read_address, read_target
from app.fetch.pictures import not_an_image, too_large
from app.wire.kinds import HEAD_BYTES, picture_kind

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

# One sentence for a name that does not exist, and for one that leads inside: the difference would tell a client
# which names the network around this process knows.
_NO_ADDRESS: Final = "its host has no public address."


class Download:
    """Downloads images; see ``app.fetch.images.ImageFetcher``, which has the same arguments.

    Args:
        allow: Which addresses may be connected to.
        resolve: Turns a name into addresses.
        ports: Which ports may be named; ``None`` for all.
        max_bytes: The size of one image.
        max_redirects: How many redirects are followed.
        headers: What is sent with each request.
        verify: TLS trust; ``None`` for the system's and certifi's.
    """

    def __init__(
        self,
        *,
        allow: Allow,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]],
        ports: Collection[int] | None,
        max_bytes: int,
        max_redirects: int,
        headers: Mapping[str, str],
        verify: ssl.SSLContext | None,
    ) -> None:
        self._allow = allow
        self._resolve = resolve
        self._ports = ports
        self._max_bytes = max_bytes
        self._max_redirects = max_redirects
        self._headers = headers
        self._verify = verify

    async def fetch(self, url: str, param: str, budget: Budget) -> bytes:
        """Download one image, wherever it has moved to.

        Raises:
            Refused: It may not be had.
            BadRequest: It cannot be had.
            TimeoutError: Its host took too long.
        """
        try:
            return await self._follow(url, param, budget)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError):
            raise _download_failed("its host could not be reached, or broke off.", param) from None

    async def _follow(self, url: str, param: str, budget: Budget) -> bytes:
        for _ in range(self._max_redirects + 1):
            target = read_target(url, self._ports)
            addresses = await self._addresses(target)
            found = await self._get(target, addresses, param, budget)
            if isinstance(found, bytes):
                return found
            url = found
        raise _download_failed(f"more than {self._max_redirects} redirects.", param)

    async def _addresses(self, target: Target) -> dict[str, IPAddress]:
        """The addresses to connect to, all of them checked."""
        if target.literal is not None:
            texts: Sequence[str] = (target.host,)
        else:
            try:
                texts = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError):
                raise Refused(_NO_ADDRESS) from None
        addresses: dict[str, IPAddress] = {}
        for text in texts:
            address = read_address(text)
            # One bad address spoils the name: a host that is public and private at once is a mistake or an attack,
            # and connecting to its other addresses would let its owner choose, by closing a port, which one is used.
            if address is None or not self._allow(address):
                raise Refused(_NO_ADDRESS)
            addresses[str(address)] = address
        if not addresses:
            raise Refused(_NO_ADDRESS)
        return addresses

    async def _get(self, target: Target, addresses: dict[str, IPAddress], param: str, budget: Budget) -> bytes | str:
        """Make one request, to one of the checked addresses: an image's bytes, or where it has moved to."""
        verify: ssl.SSLContext | bool = True
        if target.url.scheme == "https":
            verify = self._verify = self._verify or httpx.create_ssl_context()
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses),
            use_dns_cache=False,
            socket_factory=_socket_factory(addresses, self._allow),
            force_close=True,
            ssl=verify,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        async with session, session.get(target.url, headers=self._headers, allow_redirects=False) as response:
            try:
                if response.status in _REDIRECTS:
                    return _location(response, target.url, param)
                self._check_head(response, param)
                return await self._read(response.content, param, budget)
            finally:
                # Whatever was not read is not wanted.
                response.close()

    def _check_head(self, response: aiohttp.ClientResponse, param: str) -> None:
        if response.status != 200:
            raise _download_failed(f"its host answered with status {response.status}.", param)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"", "identity"}:
            raise _download_failed("its host sent it compressed although it was asked not to.", param)
        if (response.content_length or 0) > self._max_bytes:
            raise too_large(self._max_bytes, param)

    async def _read(self, content: aiohttp.StreamReader, param: str, budget: Budget) -> bytes:
        data = bytearray()
        checked = False
        while block := await content.readany():
            data += block
            if len(data) > self._max_bytes:
                raise too_large(self._max_bytes, param)
            budget.spend(len(block), param)
            if not checked and len(data) >= HEAD_BYTES:
                checked = True
                if picture_kind(bytes(data[:HEAD_BYTES])) is None:
                    raise not_an_image(bytes(data[:HEAD_BYTES]), param)
        return bytes(data)


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked: asking again could bring others."""

    def __init__(self, addresses: dict[str, IPAddress]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - aiohttp's shape
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=text,
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for text, address in self._addresses.items()
        ]

    async def close(self) -> None:
        """Nothing is held."""


def _socket_factory(addresses: dict[str, IPAddress], allow: Allow) -> Callable[[Any], socket.socket]:
    """Make sockets only for the checked addresses.

    The last line: aiohttp does not ask the resolver about hosts that look like addresses to it, so what a socket is
    really about to be connected to is looked at once more.
    """

    def make(info: Any) -> socket.socket:  # noqa: ANN401 - aiohttp's type for it is private
        family, kind, proto, _, peer = info
        address = read_address(str(peer[0]))
        if address is None or address not in addresses.values() or not allow(address):
            raise PermissionError("This address was not checked.")
        return socket.socket(family, kind, proto)

    return make


def _location(response: aiohttp.ClientResponse, base: yarl.URL, param: str) -> str:
    location = response.headers.get("location")
    if not location:
        raise _download_failed("its host sent a redirect to nowhere.", param)
    try:
        return str(base.join(yarl.URL(location)))
    except ValueError:
        raise _download_failed("its host sent a redirect that cannot be read.", param) from None


def _download_failed(reason: str, param: str) -> BadRequest:
    return refused(f"Error while downloading the image: {reason}", param)
