"""What the application is made of, beside its routes: each object is made here, from the settings."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
from msgspec.structs import replace
from pydantic import SecretStr

from app import __version__
from app.api.ids import new_id
from app.catalog.catalogue import ANY_MODEL, Catalogue, CatalogueError, build
from app.catalog.facts import bundled
from app.cloudflare.catalogue import LiveCatalogue
from app.cloudflare.client import CloudflareClient, Gateway, Timeouts
from app.cloudflare.transport import Transport
from app.core.errors import NotFound
from app.core.outcome import Outcome
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect
from app.exchange import Wiring
from app.exchange.accounting import Accounting, Openings, keep_usage_purged
from app.exchange.attempts import Patience
from app.exchange.breaker import Tolerance
from app.exchange.health import Health
from app.exchange.memory import Memory
from app.exchange.purging import keep_purged
from app.exchange.route import Account
from app.exchange.upstream import Upstream
from app.fetch.images import ImageFetcher
from app.files.contract import Blobs, FilesError
from app.files.opening import open_local, open_s3
from app.keys.declared import KeyFileError
from app.keys.file import KeyFile
from app.keys.ring import KeyRing
from app.keys.seal import Seal
from app.keys.static import static_keys
from app.limits.buckets import Buckets, Opening
from app.limits.callers import CallerLimits
from app.limits.first_use import MadeOnFirstUse
from app.limits.guard import AccountGuard
from app.limits.memory import MemoryBuckets
from app.limits.quota import AccountQuota
from app.limits.redis import RedisBuckets
from app.limits.turns import MemoryTurns, RedisTurns, Turns
from app.settings import Settings, SettingsError
from app.store.accounts import UsageLedger
from app.store.contract import Store, StoreError, StoreUnavailable
from app.store.opening import open_store
from app.telemetry.log import ExchangeLog, log_format
from app.telemetry.metrics import Metrics
from app.telemetry.spans import Tracing

if TYPE_CHECKING:
    from app.telemetry.exporting import Exporting

DAY = 86_400

REDIS_SECONDS = 1.0
"""How long an admission waits for Redis: a healthy one answers in a thousandth of it, but this process may be late."""

TRACES_PROTOCOL: Final = "http/protobuf"
"""What spans are sent in; OpenTelemetry's variables may ask for another."""

LEVELS_WITH_EXCHANGES = frozenset({"debug", "info"})
"""The levels of the log at which the line of each exchange is written."""

ACCOUNT_DIGITS = 16
"""Of the hash that stands for the account in the names of buckets: replicas agree on it, and it tells nobody who."""


class Parts(NamedTuple):
    """What the application is made of, beside its routes.

    Attributes:
        upstream: Workers AI.
        catalogue: The models.
        memory: What callers said and got before; its store is opened by ``open_store``.
        keys: The keys of callers.
        accounting: What was used.
        buckets: What limits are counted in.
        turns: What the guard counts in.
        guards: Keep below the accounts' limits.
        metrics: Counts exchanges; ``None`` when nothing is counted.
        exporting: Sends spans; ``None`` when nothing is traced.
        wiring: What every exchange needs.
    """

    upstream: Upstream
    catalogue: LiveCatalogue
    memory: Memory
    keys: KeyRing
    accounting: Accounting
    buckets: Buckets
    turns: Turns
    guards: Sequence[AccountGuard]
    metrics: Metrics | None
    exporting: Exporting | None
    wiring: Wiring

    async def open_store(self, url: str) -> None:
        """Open the store, and take in the keys that are in it. Nothing happens when it is open."""
        if self.memory.store is None:
            store = await open_store(url)
            self.memory.store = store
            await self.keys.attach(store.keys)

    def jobs(self, settings: Settings) -> list[Coroutine[None, None, None]]:
        """What goes on beside the requests, for ever."""
        jobs = [self.keys.keep_fresh(), self.accounting.run()]
        if settings.catalogue_refresh_seconds:
            jobs.append(self.catalogue.keep_fresh(settings.catalogue_refresh_seconds))
        if self.metrics is not None:
            jobs.append(self.metrics.run())
        if (store := self.memory.store) is not None:
            jobs.append(keep_purged(store, time.time))
            jobs.append(keep_usage_purged(store.usage, time.time, settings.usage_days))
        return jobs

    def closing(self) -> list[Callable[[], Awaitable[None]]]:
        """What is closed at the end, in this order."""
        store = self.memory.store
        stores = [] if store is None else [store.close]
        spans = [] if self.exporting is None else [self.exporting.aclose]
        return [self.accounting.aclose, *stores, self.buckets.aclose, self.turns.aclose, self.upstream.aclose, *spans]


