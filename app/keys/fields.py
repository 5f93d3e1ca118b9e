"""What the fields of a key may hold, wherever they come from: a file, a command, a request.

Each check returns the value in the form that is kept, or raises ``FieldError``, whose text is the rest of a sentence
about the field. No text repeats the value, which may be a key in the wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Final, Literal

from msgspec.structs import fields

from app.core.caller import ANONYMOUS
from app.core.key import ApiKey
from app.core.limits import BUDGETS, LimitSpec, bounds
from app.keys.secret import PREFIX

LIMITS: Final = tuple(field.name for field in fields(LimitSpec))
"""The names of all limits."""

LONGEST_NAME: Final = 100
MOST_MODELS: Final = 100
LONGEST_MODEL: Final = 200
MOST_METADATA: Final = 16
LONGEST_METADATA_NAME: Final = 64
LONGEST_METADATA: Final = 512

_TAKEN: Final = frozenset({ANONYMOUS.id, "admin"})
"""The ids of callers that have no key of ours."""

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_EMPTY_DIGEST: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

State = Literal["active", "expired", "revoked"]


class FieldError(ValueError):
    """A value cannot be used: the rest of a sentence whose subject is the field."""


def state(key: ApiKey, now: float) -> State:
    """Whether a key is accepted at a time, in Unix seconds."""
    # A revoked key is so at once: the clock of the machine that revoked it may be ahead of ours.
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def nearest(name: str, names: tuple[str, ...]) -> str:
    """Words that name the nearest of the names that exist, to end a sentence with; ``""`` when none is near."""
    near = get_close_matches(name[:LONGEST_NAME], names, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def checked_id(value: object) -> str:
    """A public id; it is written to logs and metrics."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise FieldError("must be 1 to 64 lower-case letters, digits, dots, dashes and underscores")
    if value.startswith(("sk-", PREFIX)):
        raise FieldError("looks like a key, and must be its public id, which is not secret")
    if value in _TAKEN:
        raise FieldError("stands for somebody else: choose another")
    return value


def checked_name(value: object) -> str:
    """What people call a key."""
    if not isinstance(value, str) or not (value := value.strip()):
        raise FieldError("must be a text, and not empty")
    _check_text(value, LONGEST_NAME)
    return value


def checked_digest(value: object) -> bytes:
    """A SHA-256, written as hexadecimal digits."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise FieldError(
            "must be the 64 hexadecimal digits of the key's SHA-256: `flarelay keys hash` makes them from a key, "
            "which itself belongs nowhere but with its owner"
        )
    if value.lower() == _EMPTY_DIGEST:
        raise FieldError("is the SHA-256 of an empty text: hash the key itself with `flarelay keys hash`")
    return bytes.fromhex(value)


def checked_models(value: object) -> tuple[str, ...]:
    """Names or patterns of models; none for all."""
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise FieldError('must be a list of names or patterns, such as ["gpt-oss-*"]')
    if len(value) > MOST_MODELS:
        raise FieldError(f"must hold at most {MOST_MODELS} names")
    for name in value:
        if not name or any(character.isspace() for character in name):
            raise FieldError("holds a name that is empty or has white space in it")
        _check_text(name, LONGEST_MODEL)
    return tuple(dict.fromkeys(value))


def checked_limit(name: str, value: object) -> float:
    """A limit: a whole number, or for a budget also one with a fraction."""
    budget = name in BUDGETS
    least, most = bounds(name)
    allowed = isinstance(value, float | int if budget else int) and not isinstance(value, bool)
    if not allowed or not least <= value <= most:  # type: ignore[operator]  # what is allowed is a number
        kind = "number" if budget else "whole number"
        raise FieldError(f"must be a {kind} between {least:g} and {most:g}")
    return value  # type: ignore[return-value]  # likewise


def checked_time(value: object) -> float:
    """A time with its offset, or a day, which stands for its beginning in UTC; in Unix seconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FieldError("must say its offset from UTC, as in 2027-01-01T00:00:00Z")
        return value.timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    raise FieldError("must be a date or a time without quotes around it, such as 2027-01-01 or 2027-01-01T00:00:00Z")


def checked_metadata(value: object) -> dict[str, str]:
    """Texts by names."""
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(text, str) for name, text in value.items()
    ):
        raise FieldError('must be a table of texts, such as { team = "search" }')
    if len(value) > MOST_METADATA:
        raise FieldError(f"must hold at most {MOST_METADATA} texts")
    for name, text in value.items():
        if not name:
            raise FieldError("holds a name that is empty")
        _check_text(name, LONGEST_METADATA_NAME)
        _check_text(text, LONGEST_METADATA)
    return dict(value)


def _check_text(value: str, longest: int) -> None:
    if len(value) > longest:
        raise FieldError(f"must not be longer than {longest} characters")
    # They end up on terminals and in one-line logs.
    if not value.isprintable():
        raise FieldError("must hold no line breaks and no control characters")
    if PREFIX in value:
        raise FieldError("must not hold a key")
