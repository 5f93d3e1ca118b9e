"""Where every object is made and joined, and where the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from app import __version__
from app.api import errors, generation, health, models
from app.api.caller import Gate
from app.api.reply import Replies
from app.catalog.catalogue import CatalogueError, build
from app.catalog.facts import bundled
from app.cloudflare.catalogue import LiveCatalogue
from app.cloudflare.client import CloudflareClient, Timeouts
from app.cloudflare.transport import AiohttpTransport
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect
from app.exchange import Wiring
from app.fetch.images import ImageFetcher
from app.keys.static import StaticKeys
from app.limits.admission import NoLimits
from app.settings import Settings, SettingsError
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.telemetry.log import ExchangeLog, Format, JsonFormatter

KEEP_ALIVE_SECONDS = 75
"""How long an idle client connection is kept: longer than the pools of the common clients keep theirs."""

BACKLOG = 2048


def new_id(prefix: str) -> str:
    """Make an id that nobody can guess: the prefix and 128 random bits."""
    return prefix + os.urandom(16).hex()


def create_app(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """Make the proxy.

    Args:
        settings: How it is to be.
        transport: What carries the bytes to the upstream; by default the real thing.

    Raises:
        SettingsError: An alias or a dialect is set to something that cannot be.
    """
    token = settings.cloudflare_api_token.get_secret_value() if settings.cloudflare_api_token else ""
    client = CloudflareClient(
        transport or AiohttpTransport(max_connections=settings.max_connections),
        base_url=settings.upstream_url,
        account_id=settings.cloudflare_account_id or "",
        token=token,
        timeouts=Timeouts(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout),
        user_agent=f"flarelay/{__version__}",
        clock=time.time,
    )
    facts = bundled()
    try:
        catalogue = LiveCatalogue(
            client, lambda rows: build(facts, rows, aliases=settings.aliases, dialect_overrides=settings.dialects)
        )
    except CatalogueError as error:
        raise SettingsError(str(error)) from error
    log = ExchangeLog(sys.stdout, _log_format(settings), time.time)
    wiring = Wiring(
        upstream=client,
        catalogue=catalogue.current,
        dialects={"chat": ChatDialect(), "native": NativeDialect()},
        limits=NoLimits(),
        images=ImageFetcher(enabled=settings.fetch_images),
        report=log.report,
        new_id=new_id,
        clock=time.time,
        timer=time.perf_counter,
        affinity_secret=hashlib.sha256(f"affinity {token}".encode()).digest(),
        default_max_tokens=settings.default_max_tokens,
        strict=settings.strict,
    )
    replies = Replies(max_body_bytes=settings.max_body_bytes, keep_alive_seconds=settings.keep_alive_interval)
    ready = False

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal ready
        async with client:
            refresh: asyncio.Task[None] | None = None
            if settings.catalogue_refresh_seconds:
                refresh = asyncio.create_task(catalogue.keep_fresh(settings.catalogue_refresh_seconds))
            ready = True
            try:
                yield
            finally:
                ready = False
                if refresh is not None:
                    refresh.cancel()

    app = FastAPI(
        title="flarelay",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend(generation.routes("/chat/completions", ChatSurface(), wiring, replies))
    app.router.routes.extend(generation.routes("/completions", CompletionsSurface(), wiring, replies))
    app.router.routes.extend(generation.routes("/responses", ResponsesSurface(clock=time.time), wiring, replies))
    app.include_router(models.router(catalogue.current))
    app.include_router(health.router(lambda: ready, __version__))
    errors.install(app)
    keys = StaticKeys(key.get_secret_value() for key in settings.api_keys)
    app.add_middleware(Gate, keys=keys, new_id=new_id, timer=time.perf_counter)
    return app


class PortTakenError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 takes any free one.

    Raises:
        PortTakenError: It cannot be opened.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=False)
    except OSError as error:
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    drain_seconds: float,
    beside: ASGIApp | None = None,
    beside_listener: socket.socket | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        app: What to serve.
        listener: Where.
        drain_seconds: How long open requests may go on after the signal.
        beside: Another application of the same process, such as the emulator; it ends after ``app`` has.
        beside_listener: Where that one listens.
    """
    server = _Server(_uvicorn_config(app, drain_seconds))

    async def serve() -> None:
        if beside is None or beside_listener is None:
            await server.serve(sockets=[listener])
            return
        other = _Companion(_uvicorn_config(beside, 1))
        task = asyncio.create_task(other.serve(sockets=[beside_listener]))
        try:
            await server.serve(sockets=[listener])
        finally:
            other.should_exit = True
            await task

    # What lives from the start lives to the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


class _Server(uvicorn.Server):
    """A server for which a signal is a request to end and not a death: the process ends with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Companion(uvicorn.Server):
    """A server that leaves the signals to the one it stands beside."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(app: ASGIApp, drain_seconds: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def configure_logging(settings: Settings) -> None:
    """Send every log line that is not an exchange's to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    if _log_format(settings) == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # The server tells every start and stop in six lines; the command line says it in one.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def _log_format(settings: Settings) -> Format:
    if settings.log_format == "auto":
        return "pretty" if sys.stdout.isatty() else "json"
    return settings.log_format