def make_parts(settings: Settings, transport: httpx.AsyncBaseTransport | None, counted_in: Path | None) -> Parts:
    """Make what the application is made of.

    Args:
        settings: How it is to be.
        transport: What carries the bytes to the upstream; by default the real thing.
        counted_in: Where the processes that serve one port count together; ``None`` for a process alone.

    Raises:
        SettingsError: Something is set to what cannot be.
    """
    token = secret_of(settings.cloudflare_api_token) or ""
    accounts = _accounts(settings, transport, token)
    catalogue = _catalogue(settings, accounts[0].client)
    log = ExchangeLog(sys.stdout, log_format(settings.log_format, sys.stdout), time.time)
    measured = _metrics(settings, catalogue, counted_in)
    exporting, tracing = _tracing(settings)
    memory = _memory(settings, token)

    def ledger() -> UsageLedger | None:
        store = store_of(settings, memory)
        return None if store is None else store.usage

    accounting = Accounting(ledger)
    buckets = _buckets(settings, Openings(accounting, time.time).spent)
    ids = [_stands_for(account_id) for account_id, _ in _credentials(settings, token)]
    turns = _turns(settings)
    guards = _guards(settings, turns, catalogue.current(), ids)
    if guards:
        accounts = [replace(account, guard=guard) for account, guard in zip(accounts, guards, strict=True)]
    upstream = Upstream(
        accounts,
        clock=time.time,
        roll=random.random,
        patience=Patience(settings.retries, settings.retry_max_wait),
        health=Health(Tolerance()) if settings.remember_failures else None,
        believes_quota=settings.plan == "free",
        total_seconds=settings.total_timeout or None,
    )

    logs = settings.log_level in LEVELS_WITH_EXCHANGES

    def report(outcome: Outcome) -> None:
        if logs:
            log.report(outcome)
        if measured is not None:
            measured.report(outcome)
        if outcome.usage is not None and outcome.cost is not None and outcome.upstream_model is not None:
            accounting.add(outcome.began, outcome.caller, outcome.upstream_model, outcome.usage, outcome.cost)

    wiring = Wiring(
        upstream=upstream,
        catalogue=catalogue.current,
        dialects={"chat": ChatDialect(), "native": NativeDialect()},
        limits=CallerLimits(buckets),
        memory=memory,
        images=ImageFetcher(enabled=settings.fetch_images),
        report=report,
        new_id=new_id,
        clock=time.time,
        timer=time.perf_counter,
        affinity_secret=hashlib.sha256(f"affinity {token}".encode()).digest(),
        default_max_tokens=settings.default_max_tokens,
        quota=AccountQuota(
            buckets,
            ids[0],
            # Of several accounts each has its own allocation, which Cloudflare counts.
            plan="paid" if settings.more_accounts else settings.plan,
            neurons_per_day=settings.account_neurons_per_day,
            clock=time.time,
        ),
        fallbacks=lambda model: catalogue.current().fallbacks(model, settings.fallback_models),
        tracing=tracing,
        strict=settings.strict,
    )
    keys = _keys(settings)
    return Parts(upstream, catalogue, memory, keys, accounting, buckets, turns, guards, measured, exporting, wiring)


def _metrics(settings: Settings, catalogue: LiveCatalogue, counted_in: Path | None) -> Metrics | None:
    if not settings.metrics:
        return None
    return Metrics(
        catalogue.current,
        version=__version__,
        started=time.time(),
        directory=counted_in,
        callers=settings.metrics_callers,
    )


def _tracing(settings: Settings) -> tuple[Exporting, Tracing] | tuple[None, None]:
    if not settings.tracing:
        return None, None
    try:
        # Here and not above: it takes longer to load than all the rest.
        from app.telemetry.exporting import Exporting  # noqa: PLC0415
        from app.telemetry.tracing import OtelTracing  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            "FLARELAY_TRACING is true, and OpenTelemetry is not installed: pip install flarelay[otel]"
        ) from error
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(name, TRACES_PROTOCOL) != TRACES_PROTOCOL:
            raise SettingsError(f"{name} asks for a protocol in which no spans are sent: set it to {TRACES_PROTOCOL}")
    exporting = Exporting(__version__, new_id(""))
    tracer = exporting.provider.get_tracer("flarelay", __version__)
    return exporting, OtelTracing(tracer, settings.upstream_url, content=settings.tracing_content)


def store_of(settings: Settings, memory: Memory) -> Store | None:
    """The store; ``None`` where there is to be none.

    Raises:
        StoreUnavailable: It is not open yet.
    """
    if settings.store and memory.store is None:
        raise StoreUnavailable
    return memory.store


