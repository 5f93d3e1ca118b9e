"""The settings, one field each, with what they mean and the values they take."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from msgspec.structs import fields
from pydantic import BeforeValidator, ByteSize, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.limits import MAX_COUNT, LimitSpec
from app.core.model import DialectName
from app.limits.quota import FREE_NEURONS_PER_DAY
from app.settings import upstream_url, values
from app.settings.credentials import account_id_problem, token_problem
from app.settings.lists import read_choices, read_mapping
from app.settings.problems import Problem

SECRETS: Final = frozenset(
    {
        "cloudflare_api_token",
        "more_accounts",
        "gateway_token",
        "api_keys",
        "admin_key",
        "metrics_key",
        "database_url",
        "redis_url",
        "files_secret_access_key",
        "seal_key",
    }
)
"""Settings that are never shown, and that may be read from a file."""


def default_data_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where the platform keeps a user's data. Nothing is made there yet."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - Path.expanduser raises without a home
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "flarelay"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "flarelay"
    stated = environ.get("XDG_DATA_HOME", "")
    # The XDG specification tells readers to ignore a relative path.
    return (Path(stated) if stated.startswith("/") else home / ".local" / "share") / "flarelay"


class Settings(BaseSettings):
    """All settings. Made by ``load``; fields given directly are checked in the same way."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    host: values.Host = Field(
        "127.0.0.1", description="Address to listen on. `0.0.0.0` is every network of this machine."
    )
    port: int = Field(8484, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    cloudflare_account_id: str | None = Field(
        None, description="The Cloudflare account that runs the models: 32 hexadecimal digits."
    )
    cloudflare_api_token: SecretStr | None = Field(
        None, description="A Cloudflare API token with the permission Workers AI Read. May be read from a file."
    )
    upstream_url: str = Field(
        upstream_url.DEFAULT_UPSTREAM_URL, description="Cloudflare's API, without the account and what follows it."
    )
    data_dir: values.Directory = Field(
        default_factory=lambda: default_data_dir(os.environ),
        description="Directory for what has to outlive a restart.",
    )
    api_keys: values.ClientKeys = Field(
        (),
        description="Keys that clients must show one of, separated by commas or lines. None means that no key is asked "
        "for, on this machine only. May be read from a file.",
    )
    keys_file: Path | None = Field(
        None,
        description="A TOML file with the SHA-256 of keys and what each may use; read again whenever it changes.",
    )
    admin_key: values.LongKey = Field(
        None,
        description="The key of the administration API, `/admin`; unset: there is none. With it, clients always need "
        "keys. May be read from a file.",
    )
    require_keys: bool = Field(
        default=False, description="Ask for a key also while there is none yet, such as before the first was made."
    )
    allow_no_keys_on_network: bool = Field(
        default=False,
        description="Serve other machines without asking for a key: whoever reaches the port spends your quota.",
    )
    requests_per_minute: values.Count = Field(
        None, description="Most requests of each key in a minute. Unset: no limit."
    )
    requests_per_day: values.Count = Field(None, description="Most requests of each key in 24 hours. Unset: no limit.")
    tokens_per_minute: values.Count = Field(
        None, description="Most tokens of each key in a minute, input and output together. Unset: no limit."
    )
    tokens_per_day: values.Count = Field(None, description="Likewise in 24 hours. Unset: no limit.")
    concurrency: values.Count = Field(None, description="Most requests of each key at the same time. Unset: no limit.")
    neurons_per_day: values.Budget = Field(
        None, description="Most neurons of each key in a calendar day (UTC). Unset: no budget."
    )
    neurons_per_month: values.Budget = Field(None, description="Likewise in a calendar month.")
    usd_per_day: values.Dollars = Field(None, description="Most US dollars of each key in a calendar day (UTC).")
    usd_per_month: values.Dollars = Field(None, description="Likewise in a calendar month.")
    plan: Annotated[Literal["free", "paid"], BeforeValidator(values.lower)] = Field(
        "paid",
        description="The Cloudflare account's plan. `free` stops, or goes on with a cheaper fallback model, "
        "before the 10,000 neurons of the day are used up.",
    )
    account_neurons_per_day: values.Budget = Field(
        None, description="Likewise after so many neurons of all keys in a day (UTC), on any plan."
    )
    fallback_models: Annotated[dict[values.Name, tuple[values.Name, ...]], BeforeValidator(read_choices)] = Field(
        {},
        description="Models to go on with when one cannot be had, in order: `gpt-oss-120b=gpt-oss-20b|qwen3-30b-a3b`; "
        "`*` stands for every model.",
    )
    account_guard: Annotated[Literal["auto", "on", "off"], BeforeValidator(values.lower)] = Field(
        "auto",
        description="Keep below Cloudflare's own limits per model (300 requests a minute for most) by letting requests "
        "wait their turn, key by key: `on`, `off`, or `auto`: where the upstream is Cloudflare itself.",
    )
    account_requests_per_minute: Annotated[
        dict[values.Name, Annotated[int, Field(ge=1, le=MAX_COUNT)]], BeforeValidator(read_mapping)
    ] = Field({}, description="Other limits of your account than Cloudflare's published ones, such as `kimi-k2.6=50`.")
    queue_seconds: values.SecondsOrOff = Field(10.0, description="Longest time that a request waits for its turn.")
    redis_url: SecretStr | None = Field(
        None,
        description="Where the limits are counted for all replicas, such as `redis://host:6379/0`; needs the extra "
        "`redis`. Unset: in this process. May be read from a file.",
    )
    when_redis_is_away: Literal["refuse", "degrade"] = Field(
        "refuse", description="`refuse` requests with 503, or `degrade` to limits that each process counts alone."
    )
    aliases: Annotated[dict[values.Name, values.Name], BeforeValidator(read_mapping)] = Field(
        {}, description="Your own names for models, such as `gpt-4o=gpt-oss-120b,small=gpt-oss-20b`, or a JSON object."
    )
    dialects: Annotated[dict[values.Name, DialectName], BeforeValidator(read_mapping)] = Field(
        {},
        description="Models that are to be spoken to in another dialect, `chat` or `native`, such as `qwq-32b=native`.",
    )
    default_max_tokens: int | None = Field(
        None, ge=1, description="Token limit of requests that state none. Unset: as much as the model's window leaves."
    )
    more_accounts: values.Accounts = Field(
        (),
        description="Further accounts of the same owner, to go on with when the first cannot be had, each as "
        "`account id:token`, separated by commas or lines. May be read from a file.",
    )
    retries: int = Field(
        2, ge=0, le=10, description="How often a request is sent again after a failure before its first byte."
    )
    retry_max_wait: values.SecondsOrOff = Field(
        15.0, description="Longest pause before it is sent again; what asks for a longer one is told to the client."
    )
    remember_failures: bool = Field(
        default=True,
        description="Leave a model or account alone for a while that is busy, out of neurons or keeps failing.",
    )
    gateway: values.GatewayId = Field(None, description="The AI Gateway through which models are called. Unset: none.")
    gateway_token: SecretStr | None = Field(
        None, description="What an authenticated gateway asks for. May be read from a file."
    )
    gateway_url: values.GatewayUrl = Field(
        "https://gateway.ai.cloudflare.com/v1", description="Where the AI Gateways are."
    )
    connect_timeout: values.Seconds = Field(10.0, description="Seconds to wait for a connection to Cloudflare.")
    first_byte_timeout: values.Seconds = Field(180.0, description="Seconds to wait for the first byte of an answer.")
    idle_timeout: values.Seconds = Field(120.0, description="Seconds to wait between two pieces of an answer.")
    total_timeout: values.SecondsOrOff = Field(
        0.0, description="Seconds that an answer may take all in all, all tries together; 0 for any time."
    )
    keep_alive_interval: values.SecondsOrOff = Field(
        15.0, description="Seconds of silence in a stream after which a comment keeps it open; 0 sends none."
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(32 * 1024 * 1024), ge=1024, description="Largest request body, in bytes or as in `64MiB`."
    )
    max_upload_bytes: ByteSize = Field(
        ByteSize(25 * 1024 * 1024), ge=1024, description="Most bytes of sound or pictures in one request."
    )
    public_url: str | None = Field(
        None,
        description="The address at which clients reach this server, for URLs of pictures; unset: the one they call.",
    )
    max_connections: int = Field(10_000, ge=1, description="Most connections to Cloudflare at a time.")
    catalogue_refresh_seconds: values.SecondsOrOff = Field(
        3600.0, description="Seconds between two readings of Cloudflare's list of models; 0 uses the bundled list only."
    )
    store: bool = Field(
        default=True, description="Keep responses and conversations, so that they can be fetched and continued."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Where they are kept: `sqlite:////absolute/path` or `postgresql://user:password@host/name`. "
        "Unset: an SQLite file in the data directory. May be read from a file.",
    )
    store_days: values.SecondsOrOff = Field(
        30.0, description="Days that responses and conversations are kept; 0 for ever."
    )
    usage_days: int = Field(
        400, ge=32, description="Days that the usage of each key and model is kept, one row a day for each."
    )
    background_places: int = Field(64, ge=1, description="Most background responses made at a time by one process.")
    files_url: values.BucketUrl = Field(
        None,
        description="Where the bytes of files are: `s3://bucket/prefix`, in any store that speaks S3; needs the extra "
        "`s3`. Unset: the directory `files` in the data directory.",
    )
    files_endpoint: values.ServerUrl = Field(
        None, description="The server of that store, such as `https://s3.example.com`. Unset: AWS."
    )
    files_region: str | None = Field(
        None, description="Its region. Unset: what AWS's own variables say, or `us-east-1`."
    )
    files_access_key_id: str | None = Field(
        None, description="The id of the key to it. Unset: what AWS's own variables or the machine's role say."
    )
    files_secret_access_key: SecretStr | None = Field(
        None, description="The secret of that key. May be read from a file."
    )
    max_file_bytes: ByteSize = Field(
        ByteSize(512 * 1024 * 1024), ge=1024, description="Largest file that is taken, in bytes or as in `64MiB`."
    )
    max_batch_lines: int = Field(50_000, ge=1, le=1_000_000, description="Most requests of a batch.")
    batch_places: int = Field(
        4,
        ge=0,
        le=1_000,
        description="Most requests of batches made at a time by one process; 0 leaves batches to others.",
    )
    batch_queue: bool = Field(
        default=True,
        description="Send requests of batches to Cloudflare's asynchronous queue where nothing is lost by it.",
    )
    seal_key: SecretStr | None = Field(
        None,
        description="Encrypts what clients keep for the proxy, such as reasoning; the same in all replicas. Unset: "
        "made from the API token. May be read from a file.",
    )
    fetch_images: bool = Field(
        default=True,
        description="Fetch images that a conversation names by a public address; otherwise only data URIs are taken.",
    )
    websockets: bool = Field(
        default=True,
        description="Take WebSocket connections on `/v1/responses`; otherwise clients that try are told so with 426.",
    )
    reasoning_events: Annotated[Literal["openai", "open-responses"], BeforeValidator(values.lower)] = Field(
        "openai",
        description="Names of the events that stream reasoning on Responses: `openai` or `open-responses`.",
    )
    strict: bool = Field(
        default=False,
        description="Refuse a request with a field that would be dropped or changed, instead of a header.",
    )
    metrics: bool = Field(default=True, description="Count what happens, and show it to Prometheus on `/metrics`.")
    metrics_key: values.LongKey = Field(
        None,
        description="The key that opens `/metrics`, and nothing else; the admin key opens it too. Where no API key is "
        "asked for, neither is one here until this is set. May be read from a file.",
    )
    metrics_public: bool = Field(
        default=False, description="Show `/metrics` to whoever reaches the port, without a key."
    )
    metrics_callers: int = Field(
        0, ge=0, le=1000, description="How many keys the metrics tell apart, by their public ids; all others are one."
    )
    tracing: bool = Field(
        default=False,
        description="Send spans of requests over OTLP (HTTP) to where `OTEL_EXPORTER_OTLP_ENDPOINT` says; needs the "
        "extra `otel`.",
    )
    tracing_content: bool = Field(default=False, description="Put prompts and answers into the spans.")
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(values.lower)] = (
        Field(
            "info",
            description="Least important messages to log: `debug`, `info`, `warning`, `error`, `critical`. The line of "
            "each request is `info`.",
        )
    )
    log_format: Annotated[Literal["auto", "json", "pretty"], BeforeValidator(values.lower)] = Field(
        "auto", description="`json`, `pretty`, or `auto`: pretty on a terminal, JSON elsewhere."
    )
    drain_seconds: values.SecondsOrOff = Field(
        30.0, description="Seconds that requests get to finish when the server is told to stop."
    )
    drain_delay: values.SecondsOrOff = Field(
        0.0,
        description="Seconds before that in which it says that it is not ready and still takes connections, so that "
        "load balancers have time to notice.",
    )
    workers: int = Field(1, ge=1, le=256, description="Processes that serve, on one port.")
    max_in_flight: int = Field(
        6_000, ge=1, description="Most requests at a time in one process; others are refused with 503."
    )
    max_client_connections: int = Field(
        10_000, ge=1, description="Most connections of clients at a time in one process; others are refused with 503."
    )
    offline: bool = Field(
        default=False, description="Answer from the built-in emulator: no account, no network, no cost."
    )
    notes: tuple[str, ...] = Field((), exclude=True, description="What was put right in the settings, for the log.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is handed in and nothing else: ``load`` reads the environment, and knows what came from where."""
        return (init_settings,)

    @classmethod
    def names(cls) -> list[str]:
        """The names of all that can be set."""
        return [name for name in cls.model_fields if name != "notes"]

    def public(self) -> dict[str, Any]:
        """The settings as they may be logged: of secrets, only whether they are set."""
        shown: dict[str, Any] = {}
        for name in self.names():
            value = getattr(self, name)
            if name in SECRETS or name == "cloudflare_account_id":
                value = "set" if value else "unset"
            shown[name] = str(value) if isinstance(value, Path) else value
        return shown

    @model_validator(mode="before")
    @classmethod
    def _put_right(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = {**values, "notes": ()}
        url, account = values.get("upstream_url"), values.get("cloudflare_account_id")
        if isinstance(url, str):
            try:
                values["upstream_url"], note = upstream_url.tidy(url)
            except ValueError as error:
                raise Problem("upstream_url", str(error)) from None
            if note:
                values["notes"] += (note,)
        if isinstance(account, str):
            values["cloudflare_account_id"] = account = account.strip()
            if account_id_problem(account) is None and account != account.lower():
                values["cloudflare_account_id"] = account.lower()
                values["notes"] += ("the account id was given in upper case; its letters are lower case",)
        return values

    @property
    def default_limits(self) -> LimitSpec:
        """The limits of keys that have none of their own."""
        return LimitSpec(**{field.name: getattr(self, field.name) for field in fields(LimitSpec)})

    @property
    def account_allocation(self) -> float | None:
        """Neurons that the account may use in a day; ``None`` when nothing limits them."""
        free = FREE_NEURONS_PER_DAY if self.plan == "free" else None
        bounds = [bound for bound in (free, self.account_neurons_per_day) if bound is not None]
        return min(bounds, default=None)

    @property
    def guards_account(self) -> bool:
        """Requests are kept below the account's limits."""
        if self.account_guard != "auto":
            return self.account_guard == "on"
        return not self.offline and upstream_url.is_cloudflare(self.upstream_url)

    @property
    def store_url(self) -> str:
        """Where the store is."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'flarelay.sqlite3'}"

    @property
    def asks_for_keys(self) -> bool:
        """A key is asked for, whether or not there is one in the store."""
        return bool(self.api_keys or self.keys_file or self.admin_key or self.require_keys)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.offline:
            return self
        if not self.cloudflare_account_id:
            raise Problem(
                "cloudflare_account_id",
                "is not set: give the id of your Cloudflare account (32 hexadecimal digits), or start with --offline",
            )
        if problem := account_id_problem(self.cloudflare_account_id):
            raise Problem("cloudflare_account_id", problem)
        token = self.cloudflare_api_token.get_secret_value() if self.cloudflare_api_token else ""
        if not token:
            raise Problem(
                "cloudflare_api_token",
                "is not set: give an API token with the permission Workers AI Read, or start with --offline",
            )
        if problem := token_problem(token):
            raise Problem("cloudflare_api_token", problem)
        return self

    @model_validator(mode="after")
    def _admin(self) -> Self:
        if self.admin_key is not None and self.admin_key in self.api_keys:
            raise Problem("admin_key", "is also one of the API keys: who may use the models may then do everything")
        if self.metrics_key is not None and self.metrics_key in (*self.api_keys, self.admin_key):
            raise Problem("metrics_key", "is also another key: it is to open the metrics, and nothing else")
        return self

    @model_validator(mode="after")
    def _tracing(self) -> Self:
        if self.tracing_content and not self.tracing:
            raise Problem("tracing_content", "is true, and nothing is traced: set FLARELAY_TRACING=true")
        return self

    @model_validator(mode="after")
    def _several(self) -> Self:
        """Several processes that each count by themselves would multiply every limit."""
        if self.workers == 1 or self.redis_url is not None or not self._counts:
            return self
        raise Problem(
            "workers",
            f"is {self.workers}, and what limits requests is counted in each process alone: set FLARELAY_REDIS_URL, "
            "where all of them count together, or FLARELAY_WORKERS=1",
        )

    @property
    def _counts(self) -> bool:
        """Something may limit requests: a default, a key's own limits, or the account's."""
        keyed = self.store or self.keys_file is not None
        return keyed or self.default_limits != LimitSpec() or self.account_allocation is not None or self.guards_account

    @model_validator(mode="after")
    def _network(self) -> Self:
        if self.asks_for_keys or self.allow_no_keys_on_network or is_loopback(self.host):
            return self
        raise Problem(
            "host",
            f"is {self.host}, which other machines can reach, and no keys are set: set FLARELAY_API_KEYS, or "
            "FLARELAY_REQUIRE_KEYS=true and make keys with `flarelay keys create`, or "
            "FLARELAY_ALLOW_NO_KEYS_ON_NETWORK=true if everybody who reaches it may spend your quota",
        )


def is_loopback(host: str) -> bool:
    """Only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
