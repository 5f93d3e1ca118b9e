"""What every exchange needs; made once, at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.catalog.catalogue import Catalogue
from app.cloudflare.client import CloudflareClient
from app.core.outcome import Outcome
from app.core.surface import NewId
from app.core.upstream import Dialect
from app.exchange.memory import Memory
from app.fetch.images import ImageFetcher
from app.limits.admission import Limits


@dataclass(frozen=True, slots=True)
class Wiring:
    """What every exchange needs.

    Attributes:
        upstream: The connection to Workers AI.
        catalogue: The catalogue as it is now.
        dialects: By name.
        limits: Who may send what.
        memory: What callers said and got before.
        images: Fetches the images that a conversation names by their address.
        report: Takes the record of every exchange.
        new_id: Makes ids.
        clock: Unix seconds.
        timer: Monotonic seconds.
        affinity_secret: Keys the hash by which the upstream knows a conversation.
        default_max_tokens: The token limit of requests that state none; ``None`` for what the model's window leaves.
        strict: Refuse what could be served only with a field dropped or changed.
    """

    upstream: CloudflareClient
    catalogue: Callable[[], Catalogue]
    dialects: Mapping[str, Dialect]
    limits: Limits
    memory: Memory
    images: ImageFetcher
    report: Callable[[Outcome], None]
    new_id: NewId
    clock: Callable[[], float]
    timer: Callable[[], float]
    affinity_secret: bytes
    default_max_tokens: int | None = None
    strict: bool = False
