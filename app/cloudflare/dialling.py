"""Opening connections: addresses, proxies of the environment, TLS."""

from __future__ import annotations

import asyncio
import base64
import functools
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohappyeyeballs
import httpx
from aiohappyeyeballs import AddrInfoType
from msgspec import Struct

ADDRESS_SECONDS: Final = 10.0
"""How long the addresses of a name are believed: many connections may be opened in one moment."""

OTHER_ADDRESS_SECONDS: Final = 0.25
"""How long one address is tried alone before the next is tried beside it (RFC 8305)."""

MOST_TUNNEL_BYTES: Final = 16 * 1024
"""How much a proxy may say before it has opened a tunnel."""

_PORTS: Final = {"http": 80, "https": 443}

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


class Origin(Struct, frozen=True, eq=False):
    """Where requests go. There is one object of it for each, compared by identity.

    Attributes:
        host: A name or an address.
        port: Its port.
        tls: It is spoken to over TLS.
        proxy: What the connection is made to instead; ``None`` for none.
        target: Stands before the path in the request line; empty unless a proxy forwards the requests.
        headers: Header lines for a proxy that forwards the requests, each with its line end.
    """

    host: str
    port: int
    tls: bool
    proxy: httpx.Proxy | None
    target: bytes
    headers: bytes


class Dialler:
    """Opens connections.

    Args:
        verify: TLS trust; ``None`` for that of httpx, which is made when it is first needed: it takes longer to load
            than the rest of the start.
    """

    __slots__ = ("_addresses", "_trust")

    def __init__(self, verify: ssl.SSLContext | None) -> None:
        self._trust = functools.cache(lambda: _default_trust() if verify is None else verify)
        self._addresses: dict[tuple[str, int], tuple[float, Sequence[AddrInfoType]]] = {}

    def origin(self, url: httpx.URL) -> Origin:
        """Where a URL is. The environment is asked for a proxy here, and not at each request.

        Raises:
            httpx.UnsupportedProtocol: It is not HTTP.
            httpx.ProxyError: Its proxy is not one that can be used.
        """
        port = _PORTS.get(url.scheme)
        if port is None or not url.host:
            raise httpx.UnsupportedProtocol(f"{url.scheme}:// is not HTTP")
        tls = url.scheme == "https"
        proxy = _proxy(url)
        target = headers = b""
        if proxy is not None and not tls:
            target = b"http://" + url.netloc
            headers = _credentials(proxy)
        return Origin(url.host, url.port or port, tls, proxy, target, headers)

    async def dial(self, origin: Origin, make: Callable[[], _Protocol]) -> _Protocol:
        """Open a connection.

        Raises:
            httpx.ConnectError: It cannot be opened.
            httpx.ProxyError: The proxy cannot be reached, or refuses.
        """
        proxy = origin.proxy
        if proxy is None:
            connected = await self._connect(origin.host, origin.port, httpx.ConnectError)
        else:
            port = proxy.url.port or _PORTS[proxy.url.scheme]
            connected = await self._connect(proxy.url.host, port, httpx.ProxyError)
        loop = asyncio.get_running_loop()
        try:
            if proxy is not None and origin.tls:
                await _open_tunnel(connected, origin, proxy)
            trust, name = (self._trust(), origin.host) if origin.tls else (None, None)
            _, protocol = await loop.create_connection(make, sock=connected, ssl=trust, server_hostname=name)
        except (OSError, EOFError) as error:
            connected.close()
            raise httpx.ConnectError(_told(error)) from error
        except BaseException:
            connected.close()
            raise
        return protocol

    async def _connect(self, host: str, port: int, failure: type[httpx.TransportError]) -> socket.socket:
        try:
            addresses = await self._resolve(host, port)
            connected = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=OTHER_ADDRESS_SECONDS, interleave=1
            )
        except (OSError, UnicodeError) as error:
            # They may have changed.
            self._addresses.pop((host, port), None)
            raise failure(_told(error)) from error
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A peer that is gone without a word is noticed also where nothing is to be sent.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connected

    async def _resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        loop = asyncio.get_running_loop()
        until, addresses = self._addresses.get((host, port), (0.0, ()))
        if loop.time() >= until:
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            self._addresses[host, port] = loop.time() + ADDRESS_SECONDS, addresses
        return addresses


def _default_trust() -> ssl.SSLContext:
    trust = httpx.create_ssl_context()
    trust.set_alpn_protocols(["http/1.1"])
    return trust


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found:
        return None
    try:
        proxy = httpx.Proxy(found if "://" in found else f"http://{found}")
    except (ValueError, httpx.InvalidURL) as error:
        raise httpx.ProxyError(f"the proxy of the environment cannot be used: {error}") from None
    if proxy.url.scheme != "http":
        raise httpx.ProxyError(
            f"a proxy is spoken to over http://, and the environment names one of {proxy.url.scheme}://"
        )
    return proxy


def _credentials(proxy: httpx.Proxy) -> bytes:
    if proxy.raw_auth is None:
        return b""
    return b"Proxy-Authorization: Basic " + base64.b64encode(b":".join(proxy.raw_auth)) + b"\r\n"


async def _open_tunnel(connected: socket.socket, origin: Origin, proxy: httpx.Proxy) -> None:
    """Ask a proxy for a way through.

    Raises:
        httpx.ProxyError: It refuses.
        OSError: The connection broke.
    """
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    name = f"{host}:{origin.port}".encode("idna" if not host.isascii() else "ascii")
    loop = asyncio.get_running_loop()
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (name, name, _credentials(proxy))
    await loop.sock_sendall(connected, head)
    answer = b""
    while b"\r\n\r\n" not in answer:
        block = await loop.sock_recv(connected, 4096)
        answer += block
        if not block or len(answer) > MOST_TUNNEL_BYTES:
            raise httpx.ProxyError("the proxy opened no tunnel")
    version, _, rest = answer.partition(b" ")
    status = rest[:3].decode("latin-1")
    if not version.startswith(b"HTTP/1.") or not status.startswith("2"):
        raise httpx.ProxyError(f"the proxy opened no tunnel: it answered {status!r}")


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
