"""A key as it is kept: what is told of it, and how it changes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec.structs import asdict, replace

from app.core.key import ApiKey
from app.keys.fields import state

Place: TypeAlias = Literal["settings", "file", "store"]
"""Where a key is set."""


def key_object(place: Place, key: ApiKey, now: float) -> dict[str, Any]:
    """What is told of a key, JSON-ready: everything but the key and its digest. Times are in Unix seconds."""
    previous = key.previous_until
    return {
        "object": "api_key",
        "id": key.id,
        "name": key.name,
        "source": place,
        "status": state(key, now),
        # Of what is set or in a file, nobody knows since when.
        "created_at": int(key.created_at) or None,
        "expires_at": _seconds(key.expires_at),
        "revoked_at": _seconds(key.revoked_at),
        "previous_until": _seconds(previous) if previous is not None and previous > now else None,
        "models": list(key.models),
        "limits": asdict(key.limits),
        "metadata": dict(key.metadata),
    }


def rotated(key: ApiKey, new_digest: bytes, now: float, keep_seconds: float) -> ApiKey:
    """A key with another secret. The one before is accepted a while longer, and one from before that no more.

    A revoked key stays as it is.
    """
    if key.revoked_at is not None:
        return key
    keeps = keep_seconds > 0
    return replace(
        key,
        digest=new_digest,
        previous_digest=key.digest if keeps else None,
        previous_until=now + keep_seconds if keeps else None,
    )


def revoked(key: ApiKey, now: float) -> ApiKey:
    """A key that is accepted no more. One that was revoked before stays revoked since then."""
    return key if key.revoked_at is not None else replace(key, revoked_at=now)


def _seconds(when: float | None) -> int | None:
    return None if when is None else int(when)
