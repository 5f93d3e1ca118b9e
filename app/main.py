"""Where every object is joined: the routes, and what goes on beside them. What they need is made in ``app.parts``."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI
from starlette.routing import Route

from app import __version__
from app.api import batches, conversations, counting, errors, files, generation, health, images, metrics, models, socket
from app.api import responses as stored_responses
from app.api.admin import keys as admin_keys
from app.api.admin import usage as admin_usage
from app.api.admin.keys import KeyKeeping
from app.api.batches import BatchRoutes
from app.api.caller import Gate
from app.api.conversations import Keeping
from app.api.drain import Drain
from app.api.files import Filing
from app.api.follow import BackgroundReplies, Follower
from app.api.ids import new_id
from app.api.reply import Replies
from app.api.running import Running
from app.api.running import routes as run_routes
from app.api.socket import Sockets
from app.api.tracing import server_spans
from app.core.surface import Surface
from app.dialects.drawing import MOST_SEEDS, DrawingDialect
from app.dialects.embeddings import EmbeddingsDialect
from app.dialects.hearing import HearingDialect
from app.dialects.moderation import ModerationDialect
from app.dialects.ranking import RankingDialect
from app.dialects.speaking import SpeakingDialect
from app.exchange import Wiring, asking_lines
from app.exchange.background import Bells, Workers
from app.exchange.batch_lines import Batching
from app.exchange.batch_packs import PackWorkers
from app.exchange.batches import BatchWork
from app.exchange.file_purging import keep_files_purged
from app.exchange.piece import BackgroundExchange
from app.exchange.run import Service
from app.files.temporary import TemporaryPictures
from app.parts import Parts, make_parts, open_blobs, secret_of, store_of
from app.settings import Settings
from app.store.accounts import KeyRecords
from app.surfaces.audio.surface import SpeechSurface, TranscriptionsSurface, TranslationsSurface
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.completions.surface import CompletionsSurface
from app.surfaces.embeddings.surface import EmbeddingsSurface
from app.surfaces.images.surface import edits, generations, variations
from app.surfaces.moderations.surface import ModerationsSurface
from app.surfaces.rerank.surface import RerankSurface
from app.surfaces.responses.compact import CompactSurface
from app.surfaces.responses.surface import ResponsesSurface
from app.telemetry.metrics import Metrics


class _Cabinet(NamedTuple):
    """Files and batches.

    Attributes:
        filing: The files.
        work: Does the batches.
    """

    filing: Filing
    work: BatchWork

    def open(self, settings: Settings) -> None:
        """Open the place of the files' bytes. Nothing happens when it is open."""
        self.filing.blobs = self.filing.blobs or open_blobs(settings)

    def jobs(self) -> list[Coroutine[None, None, None]]:
        """What goes on beside the requests, for ever."""
        return [keep_files_purged(self.filing.store, self.filing.place, time.time), *self.work.jobs()]

    def add_routes(self, app: FastAPI) -> None:
        """Serve them."""
        app.router.routes.extend(files.routes(self.filing))
        app.router.routes.extend(batches.routes(BatchRoutes(self.filing, self.work.wake, self.work.stop)))


