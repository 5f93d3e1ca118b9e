"""What every exchange needs; made once, at the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from app.catalog.catalogue import Catalogue
from app.core.model import Model
from app.core.outcome import Outcome
from app.core.surface import NewId
from app.core.upstream import Dialect
from app.exchange.memory import Memory
from app.exchange.upstream import Upstream
from app.fetch.images import ImageFetcher
from app.limits.admission import Limits
from app.limits.quota import AccountQuota
from app.telemetry.spans import Tracing


def no_fallbacks(_: Model) -> Sequence[Model]:
    """Nothing may answer in a model's place."""
    return ()


class Wiring(Struct, frozen=True):
    """What every exchange needs.

    Attributes:
        upstream: Workers AI.
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
        quota: The neurons of the account's day; ``None`` when they are not limited.
        fallbacks: What may answer in a model's place, in order.
        tracing: Makes spans of exchanges; ``None`` for none.
        strict: Refuse what could be served only with a field dropped or changed.
    """

    upstream: Upstream
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
    quota: AccountQuota | None = None
    fallbacks: Callable[[Model], Sequence[Model]] = no_fallbacks
    tracing: Tracing | None = None
    strict: bool = False
