"""An API key as it is kept: everything about it but the key itself."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import field

from app.core.caller import Caller
from app.core.limits import UNLIMITED_SPEC, LimitSpec
from app.core.quiet import Quiet


class ApiKey(Quiet, frozen=True):
    """What is known of one key.

    Attributes:
        id: Its public id, such as ``key-4h7x2m9qk3pd``: for logs, metrics and commands. It never changes.
        name: What people call it.
        digest: The SHA-256 of the key: 32 bytes.
        created_at: When it was made, in Unix seconds.
        models: Which models it may use: names or patterns such as ``gpt-oss-*``; empty for all.
        expires_at: From when on it is not accepted, in Unix seconds; ``None`` for never.
        revoked_at: Since when it is not accepted, in Unix seconds; ``None`` while it is.
        limits: Its own limits; where it sets none, the proxy's defaults hold.
        metadata: What its owner noted on it; texts by names.
        previous_digest: The SHA-256 of the key that it had before it was rotated.
        previous_until: Until when that one is accepted too, in Unix seconds.
    """

    hidden = frozenset({"digest", "previous_digest"})

    id: str
    name: str
    digest: bytes
    created_at: float = 0.0
    models: tuple[str, ...] = ()
    expires_at: float | None = None
    revoked_at: float | None = None
    limits: LimitSpec = UNLIMITED_SPEC
    metadata: Mapping[str, str] = field(default_factory=dict)
    previous_digest: bytes | None = None
    previous_until: float | None = None

    def caller(self, default: LimitSpec) -> Caller:
        """Who shows this key, with the limits that hold for it."""
        return Caller(self.id, self.name, self.limits.over(default), self.models)
