"""Where settings come from: the command line, then the environment, then a file, each over the next."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.settings.model import SECRETS, Settings, default_data_dir
from app.settings.problems import Problem, SettingsError, did_you_mean

PREFIX: Final = "FLARELAY_"
_CONFIG: Final = "FLARELAY_CONFIG"
_EMULATOR: Final = "FLARELAY_EMULATOR_"
_UNPREFIXED: Final = frozenset({"cloudflare_account_id", "cloudflare_api_token"})
# Kubernetes and Docker tell every container about the services beside it. One that is called flarelay makes variables
# that begin like ours.
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


class _Given(Struct, frozen=True):
    """One value with the words that name its source in a message."""

    value: object
    origin: str


def load(overrides: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """Read and check all settings.

    Args:
        overrides: From the command line, by name; ``None`` is not given. ``config`` names the file.
        environ: The environment.

    Raises:
        SettingsError: They cannot be used.
    """
    flags = {name: value for name, value in overrides.items() if value is not None}
    variables = _variables(environ)
    named_by_variable = variables.pop(_CONFIG, None)
    path = flags.pop("config", None) or named_by_variable
    given = {
        "data_dir": _Given(default_data_dir(environ), env_name("data_dir")),
        **(_read_file(Path(str(path))) if path else {}),
        **_read_environment(variables),
        **{name: _Given(value, f"--{name.replace('_', '-')}") for name, value in flags.items()},
    }
    try:
        return Settings.model_validate({name: item.value for name, item in given.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    raise SettingsError(_sentence(first, given))


def env_name(setting: str) -> str:
    """The environment variable that people are told to set."""
    return setting.upper() if setting in _UNPREFIXED else PREFIX + setting.upper()


def env_names(setting: str) -> list[str]:
    """All environment variables that a setting is read from, the strongest first."""
    names = [PREFIX + setting.upper()]
    if setting in _UNPREFIXED:
        names.append(setting.upper())
    return names


def file_variable(setting: str) -> str | None:
    """The environment variable that names a file with the value; for secrets only."""
    return f"{env_name(setting)}_FILE" if setting in SECRETS else None


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that concern us, in upper case.

    An empty one is as good as absent: that is what compose files make of a variable that is not set.
    """
    concern: dict[str, str] = {}
    own = {name.upper() for name in _UNPREFIXED} | {f"{name.upper()}_FILE" for name in _UNPREFIXED & SECRETS}
    for raw_name, value in environ.items():
        name = raw_name.upper()
        if not value.strip() or not (name.startswith(PREFIX) or name in own):
            continue
        if (
            name.startswith(_EMULATOR)
            or _SERVICE_LINK.search(name)
            or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value))
        ):
            continue
        concern[name] = value
    return concern


def _read_environment(variables: Mapping[str, str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    known: set[str] = set()
    for setting in Settings.names():
        for name in reversed(env_names(setting)):
            known.add(name)
            found = _Given(variables[name], name) if name in variables else None
            if setting in SECRETS:
                known.add(f"{name}_FILE")
                found = _from_file(name, variables) or found
            if found is not None:
                given[setting] = found
    for name in variables:
        if name not in known:
            raise SettingsError(f"{name} is not a setting{did_you_mean(name, sorted(known))}")
    return given


def _from_file(name: str, variables: Mapping[str, str]) -> _Given | None:
    source = f"{name}_FILE"
    if source not in variables:
        return None
    if name in variables:
        raise SettingsError(f"{name} and {source} are both set: set only one of them")
    try:
        text = Path(variables[source]).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{source} names a file that cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise SettingsError(f"{source} names a file that is not text in UTF-8") from None
    if not text:
        raise SettingsError(f"{source} names a file that is empty")
    return _Given(text, source)


def _read_file(path: Path) -> dict[str, _Given]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from None
    except ValueError:
        raise SettingsError(f"the settings file {path} is not text in UTF-8") from None
    for name in values:
        if name not in Settings.names():
            raise SettingsError(f"{name} in {path} is not a setting{did_you_mean(name, Settings.names())}")
    return {name: _Given(value, f"{name} in {path}") for name, value in values.items()}


def _sentence(error: ErrorDetails, given: Mapping[str, _Given]) -> str:
    cause = error.get("ctx", {}).get("error")
    setting = cause.setting if isinstance(cause, Problem) else str(error["loc"][0])
    origin = given[setting].origin if setting in given else env_name(setting)
    if error["type"] == "extra_forbidden":
        return f"{origin} is not a setting{did_you_mean(setting, Settings.names())}"
    if isinstance(cause, Problem):
        return f"{origin} {cause.predicate}"
    if cause is not None:
        return f"{origin} {cause}"
    return f"{origin} cannot be used: {error['msg'][:1].lower()}{error['msg'][1:]}"
