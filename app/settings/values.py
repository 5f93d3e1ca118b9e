"""The kinds of values that settings take, each put right or refused by itself.

What a check raises is the rest of a sentence whose subject is the setting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from app.core.limits import MAX_COUNT, MAX_USD, MIN_BUDGET
from app.settings.credentials import account_id_problem, key_problem, token_problem
from app.settings.lists import read_list

LEAST_KEY: Final = 20
"""Characters of the keys of the administration and of the metrics, which must not be such as can be guessed."""

_GATEWAY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_S3_URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?")
_ORIGIN = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


def lower(value: object) -> object:
    """A choice, however it is written."""
    return value.strip().lower() if isinstance(value, str) else value


def _host(host: str) -> str:
    host = host.strip().removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host) or host.count(":") == 1:
        raise ValueError("must be an address or a host name alone, such as 127.0.0.1")
    return host


def _directory(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, and there is no home directory") from None


def _client_keys(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    stripped = dict.fromkeys(key.get_secret_value().strip() for key in keys)
    for number, key in enumerate(stripped, start=1):
        problem = key_problem(key) if key else "is empty"
        if problem:
            raise ValueError(f"cannot be used, because key {number} {problem}")
    return tuple(SecretStr(key) for key in stripped)


def _accounts(accounts: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, account in enumerate(accounts, start=1):
        account_id, colon, token = account.get_secret_value().partition(":")
        problem = account_id_problem(account_id) or token_problem(token) if colon else "is no pair `account id:token`"
        if problem:
            raise ValueError(f"cannot be used, because of account {number}: it {problem}")
    return accounts


def _bucket_url(url: str) -> str:
    if not _S3_URL.fullmatch(url):
        raise ValueError("must be s3://bucket or s3://bucket/prefix")
    return url


def _server_url(url: str) -> str:
    if not _ORIGIN.fullmatch(url):
        raise ValueError("must be the address of a server, such as https://s3.example.com")
    return url


def _gateway_id(name: str) -> str:
    if not _GATEWAY.fullmatch(name):
        raise ValueError("must be a gateway's id: letters, digits, '-' and '_'")
    return name


def _gateway_url(url: str) -> str:
    url = url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise ValueError("must be a URL that begins with http:// or https://")
    return url


def _long_key(key: SecretStr) -> SecretStr:
    problem = key_problem(text := key.get_secret_value().strip())
    if problem or len(text) < LEAST_KEY:
        raise ValueError(f"cannot be used, because it {problem or f'has fewer than {LEAST_KEY} characters'}")
    return SecretStr(text)


Seconds: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrOff: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int | None, Field(ge=1, le=MAX_COUNT)]
Budget: TypeAlias = Annotated[float | None, Field(ge=MIN_BUDGET, le=MAX_COUNT, allow_inf_nan=False)]
Dollars: TypeAlias = Annotated[float | None, Field(ge=MIN_BUDGET, le=MAX_USD, allow_inf_nan=False)]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Host: TypeAlias = Annotated[str, AfterValidator(_host)]
Directory: TypeAlias = Annotated[Path, AfterValidator(_directory)]
ClientKeys: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(read_list), AfterValidator(_client_keys)]
Accounts: TypeAlias = Annotated[tuple[SecretStr, ...], BeforeValidator(read_list), AfterValidator(_accounts)]
BucketUrl: TypeAlias = Annotated[str, AfterValidator(_bucket_url)] | None
ServerUrl: TypeAlias = Annotated[str, AfterValidator(_server_url)] | None
GatewayId: TypeAlias = Annotated[str, AfterValidator(_gateway_id)] | None
GatewayUrl: TypeAlias = Annotated[str, AfterValidator(_gateway_url)]
LongKey: TypeAlias = Annotated[SecretStr, AfterValidator(_long_key)] | None
