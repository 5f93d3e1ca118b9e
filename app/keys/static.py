"""Keys that are set once, when the server starts."""

from __future__ import annotations

from collections.abc import Iterable

from app.core.key import ApiKey
from app.keys.secret import ID_PREFIX, digest

_ID_DIGITS = 8


def static_keys(secrets: Iterable[str]) -> tuple[ApiKey, ...]:
    """What is known of keys of which nothing is given but the keys themselves.

    Their ids come from their digests, so a key has the same id in every replica and after every start.

    Raises:
        ValueError: A key is empty.
    """
    keys: dict[bytes, ApiKey] = {}
    for secret in secrets:
        if not secret:
            raise ValueError("a key must not be empty")
        hashed = digest(secret)
        public = f"{ID_PREFIX}{hashed.hex()[:_ID_DIGITS]}"
        keys[hashed] = ApiKey(public, public, hashed)
    return tuple(keys.values())
