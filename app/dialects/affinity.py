"""Which instance should answer: the one that has the beginning of the conversation in its prefix cache."""

from __future__ import annotations

from hashlib import sha256

HEADER = "x-session-affinity"


def affinity_headers(cache_key: str | None) -> dict[str, str]:
    """Name the conversation to the upstream; hashed, because the client's key may say who somebody is."""
    if not cache_key:
        return {}
    return {HEADER: sha256(cache_key.encode("utf-8", "surrogatepass")).hexdigest()[:32]}