def create_app(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None, counted_in: Path | None = None
) -> FastAPI:
    """Make the proxy.

    Args:
        settings: How it is to be.
        transport: What carries the bytes to the upstream; by default the real thing.
        counted_in: Where the processes that serve one port count together; ``None`` for a process alone.

    Raises:
        SettingsError: An alias, a model, a dialect or the file of keys is set to something that cannot be.
    """
    parts = make_parts(settings, transport, counted_in)
    wiring, memory = parts.wiring, parts.memory
    speaks = functools.partial(
        ResponsesSurface, time.time, stores=settings.store, seals=True, reasoning_events=settings.reasoning_events
    )
    responses = speaks()
    drain = Drain()
    sockets = Sockets(
        wiring,
        speaks(continues=True),
        enabled=settings.websockets,
        max_bytes=settings.max_body_bytes,
        drain=drain,
    )
    bells = Bells()
    workers = Workers(
        memory,
        lambda claim: BackgroundExchange(wiring, responses, claim, parts.keys.by_id),
        bells,
        name=new_id("worker-"),
        clock=time.time,
        places=settings.background_places,
    )
    drain.tell(workers.rest)
    follower = Follower(memory, bells, settings.keep_alive_interval, drain)
    replies = Replies(
        max_body_bytes=settings.max_body_bytes,
        keep_alive_seconds=settings.keep_alive_interval,
        drain=drain,
        background=BackgroundReplies(responses, follower, workers.wake),
    )
    cabinet = _cabinet(settings, parts, responses, drain)
    ready = False

    async def prepare() -> None:
        if settings.store:
            await parts.open_store(settings.store_url)
            cabinet.open(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal ready
        await prepare()
        if parts.exporting is not None:
            parts.exporting.start()
        jobs = [*parts.jobs(settings), *([workers.run(), *cabinet.jobs()] if settings.store else [])]
        async with _at_the_end(parts.closing()), _beside(jobs):
            ready = True
            yield
            ready = False
            await asyncio.gather(workers.finish(drain.seconds_left()), cabinet.work.finish(drain.seconds_left()))

    app = FastAPI(
        title="flarelay",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=server_spans(parts.exporting.provider if parts.exporting is not None else None),
    )
    generating: dict[str, Surface] = {
        "/chat/completions": ChatSurface(),
        "/completions": CompletionsSurface(),
        "/responses": responses,
        "/responses/compact": CompactSurface(stores=settings.store),
    }
    generates = [
        route for path, surface in generating.items() for route in generation.routes(path, surface, wiring, replies)
    ]
    app.router.routes.extend(generates)
    app.router.routes.extend(socket.routes("/responses", sockets))
    app.router.routes.extend(counting.routes("/responses", responses, wiring, replies))
    app.router.routes.extend(_run_routes(settings, wiring, Running(replies, drain)))
    if settings.store:
        keeping = Keeping(memory, new_id, time.time, settings.max_body_bytes)
        app.router.routes.extend(stored_responses.routes(keeping, follower, workers.stop))
        app.router.routes.extend(conversations.routes(keeping))
        cabinet.add_routes(app)
    if settings.admin_key is not None:
        _add_administration(app, settings, parts)
    app.state.watch_refusals = None if parts.metrics is None else _show_metrics(app, parts.metrics, parts, workers)
    app.router.routes.extend(models.routes(parts.catalogue.current))
    app.router.routes.extend(health.routes(lambda: ready and not drain.begun, __version__))
    errors.install(app)
    app.state.prepare = prepare
    app.state.drain = drain
    app.add_middleware(
        Gate,
        keys=parts.keys,
        new_id=new_id,
        timer=time.perf_counter,
        admin_key=secret_of(settings.admin_key),
        metrics=parts.metrics,
        metrics_key=secret_of(settings.metrics_key),
        metrics_public=settings.metrics_public,
        # A span is named by its route, which only the framework's routing tells.
        direct={} if parts.exporting is not None else {route.path: route.app for route in generates},
    )
    return app


def _run_routes(settings: Settings, wiring: Wiring, running: Running) -> list[Route]:
    """The routes of what is served of models that answer in one piece."""
    services: dict[str, Service[Any, Any]] = {
        "/embeddings": Service(EmbeddingsSurface(), EmbeddingsDialect()),
        "/moderations": Service(ModerationsSurface(), ModerationDialect()),
        "/rerank": Service(RerankSurface(), RankingDialect()),
    }
    routes = [route for path, service in services.items() for route in run_routes(path, service, wiring, running)]
    return [*routes, *_media_routes(settings, wiring, running)]


def _media_routes(settings: Settings, wiring: Wiring, running: Running) -> list[Route]:
    """The routes of sound and pictures."""
    most = settings.max_upload_bytes
    hearing, drawing = HearingDialect(), DrawingDialect(lambda: random.randrange(MOST_SEEDS))  # noqa: S311 - no secret
    sounds: dict[str, Service[Any, Any]] = {
        "/audio/transcriptions": Service(TranscriptionsSurface(), hearing),
        "/audio/translations": Service(TranslationsSurface(), hearing),
        "/audio/speech": Service(SpeechSurface(), SpeakingDialect()),
    }
    pictures: dict[str, Service[Any, Any]] = {
        "/images/generations": Service(generations(), drawing),
        "/images/edits": Service(edits(), drawing),
        "/images/variations": Service(variations(), drawing),
    }
    kept = TemporaryPictures(settings.data_dir.absolute() / "pictures", new_id, time.time)
    base = settings.public_url.rstrip("/") if settings.public_url else None
    return [
        *(
            route
            for path, service in sounds.items()
            for route in run_routes(path, service, wiring, running, max_upload_bytes=most)
        ),
        *images.routes(pictures, wiring, running, kept, public_url=base, max_upload_bytes=most),
    ]


def _show_metrics(
    app: FastAPI, measured: Metrics, parts: Parts, workers: Workers
) -> Callable[[Callable[[], int]], None]:
    """Serve what is measured; returns who is to be told where the server counts what it refuses."""
    measured.watch(metrics.limiting(parts.buckets, parts.guards))
    measured.watch(metrics.standing(lambda: parts.catalogue.refreshed_at, lambda: workers.running))
    app.router.routes.extend(metrics.routes(measured, lambda: parts.memory.store))
    return lambda refused: measured.watch(metrics.refusing(refused))


def _add_administration(app: FastAPI, settings: Settings, parts: Parts) -> None:
    keys, guards = parts.keys, parts.guards

    def records() -> KeyRecords | None:
        store = store_of(settings, parts.memory)
        return None if store is None else store.keys

    keeping = KeyKeeping(records, keys.fixed, keys.refresh, os.urandom, time.time)
    app.router.routes.extend(admin_keys.routes(keeping))

    def limiter() -> Mapping[str, Any]:
        return parts.buckets.stats._asdict()

    def account_guard() -> Mapping[str, Any]:
        stats = [guard.stats._asdict() for guard in guards]
        return {name: sum(each[name] for each in stats) for name in stats[0]} if stats else {}

    stats = {"limiter": limiter, "account_guard": account_guard}
    allocation = settings.account_allocation
    app.router.routes.extend(
        admin_usage.routes(parts.accounting, parts.catalogue.current, time.time, allocation, stats)
    )


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
        for close in reversed(closing):
            stack.push_async_callback(close)
        yield


def _cabinet(settings: Settings, parts: Parts, responses: ResponsesSurface, drain: Drain) -> _Cabinet:
    wiring, guards = parts.wiring, parts.guards
    filing = Filing(parts.memory, new_id, time.time, settings.max_file_bytes)
    asks: dict[str, asking_lines.Generating | asking_lines.Running] = {
        "/v1/chat/completions": asking_lines.Generating(wiring, ChatSurface()),
        "/v1/completions": asking_lines.Generating(wiring, CompletionsSurface()),
        "/v1/responses": asking_lines.Generating(wiring, responses),
        "/v1/embeddings": asking_lines.Running(wiring, Service(EmbeddingsSurface(), EmbeddingsDialect())),
    }
    batching = Batching(
        parts.memory,
        lambda: filing.place,
        parts.catalogue.current,
        parts.keys.by_id,
        asks,
        new_id,
        time.time,
        new_id("worker-"),
    )
    # Completions have a small limit of tokens unless one is set, which the queue does not keep.
    packables = {endpoint: ask for endpoint, ask in asks.items() if endpoint != "/v1/completions"}
    packs = PackWorkers(batching, packables, wiring.upstream.accounts) if settings.batch_queue else None
    work = BatchWork(
        batching,
        packs,
        places=settings.batch_places,
        busy=lambda: any(guard.stats.waiting for guard in guards),
        max_lines=settings.max_batch_lines,
        max_line_bytes=settings.max_body_bytes,
    )
    drain.tell(work.rest)
    return _Cabinet(filing, work)