def _credentials(settings: Settings, token: str) -> list[tuple[str, str]]:
    """The id and the token of every account."""
    more = (account.get_secret_value().partition(":") for account in settings.more_accounts)
    return [
        (settings.cloudflare_account_id or "", token),
        *((account_id, account_token) for account_id, _, account_token in more),
    ]


def _stands_for(account_id: str) -> str:
    return hashlib.sha256(account_id.encode()).hexdigest()[:ACCOUNT_DIGITS]


def _accounts(settings: Settings, transport: httpx.AsyncBaseTransport | None, token: str) -> list[Account]:
    # One pool of connections for all of them: they are all at the same host.
    carrier = transport or Transport(max_connections=settings.max_connections)
    gateway = None
    if settings.gateway:
        gateway = Gateway(settings.gateway, secret_of(settings.gateway_token) or "", settings.gateway_url)
    return [
        Account(
            f"account-{number}",
            CloudflareClient(
                carrier,
                base_url=settings.upstream_url,
                account_id=account_id,
                token=account_token,
                timeouts=Timeouts(settings.connect_timeout, settings.first_byte_timeout, settings.idle_timeout),
                user_agent=f"flarelay/{__version__}",
                clock=time.time,
                gateway=gateway,
            ),
        )
        for number, (account_id, account_token) in enumerate(_credentials(settings, token), start=1)
    ]


def _keys(settings: Settings) -> KeyRing:
    try:
        return KeyRing(
            static_keys(key.get_secret_value() for key in settings.api_keys),
            KeyFile(settings.keys_file) if settings.keys_file else None,
            default=settings.default_limits,
            clock=time.time,
            required=settings.asks_for_keys,
        )
    except KeyFileError as error:
        raise SettingsError(str(error)) from error


def _buckets(settings: Settings, opening: Opening) -> Buckets:
    if settings.redis_url is None:
        return MemoryBuckets(opening=opening)
    if importlib.util.find_spec("redis") is None:
        raise SettingsError(
            "FLARELAY_REDIS_URL is set, and the package redis is not installed: pip install flarelay[redis]"
        )
    url = settings.redis_url.get_secret_value()
    return MadeOnFirstUse(
        lambda: RedisBuckets(url, when_away=settings.when_redis_is_away, timeout=REDIS_SECONDS, opening=opening)
    )


def _turns(settings: Settings) -> MemoryTurns | RedisTurns:
    if settings.redis_url is None:
        return MemoryTurns()
    return RedisTurns(
        settings.redis_url.get_secret_value(), when_away=settings.when_redis_is_away, timeout=REDIS_SECONDS
    )


def _guards(settings: Settings, turns: Turns, catalogue: Catalogue, accounts: Sequence[str]) -> list[AccountGuard]:
    try:
        own = {catalogue.resolve(name).id: most for name, most in settings.account_requests_per_minute.items()}
        for models in settings.fallback_models.items():
            for name in (models[0], *models[1]):
                if name != ANY_MODEL:
                    catalogue.resolve(name)
    except NotFound as error:
        raise SettingsError(f"a model that is set cannot be: {error.message}") from error
    if not settings.guards_account:
        return []
    return [AccountGuard(turns, account, max_wait=settings.queue_seconds, overrides=own) for account in accounts]


def _memory(settings: Settings, token: str) -> Memory:
    secret = secret_of(settings.seal_key) or f"seal {token}"
    seconds = settings.store_days * DAY if settings.store_days else None
    return Memory(None, functools.cache(lambda: Seal(secret.encode(), os.urandom)), new_id, time.time, seconds)


def _catalogue(settings: Settings, client: CloudflareClient) -> LiveCatalogue:
    facts = bundled()
    try:
        return LiveCatalogue(
            client,
            lambda rows: build(facts, rows, aliases=settings.aliases, dialect_overrides=settings.dialects),
            time.time,
        )
    except CatalogueError as error:
        raise SettingsError(str(error)) from error


def open_blobs(settings: Settings) -> Blobs:
    """The bytes of files.

    Raises:
        StoreError: They cannot be kept where they are to be.
    """
    try:
        if settings.files_url is None:
            return open_local(settings.data_dir.absolute() / "files", new_id, time.time)
        return open_s3(
            settings.files_url,
            endpoint=settings.files_endpoint,
            region=settings.files_region,
            access_key_id=settings.files_access_key_id,
            secret_access_key=secret_of(settings.files_secret_access_key),
        )
    except FilesError as error:
        raise StoreError(str(error)) from error


def secret_of(value: SecretStr | None) -> str | None:
    """A setting that is not shown; ``None`` where it is not set."""
    return None if value is None else value.get_secret_value()
