"""All checks together: those that do not need each other run at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from app import __version__
from app.catalog.catalogue import ANY_MODEL, Catalogue, CatalogueError, build
from app.catalog.facts import bundled
from app.core.errors import NotFound
from app.doctor.access import (
    GatewayToAsk,
    check_account,
    check_gateway,
    check_model,
    check_plan,
    check_token,
    price_of_calls,
    reached,
)
from app.doctor.asking import Asker, UnreachableError
from app.doctor.clock import check_clock
from app.doctor.doors import check_address, check_keys
from app.doctor.findings import Clock, Finding, Reading, failed, ok, skipped, warning, within
from app.doctor.redis import check_redis
from app.doctor.storage import Seen, check_store, no_store

if TYPE_CHECKING:
    import httpx

    from app.settings import Settings

DEFAULT_MODELS: Final = ("gpt-oss-120b", "gpt-oss-20b")

MOST_MODELS: Final = 12
"""Of the models that the settings name, so many are tried."""

ORDER: Final = (
    "settings", "cloudflare", "token", "account", "permission", "plan", "model", "gateway", "store", "disk", "redis",
    "keys", "address", "clock",
)  # fmt: skip

_NEEDS_SETTINGS: Final = (*ORDER[2:7], *ORDER[7:9], *ORDER[10:])


class Options(Struct, frozen=True):
    """How it is done.

    Attributes:
        models: Names of models to try; empty for those that the settings name, or the best known.
        call: Have each of them generate one token, which is charged for.
        seconds: The time for one check.
        tell_cost: Hears what calls will cost at most, in US dollars, before they are made.
    """

    models: tuple[str, ...] = ()
    call: bool = False
    seconds: float = 10.0
    tell_cost: Callable[[float], None] = lambda _: None


class Diagnosis(Struct, frozen=True):
    """What was found.

    Attributes:
        findings: In the order in which they are shown.
        usd: What it cost at most, estimated.
    """

    findings: Sequence[Finding] = field(default_factory=tuple)
    usd: float = 0.0

    @property
    def sound(self) -> bool:
        """Nothing failed."""
        return all(finding.verdict != "failed" for finding in self.findings)

    def count(self, verdict: Literal["ok", "warning", "failed", "skipped"]) -> int:
        """How many findings have a verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "object": "flarelay.diagnosis",
            "version": __version__,
            "sound": self.sound,
            "cost_usd": round(self.usd, 9),
            "checks": [finding.as_dict() for finding in self.findings],
        }


async def diagnose(
    load: Callable[[], Settings], options: Options, transport: Callable[[], httpx.AsyncBaseTransport], clock: Clock
) -> Diagnosis:
    """Look at everything.

    Args:
        load: Reads the settings; a ``SettingsError`` is a finding like others.
        options: How it is done.
        transport: Makes what carries bytes to Cloudflare; it is closed here.
        clock: Unix seconds.
    """
    from app.settings import SettingsError  # noqa: PLC0415 - loads pydantic

    try:
        settings = load()
        catalogue = _catalogue(settings)
    except (SettingsError, CatalogueError, NotFound) as error:
        advice = "`flarelay serve` would not start; the README lists all settings"
        rest = [skipped(check, "the settings have to be right first") for check in _NEEDS_SETTINGS]
        return Diagnosis([failed("settings", str(error), advice), *rest])
    readings: list[Reading] = []
    carrier = transport()
    doctor = _Doctor(settings, catalogue, options, carrier, clock, readings)
    try:
        parts = await asyncio.gather(doctor.cloudflare(), doctor.stored(), doctor.redis(), doctor.address())
    finally:
        await carrier.aclose()
    findings = [*_settings(settings), *(finding for part in parts for finding in part), *check_clock(readings)]
    place = {check: number for number, check in enumerate(ORDER)}
    findings.sort(key=lambda finding: place[finding.check.partition(" ")[0]])
    return Diagnosis(findings, doctor.usd)


def _catalogue(settings: Settings) -> Catalogue:
    """The bundled models, under the names of the settings.

    Raises:
        CatalogueError: An alias or a dialect is set to something that cannot be.
        NotFound: A model is set that cannot be.
    """
    catalogue = build(bundled(), aliases=settings.aliases, dialect_overrides=settings.dialects)
    for name in _named(settings):
        catalogue.resolve(name)
    return catalogue


def _named(settings: Settings) -> list[str]:
    """The models that the settings name."""
    fallbacks = [name for pair in settings.fallback_models.items() for name in (pair[0], *pair[1])]
    names = [*settings.aliases, *fallbacks, *settings.account_requests_per_minute]
    return [name for name in dict.fromkeys(names) if name != ANY_MODEL]


def _settings(settings: Settings) -> list[Finding]:
    findings = [ok("settings", "they can be used")]
    return [*findings, *(warning("settings", note) for note in settings.notes)]


