"""What the store keeps of callers: their keys, and what they have used. The second part of the store's contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from app.core.key import ApiKey
from app.core.usage import Source


class KeyExistsError(Exception):
    """A key with this id is there already, also if it was revoked."""


class KeyChanges(Struct, frozen=True):
    """What has happened to the keys.

    Attributes:
        revision: Counts all changes ever made, in the order in which they were committed.
        keys: The keys that were added or changed, as they are now; revoked ones are among them.
    """

    revision: int
    keys: tuple[ApiKey, ...]


class KeyRecords(Protocol):
    """The keys. Nothing is ever deleted: a key that was revoked stays known, and closed.

    A key that cannot be read back as it was written is ``StoreError``: it is not known what it may use.
    """

    async def add(self, key: ApiKey) -> None:
        """Add a key.

        Raises:
            KeyExistsError: There is one with this id.
        """

    async def find(self, key_id: str) -> ApiKey | None:
        """One key; ``None`` when there is none."""

    async def all(self) -> tuple[ApiKey, ...]:
        """All keys, oldest first."""

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Change a key as one step, whatever others do meanwhile; ``None`` when there is none.

        Args:
            key_id: Which one. Its id and its time of making cannot be changed.
            change: Gives the key as it is to be; it may be called more than once, and in another thread. An equal key
                is no change.

        Raises:
            ValueError: Its id or its time of making is to be another.
        """

    async def changes(self, since: int) -> KeyChanges:
        """What has changed since a revision; 0 is the beginning. Cheap when nothing has.

        Keys and revision are of one instant. Of a revision that is still to come, as after a backup was put back, all
        keys are given, and the revision is lower than the one that was asked with.
        """


class UsageRow(Struct, frozen=True):
    """What one caller used of one model on one day.

    Attributes:
        day: The day in UTC, as ``2026-11-21``.
        caller: The caller's public id.
        model: Cloudflare's id of the model. A name that is long or not plain ASCII is read back as a digest of it,
            here and in ``caller``; it is found by the name itself.
        source: How sure the figures are; there is a row for each.
        requests: Requests that reached the model.
        prompt_tokens: Tokens of the input, cached ones included.
        cached_tokens: Tokens of the input from a prefix cache.
        completion_tokens: Tokens produced.
        neurons: What it cost.
    """

    day: str
    caller: str
    model: str
    source: Source
    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    neurons: float = 0.0


class UsageLedger(Protocol):
    """Usage by day, caller, model and source."""

    async def add(self, rows: Sequence[UsageRow]) -> None:
        """Add figures to the rows of their days, in one transaction. No two of them are for the same row.

        Of a figure above 10**12 only that much is added.
        """

    async def rows(
        self, since: str, until: str, *, caller: str | None = None, model: str | None = None
    ) -> tuple[UsageRow, ...]:
        """The rows of the days from ``since`` to ``until``, both included, by day, caller, model and source."""

    async def neurons(self, since: str, *, caller: str | None = None) -> float:
        """All neurons since a day, of one caller or of all."""

    async def purge(self, before: str, limit: int) -> int:
        """Delete rows of days before this one, oldest first, at most ``limit`` of them.

        Returns:
            How many; call again while it is ``limit``.
        """
