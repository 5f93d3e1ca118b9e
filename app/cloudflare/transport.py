"""The seam under which the upstream connection can be changed: httpx's transport interface, here over aiohttp.

httpx's own connection pool looks at every connection at each request, which makes it slower with every open stream.
aiohttp's does not, so httpx's request, response and error types stay and only what carries the bytes is another.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import yarl
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.tracing import Trace
from multidict import CIMultiDict

READ_BUFFER_BYTES = 64 * 1024
"""How much an upstream may send ahead of a slow client before its connection is paused."""

# The more special first: the first class that matches decides.
_ERRORS: tuple[tuple[type[BaseException], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientOSError, httpx.ReadError),
    (aiohttp.ClientPayloadError, httpx.ReadError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientError, httpx.RemoteProtocolError),
)


def _translated(error: Exception) -> httpx.TransportError:
    for theirs, ours in _ERRORS:
        if isinstance(error, theirs):
            return ours(str(error) or type(error).__name__)
    return httpx.ReadError(str(error) or type(error).__name__)


class _Body(httpx.AsyncByteStream):
    """The answer's bytes, as they come off the socket."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while block := await content.readany():
                yield block
        except (aiohttp.ClientError, ConnectionError) as error:
            # What had come before the connection broke: aiohttp keeps it, and gives it to nobody.
            if block := content._read_nowait(-1):  # noqa: SLF001
                yield block
            raise _translated(error) from error

    async def aclose(self) -> None:
        # An answer that was read to its end has already given its connection back; any other closes it at once,
        # which is how the upstream learns that nobody is listening.
        self._response.close()


class _Connector(aiohttp.TCPConnector):
    """Uses no connection again on which something has come that nobody asked for.

    aiohttp's own would give it to the next request as the answer, and that may be another caller's.
    """

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> aiohttp.connector.Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Carries httpx requests over an aiohttp session.

    Redirects are never followed, cookies never kept, bodies never decompressed behind httpx's back. A proxy from the
    environment is looked up once per origin.

    Args:
        max_connections: How many connections may be open at once; further requests wait.
        keep_alive_seconds: How long an unused connection is kept.
        verify: TLS trust; ``None`` for the system's and certifi's.
    """

    def __init__(
        self, *, max_connections: int, keep_alive_seconds: float = 60.0, verify: ssl.SSLContext | None = None
    ) -> None:
        self._max_connections = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None
        self._proxies: dict[tuple[str, str], str | None] = {}
        self._timeouts: dict[tuple[float | None, ...], aiohttp.ClientTimeout] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; return when the answer's head has come.

        Raises:
            httpx.TransportError: It did not come.
        """
        session = self._session or self._open_session(request.url)
        url = request.url
        try:
            response = await session.request(
                request.method,
                yarl.URL(str(url), encoded=True),
                headers=CIMultiDict(
                    [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
                ),
                data=request.content or None,
                allow_redirects=False,
                timeout=self._timeout(request.extensions.get("timeout", {})),
                proxy=self._proxy(url),
            )
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise _translated(error) from error
        return httpx.Response(
            response.status, headers=list(response.raw_headers), stream=_Body(response), request=request
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self, url: httpx.URL) -> aiohttp.ClientSession:
        # Here and not in the constructor: a session belongs to the running loop. A plain-text upstream needs no
        # TLS context, whose trust store takes longer to load than the rest of the start.
        verify: ssl.SSLContext | bool = True
        if url.scheme == "https":
            verify = self._verify or httpx.create_ssl_context()
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=self._max_connections, ssl=verify, keepalive_timeout=self._keep_alive_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
            read_bufsize=READ_BUFFER_BYTES,
            requote_redirect_url=False,
        )
        return self._session

    def _timeout(self, timeout: dict[str, float | None]) -> aiohttp.ClientTimeout:
        key = (timeout.get("pool"), timeout.get("connect"), timeout.get("read"))
        known = self._timeouts.get(key)
        if known is None:
            known = aiohttp.ClientTimeout(total=None, connect=key[0], sock_connect=key[1], sock_read=key[2])
            self._timeouts[key] = known
        return known

    def _proxy(self, url: httpx.URL) -> str | None:
        origin = (url.scheme, url.host)
        if origin not in self._proxies:
            proxy = None if proxy_bypass(url.host) else getproxies().get(url.scheme)
            self._proxies[origin] = proxy
        return self._proxies[origin]