class _Doctor:
    """The checks of one diagnosis."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        options: Options,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
        readings: list[Reading],
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._options = options
        self._transport = transport
        self._clock = clock
        self._readings = readings
        self.usd = 0.0

    async def cloudflare(self) -> list[Finding]:
        """Everything that Cloudflare has to be asked for, each account by itself."""
        if self._settings.offline:
            checks = ("token", "account", "permission", "plan", "model", "gateway")
            return [skipped(check, "FLARELAY_OFFLINE is true: the built-in emulator answers") for check in checks]
        accounts = [self._account(number, *pair) for number, pair in enumerate(_credentials(self._settings), start=1)]
        return [finding for findings in await asyncio.gather(*accounts) for finding in findings]

    async def stored(self) -> list[Finding]:
        """The store, and then the keys, some of which may be in it."""
        settings, seen = self._settings, Seen(())

        async def look() -> Sequence[Finding]:
            nonlocal seen
            if settings.store:
                seen = await check_store(settings.store_url, self._clock, self._readings)
            else:
                seen = no_store()
            return seen.findings

        findings = await self._within("store", look())
        return [*findings, *await self._within("keys", check_keys(settings, seen.keys))]

    async def redis(self) -> list[Finding]:
        """Redis, if it is used."""
        url = self._settings.redis_url.get_secret_value() if self._settings.redis_url is not None else None
        work = check_redis(url, self._options.seconds, self._clock, self._readings)
        return [*await self._within("redis", work)]

    async def address(self) -> list[Finding]:
        """Where clients come."""
        work = check_address(self._settings.host, self._settings.port, self._transport)
        return [*await self._within("address", work)]

    async def _account(self, number: int, account_id: str, token: str) -> list[Finding]:
        settings = self._settings
        asker = Asker(
            self._transport,
            settings.upstream_url,
            account_id,
            token,
            user_agent=f"flarelay/{__version__} doctor",
            connect_seconds=min(settings.connect_timeout, self._options.seconds),
            clock=self._clock,
        )
        mark = "" if number == 1 else f" {number}"
        where = urlsplit(settings.upstream_url).netloc
        away = await within("cloudflare", self._options.seconds, _as_list(reached(asker, where)))
        if away:
            return [*away]
        checks = [
            self._within(f"token{mark}", check_token(asker, f"token{mark}", self._clock)),
            self._within(f"account{mark}", check_account(asker, f"account{mark}", f"permission{mark}")),
        ]
        if number == 1:
            # Of further accounts only the way in is checked: they are of the same owner.
            checks += [
                self._within("plan", check_plan(asker, self._catalogue, settings.plan)),
                self._within("gateway", check_gateway(asker, _gateway(settings))),
                *(self._model(asker, name) for name in self._models()),
            ]
        findings = [finding for part in await asyncio.gather(*checks) for finding in part]
        if asker.reading is not None and number == 1:
            self._readings.append(asker.reading)
        return _without_echoes(findings)

    def _models(self) -> list[str]:
        names = self._options.models or tuple(_named(self._settings)[:MOST_MODELS]) or DEFAULT_MODELS
        if self._options.call:
            known = [self._catalogue.resolve(name) for name in names if self._is_known(name)]
            self.usd = price_of_calls(known)
            self._options.tell_cost(self.usd)
        return [*dict.fromkeys(names)]

    def _is_known(self, name: str) -> bool:
        try:
            self._catalogue.resolve(name)
        except NotFound:
            return False
        return True

    async def _model(self, asker: Asker, name: str) -> Sequence[Finding]:
        work = check_model(asker, self._catalogue, name, call=self._options.call)
        return await self._within(f"model {name}", work)

    async def _within(self, check: str, work: Any) -> Sequence[Finding]:  # noqa: ANN401 - an awaitable of findings
        async def guarded() -> Sequence[Finding]:
            try:
                found: Sequence[Finding] = await work
            except UnreachableError as error:
                return [failed(check, f"there was no answer: {error}", "try again; look at the network")]
            return found

        return await within(check, self._options.seconds, guarded())


async def _as_list(work: Any) -> Sequence[Finding]:  # noqa: ANN401 - an awaitable of one finding or none
    found: Finding | None = await work
    return [] if found is None else [found]


def _credentials(settings: Settings) -> list[tuple[str, str]]:
    token = settings.cloudflare_api_token.get_secret_value() if settings.cloudflare_api_token else ""
    more = (account.get_secret_value().partition(":") for account in settings.more_accounts)
    return [(settings.cloudflare_account_id or "", token), *((account, secret) for account, _, secret in more)]


def _gateway(settings: Settings) -> GatewayToAsk | None:
    if settings.gateway is None:
        return None
    token = settings.gateway_token.get_secret_value() if settings.gateway_token else ""
    return GatewayToAsk(settings.gateway, token, settings.gateway_url)


def _without_echoes(findings: Sequence[Finding]) -> list[Finding]:
    """Where the way in is barred, what lies behind it is not told as further failures."""
    doors: Mapping[str, Finding] = {finding.check: finding for finding in findings}
    barred = next((name for name in ("token", "account", "permission") if _failed(doors.get(name))), None)
    if barred is None:
        return list(findings)
    behind: tuple[str, ...] = ("account", "permission", "plan", "model", "gateway")
    if barred != "token":
        behind = behind[behind.index(barred) + 1 :]
    return [
        skipped(finding.check, f"the {barred} has to be right first")
        if finding.check.partition(" ")[0] in behind
        else finding
        for finding in findings
    ]


def _failed(finding: Finding | None) -> bool:
    return finding is not None and finding.verdict == "failed"
