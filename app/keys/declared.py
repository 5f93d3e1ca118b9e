"""Keys as they are declared in a file: TOML, one ``[[keys]]`` table each, with the digests of the keys.

    [[keys]]
    id = "key-4h7x2m9qk3pd"
    name = "search team"
    sha256 = "325fd72e5a684b236f9350eeb61a77d62e18193bc3fd2ecf48baa743ca16aad2"
    models = ["gpt-oss-*"]
    expires_at = 2027-01-01
    requests_per_minute = 60
    usd_per_month = 5.0
    metadata = { team = "search" }

The first three must be there; each limit goes by its own name. ``previous_sha256`` and ``previous_until`` go
together: the key before this one is accepted until then. The file is read strictly, because a field that is misspelt is
a limit that does not hold.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from msgspec import Struct

from app.core.key import ApiKey
from app.core.limits import LimitSpec
from app.keys.fields import (
    LIMITS,
    FieldError,
    checked_digest,
    checked_id,
    checked_limit,
    checked_metadata,
    checked_models,
    checked_name,
    checked_time,
    nearest,
)

_T = TypeVar("_T")

FIELDS: Final = (
    "id", "name", "sha256", "models", "expires_at", "previous_sha256", "previous_until", *LIMITS, "metadata",
)  # fmt: skip
"""The fields of a key, in the order in which they are written."""

_FOR_THE_KEY_ITSELF: Final = frozenset({"key", "secret", "api_key", "token", "value"})
_SHOWABLE = re.compile(r"(?!sk-)[A-Za-z0-9_.-]{1,40}")
_PLACE = re.compile(r"\(at [a-z0-9, ]+\)$")


class KeyFileError(Exception):
    """A file of keys cannot be used. One sentence that names the key and the field, and holds neither hash nor key."""


def parse(text: str) -> tuple[ApiKey, ...]:
    """Read the keys that a file declares.

    Raises:
        KeyFileError: Something in it cannot be used; then none of it is.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The library's message may quote the file, so only the place is told.
        place = _PLACE.search(str(error))
        raise KeyFileError(f"it is not TOML{f' {place[0]}' if place else ''}") from None
    for name in document:
        if name != "keys":
            raise KeyFileError(f"{_shown(name)} is not known here: each key is a table [[keys]]")
    tables = document.get("keys")
    if tables is None:
        # An empty file is more likely one that is just being written than the wish to lock everybody out.
        raise KeyFileError("it declares no keys: write `keys = []` if that is what you want")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise KeyFileError("keys is not a list of tables: each key begins with a line [[keys]]")
    keys = tuple(_key(number, table) for number, table in enumerate(tables, start=1))
    _refuse_twins(keys)
    return keys


class _Table(Struct, frozen=True):
    """One table, and what it is called in an error."""

    name: str
    values: Mapping[str, Any]

    def field(self, name: str, check: Callable[[Any], _T], default: _T) -> _T:
        """The checked value of a field."""
        return self.required(name, check) if name in self.values else default

    def required(self, name: str, check: Callable[[Any], _T]) -> _T:
        """The checked value of a field that must be there."""
        if name not in self.values:
            raise KeyFileError(f"{self.name} has no {name}")
        try:
            return check(self.values[name])
        except FieldError as error:
            raise KeyFileError(f"{name} of {self.name} {error}") from None


def _key(number: int, values: Mapping[str, Any]) -> ApiKey:
    ordinal = f"key {number}"
    key_id = _Table(ordinal, values).required("id", checked_id)
    table = _Table(f"{ordinal} ({key_id})", values)
    for name in values:
        if name in _FOR_THE_KEY_ITSELF:
            raise KeyFileError(
                f"{name} of {table.name} is not a field: only hashes belong here, so give the output of "
                "`flarelay keys hash` as sha256"
            )
        if name not in FIELDS:
            raise KeyFileError(f"{_shown(name)} of {table.name} is not a field{nearest(name, FIELDS)}")
    for one, other in (("previous_sha256", "previous_until"), ("previous_until", "previous_sha256")):
        if one in values and other not in values:
            raise KeyFileError(f"{one} of {table.name} needs {other} beside it")
    return ApiKey(
        id=key_id,
        name=table.required("name", checked_name),
        digest=table.required("sha256", checked_digest),
        models=table.field("models", checked_models, ()),
        expires_at=table.field("expires_at", checked_time, None),
        limits=LimitSpec(**{name: table.field(name, _limit(name), None) for name in LIMITS}),
        metadata=table.field("metadata", checked_metadata, {}),
        previous_digest=table.field("previous_sha256", checked_digest, None),
        previous_until=table.field("previous_until", checked_time, None),
    )


def _limit(name: str) -> Callable[[Any], Any]:
    return lambda value: checked_limit(name, value)


def _refuse_twins(keys: tuple[ApiKey, ...]) -> None:
    ids: dict[str, int] = {}
    digests: dict[bytes, str] = {}
    for number, key in enumerate(keys, start=1):
        name = f"key {number} ({key.id})"
        if key.id in ids:
            raise KeyFileError(f"id of {name} is that of key {ids[key.id]} too")
        ids[key.id] = number
        for field, digest in (("sha256", key.digest), ("previous_sha256", key.previous_digest)):
            if digest is None:
                continue
            if digest in digests:
                raise KeyFileError(f"{field} of {name} is also {digests[digest]}")
            digests[digest] = f"{field} of {name}"


def _shown(name: str) -> str:
    """A name from the file, if it can hold nothing that is secret."""
    return name if _SHOWABLE.fullmatch(name) else "a name"


def declaration(key: ApiKey) -> str:
    """Write a key as a table for the file; ``parse`` reads it back, except for when it was made or revoked."""
    values: dict[str, str | None] = {
        "id": _text(key.id),
        "name": _text(key.name),
        "sha256": _text(key.digest.hex()),
        "models": f"[{', '.join(map(_text, key.models))}]" if key.models else None,
        "expires_at": _time(key.expires_at),
        "previous_sha256": None if key.previous_digest is None else _text(key.previous_digest.hex()),
        "previous_until": _time(key.previous_until),
        **{name: None if (limit := getattr(key.limits, name)) is None else repr(limit) for name in LIMITS},
        "metadata": f"{{ {', '.join(f'{_text(name)} = {_text(text)}' for name, text in key.metadata.items())} }}"
        if key.metadata
        else None,
    }
    return "[[keys]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items() if value is not None)


def _text(value: str) -> str:
    # A JSON string is a TOML string too, as long as it holds no control characters, and what is kept holds none.
    return json.dumps(value, ensure_ascii=False)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
