"""What the store keeps of files: everything but their bytes. The third part of the store's contract."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct

from app.store.kept import Order


class StoredFile(Struct, frozen=True):
    """A file without its bytes, which are kept under its id.

    Attributes:
        id: Its id.
        caller: The id of the caller whose it is.
        created_at: When it was uploaded or made, in Unix seconds.
        purpose: What it is for.
        bytes: Its size.
        filename: What its owner calls it.
        expires_at: When it is gone; ``None`` for never.
    """

    id: str
    caller: str
    created_at: float
    purpose: str
    bytes: int
    filename: str
    expires_at: float | None = None


class FilePage(Struct, frozen=True):
    """Some files of a longer list.

    Attributes:
        files: In the order that was asked for.
        has_more: There are more after these.
    """

    files: tuple[StoredFile, ...]
    has_more: bool


class Files(Protocol):
    """Files. Their row comes before their bytes and goes after them, so that no bytes are ever forgotten."""

    async def begin(self, caller: str, file_id: str, now: float) -> None:
        """Say that bytes will come. Nobody sees the file yet."""

    async def complete(self, file: StoredFile) -> bool:
        """Say that all bytes are there; false when the file is gone meanwhile."""

    async def discard(self, caller: str, file_id: str) -> None:
        """Say that no bytes will come; those that came are to be deleted."""

    async def get(self, caller: str, file_id: str, now: float) -> StoredFile | None:
        """Find a file that is whole and has not expired."""

    async def page(
        self,
        caller: str,
        now: float,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Order = "desc",
    ) -> FilePage:
        """List a caller's files by their time.

        Raises:
            BadRequest: There is no file ``after``.
        """

    async def delete(self, caller: str, file_id: str, now: float) -> bool:
        """Delete a file; false when there is none. Its bytes stay as long as a batch reads them."""

    async def doomed(self, now: float, *, unfinished_before: float, limit: int) -> tuple[str, ...]:
        """Hide what has expired, or was never finished; the ids of files whose bytes are to be deleted.

        Args:
            now: The time.
            unfinished_before: Files that were begun before this time and are not whole will never be.
            limit: The most ids.
        """

    async def forget(self, file_ids: Collection[str]) -> None:
        """Delete the rows of files whose bytes are deleted."""
