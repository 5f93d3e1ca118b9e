"""The settings, one field each, with what they mean and the values they take."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ByteSize, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.model import DialectName
from app.settings import upstream_url
from app.settings.credentials import account_id_problem, key_problem, token_problem
from app.settings.lists import read_list, read_mapping
from app.settings.problems import Problem

_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_SecondsOrOff = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int | None, Field(ge=1, le=10**9)]
_Name = Annotated[str, Field(min_length=1)]


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


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


class Settings(BaseSettings):
    """All settings. Made by ``load``; fields given directly are checked in the same way."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    host: str = Field("127.0.0.1", description="Address to listen on. `0.0.0.0` is every network of this machine.")
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
    data_dir: Path = Field(
        default_factory=lambda: default_data_dir(os.environ),
        description="Directory for what has to outlive a restart.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], BeforeValidator(read_list)] = Field(
        (),
        description="Keys that clients must show one of, separated by commas or lines. None means that no key is asked "
        "for, on this machine only. May be read from a file.",
    )
    allow_no_keys_on_network: bool = Field(
        default=False,
        description="Serve other machines without asking for a key: whoever reaches the port spends your quota.",
    )
    requests_per_minute: _Count = Field(None, description="Most requests of each key in a minute. Unset: no limit.")
    requests_per_day: _Count = Field(None, description="Most requests of each key in 24 hours. Unset: no limit.")
    tokens_per_minute: _Count = Field(
        None, description="Most tokens of each key in a minute, input and output together. Unset: no limit."
    )
    tokens_per_day: _Count = Field(None, description="Likewise in 24 hours. Unset: no limit.")
    concurrency: _Count = Field(None, description="Most requests of each key at the same time. Unset: no limit.")
    redis_url: SecretStr | None = Field(
        None,
        description="Where the limits are counted for all replicas, such as `redis://host:6379/0`; needs the extra "
        "`redis`. Unset: in this process. May be read from a file.",
    )
    when_redis_is_away: Literal["refuse", "degrade"] = Field(
        "refuse", description="`refuse` requests with 503, or `degrade` to limits that each process counts alone."
    )
    aliases: Annotated[dict[_Name, _Name], BeforeValidator(read_mapping)] = Field(
        {}, description="Your own names for models, such as `gpt-4o=gpt-oss-120b,small=gpt-oss-20b`, or a JSON object."
    )
    dialects: Annotated[dict[_Name, DialectName], BeforeValidator(read_mapping)] = Field(
        {},
        description="Models that are to be spoken to in another dialect, `chat` or `native`, such as `qwq-32b=native`.",
    )
    default_max_tokens: int | None = Field(
        None, ge=1, description="Token limit of requests that state none. Unset: as much as the model's window leaves."
    )
    connect_timeout: _Seconds = Field(10.0, description="Seconds to wait for a connection to Cloudflare.")
    first_byte_timeout: _Seconds = Field(180.0, description="Seconds to wait for the first byte of an answer.")
    idle_timeout: _Seconds = Field(120.0, description="Seconds to wait between two pieces of an answer.")
    keep_alive_interval: _SecondsOrOff = Field(
        15.0, description="Seconds of silence in a stream after which a comment keeps it open; 0 sends none."
    )
    max_body_bytes: ByteSize = Field(
        ByteSize(32 * 1024 * 1024), ge=1024, description="Largest request body, in bytes or as in `64MiB`."
    )
    max_connections: int = Field(10_000, ge=1, description="Most connections to Cloudflare at a time.")
    catalogue_refresh_seconds: _SecondsOrOff = Field(
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
    store_days: _SecondsOrOff = Field(30.0, description="Days that responses and conversations are kept; 0 for ever.")
    background_places: int = Field(64, ge=1, description="Most background responses made at a time by one process.")
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
    reasoning_events: Annotated[Literal["openai", "open-responses"], BeforeValidator(_lower)] = Field(
        "openai",
        description="Names of the events that stream reasoning on Responses: `openai` or `open-responses`.",
    )
    strict: bool = Field(
        default=False,
        description="Refuse a request with a field that would be dropped or changed, instead of a header.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)] = Field(
        "info", description="Least important messages to log: `debug`, `info`, `warning`, `error`, `critical`."
    )
    log_format: Annotated[Literal["auto", "json", "pretty"], BeforeValidator(_lower)] = Field(
        "auto", description="`json`, `pretty`, or `auto`: pretty on a terminal, JSON elsewhere."
    )
    drain_seconds: _SecondsOrOff = Field(
        30.0, description="Seconds that requests get to finish when the server is told to stop."
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
            if name in {
                "cloudflare_account_id",
                "cloudflare_api_token",
                "api_keys",
                "database_url",
                "redis_url",
                "seal_key",
            }:
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

    @field_validator("host")
    @classmethod
    def _host(cls, host: str) -> str:
        host = host.strip().removeprefix("[").removesuffix("]")
        if not _HOST.fullmatch(host) or host.count(":") == 1:
            raise ValueError("must be an address or a host name alone, such as 127.0.0.1")
        return host

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, path: Path) -> Path:
        try:
            return path.expanduser()
        except RuntimeError:
            raise ValueError("begins with ~, and there is no home directory") from None

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        stripped = dict.fromkeys(key.get_secret_value().strip() for key in keys)
        for number, key in enumerate(stripped, start=1):
            problem = key_problem(key) if key else "is empty"
            if problem:
                raise ValueError(f"cannot be used, because key {number} {problem}")
        return tuple(SecretStr(key) for key in stripped)

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
    def _network(self) -> Self:
        if self.api_keys or self.allow_no_keys_on_network or _is_loopback(self.host):
            return self
        raise Problem(
            "host",
            f"is {self.host}, which other machines can reach, and no keys are set: set FLARELAY_API_KEYS, or "
            "FLARELAY_ALLOW_NO_KEYS_ON_NETWORK=true if everybody who reaches it may spend your quota",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
