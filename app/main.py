"""Where every object is made and joined."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

import httpx
from fastapi import FastAPI

from app import __version__
from app.api import conversations, counting, errors, generation, health, models, socket
from app.api import responses as stored_responses
from app.api.caller import Gate
from app.api.conversations import Keeping
from app.api.follow import BackgroundReplies, Follower
from app.api.reply import Replies
from app.api.socket import Sockets
from app.catalog.catalogue import CatalogueError, build
from app.catalog.facts import bundled
from app.cloudflare.catalogue import LiveCatalogue
from app.cloudflare.client import CloudflareClient, Timeouts
from app.cloudflare.transport import AiohttpTransport
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect
from app.exchange import Wiring
from app.exchange.background import Bells, Workers
from app.exchange.memory import Memory
from app.exchange.piece import BackgroundExchange
from app.exchange.purging import keep_purged
from app.fetch.images import ImageFetcher
from app.keys.seal import Seal
from app.keys.static import StaticKeys
from app.limits.admission import Limits, NoLimits
from app.limits.first_use import MadeOnFirstUse
from app.limits.memory import MemoryLimits
from app.limits.redis import RedisLimits
from app.limits.spec import LimitSpec
from app.settings import Settings, SettingsError
from app.store.opening import open_store
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.responses.compact import CompactSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.telemetry.log import ExchangeLog, log_format

DAY = 86_400


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
    client = _client(settings, transport, token)
    catalogue = _catalogue(settings, client)
    log = ExchangeLog(sys.stdout, log_format(settings.log_format, sys.stdout), time.time)
    memory = _memory(settings, token)
    limits = _limits(settings)
    wiring = Wiring(
        upstream=client,
        catalogue=catalogue.current,
        dialects={"chat": ChatDialect(), "native": NativeDialect()},
        limits=limits,
        memory=memory,
        images=ImageFetcher(enabled=settings.fetch_images),
        report=log.report,
        new_id=new_id,
        clock=time.time,
        timer=time.perf_counter,
        affinity_secret=hashlib.sha256(f"affinity {token}".encode()).digest(),
        default_max_tokens=settings.default_max_tokens,
        strict=settings.strict,
    )
    speaks = functools.partial(
        ResponsesSurface, time.time, stores=settings.store, seals=True, reasoning_events=settings.reasoning_events
    )
    responses = speaks()
    sockets = Sockets(wiring, speaks(continues=True), enabled=settings.websockets, max_bytes=settings.max_body_bytes)
    bells = Bells()
    workers = Workers(
        memory,
        lambda claim: BackgroundExchange(wiring, responses, claim),
        bells,
        name=new_id("worker-"),
        clock=time.time,
        places=settings.background_places,
    )
    follower = Follower(memory, bells, settings.keep_alive_interval)
    replies = Replies(
        max_body_bytes=settings.max_body_bytes,
        keep_alive_seconds=settings.keep_alive_interval,
        background=BackgroundReplies(responses, follower, workers.wake),
    )
    ready = False

    async def prepare() -> None:
        if settings.store and memory.store is None:
            memory.store = await open_store(_database_url(settings))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal ready
        await prepare()
        jobs = [catalogue.keep_fresh(settings.catalogue_refresh_seconds)] if settings.catalogue_refresh_seconds else []
        closing = [client.aclose, *([limits.aclose] if isinstance(limits, MadeOnFirstUse) else [])]
        if memory.store is not None:
            jobs += [workers.run(), keep_purged(memory.store, time.time)]
            closing.append(memory.store.close)
        async with _at_the_end(closing), _beside(jobs):
            ready = True
            yield
            ready = False

    app = FastAPI(
        title="flarelay",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.routes.extend(generation.routes("/chat/completions", ChatSurface(), wiring, replies))
    app.router.routes.extend(generation.routes("/completions", CompletionsSurface(), wiring, replies))
    app.router.routes.extend(generation.routes("/responses", responses, wiring, replies))
    app.router.routes.extend(socket.routes("/responses", sockets))
    app.router.routes.extend(counting.routes("/responses", responses, wiring, replies))
    compact = CompactSurface(stores=settings.store)
    app.router.routes.extend(generation.routes("/responses/compact", compact, wiring, replies))
    if settings.store:
        keeping = Keeping(memory, new_id, time.time)
        app.include_router(stored_responses.router(keeping, follower, workers.stop))
        app.include_router(conversations.router(keeping))
    app.include_router(models.router(catalogue.current))
    app.include_router(health.router(lambda: ready, __version__))
    errors.install(app)
    keys = StaticKeys(key.get_secret_value() for key in settings.api_keys)
    app.state.prepare = prepare
    app.add_middleware(Gate, keys=keys, new_id=new_id, timer=time.perf_counter)
    return app


@contextlib.asynccontextmanager
async def _beside(jobs: Sequence[Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run jobs that go on for ever, until the body is done."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _at_the_end(closing: Sequence[Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Close what is open when the body is done, one thing after the other."""
    async with contextlib.AsyncExitStack() as stack:
        for close in closing:
            stack.push_async_callback(close)
        yield


def _client(settings: Settings, transport: httpx.AsyncBaseTransport | None, token: str) -> CloudflareClient:
    return CloudflareClient(
        transport or AiohttpTransport(max_connections=settings.max_connections),
        base_url=settings.upstream_url,
        account_id=settings.cloudflare_account_id or "",
        token=token,
        timeouts=Timeouts(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout),
        user_agent=f"flarelay/{__version__}",
        clock=time.time,
    )


def _limits(settings: Settings) -> Limits | MadeOnFirstUse:
    spec = LimitSpec(
        settings.requests_per_minute,
        settings.requests_per_day,
        settings.tokens_per_minute,
        settings.tokens_per_day,
        settings.concurrency,
    )
    if spec == LimitSpec():
        return NoLimits()
    if settings.redis_url is None:
        return MemoryLimits(lambda _: spec)
    if importlib.util.find_spec("redis") is None:
        raise SettingsError(
            "FLARELAY_REDIS_URL is set, and the package redis is not installed: pip install flarelay[redis]"
        )
    url = settings.redis_url.get_secret_value()
    return MadeOnFirstUse(lambda: RedisLimits(url, lambda _: spec, when_away=settings.when_redis_is_away))


def _memory(settings: Settings, token: str) -> Memory:
    secret = settings.seal_key.get_secret_value() if settings.seal_key else f"seal {token}"
    seconds = settings.store_days * DAY if settings.store_days else None
    return Memory(None, functools.cache(lambda: Seal(secret.encode(), os.urandom)), new_id, time.time, seconds)


def _catalogue(settings: Settings, client: CloudflareClient) -> LiveCatalogue:
    facts = bundled()
    try:
        return LiveCatalogue(
            client, lambda rows: build(facts, rows, aliases=settings.aliases, dialect_overrides=settings.dialects)
        )
    except CatalogueError as error:
        raise SettingsError(str(error)) from error


def _database_url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir.absolute() / 'flarelay.sqlite3'}"
