"""What the store keeps of batches: how they stand, and one small row for each line. Part of the store's contract.

Two kinds of leases share the work among replicas. Who holds a *batch* checks its file, or writes its results. Who holds
*lines* has them answered. An answer counts when it is committed with its line, and only if the line was still held:
each line has one result, whatever was killed when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct, field

from app.store.filing import StoredFile

BatchStatus = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
]

ENDED: Final[frozenset[BatchStatus]] = frozenset({"completed", "failed", "expired", "cancelled"})
"""The statuses that a batch never leaves."""

LineState = Literal["answered", "failed", "unsent"]
"""How a line ended: with a good answer, with an error, or never asked."""


class BatchUsage(Struct, frozen=True):
    """Tokens of a batch's good answers.

    Attributes:
        input_tokens: Of the input, cached ones included.
        cached_tokens: Of the input, from a prefix cache.
        output_tokens: Produced, reasoning included.
        reasoning_tokens: Of the output, reasoning.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


class StoredBatch(Struct, frozen=True):
    """A batch.

    Attributes:
        id: Its id.
        caller: The id of the caller whose it is.
        created_at: When it was made, in Unix seconds.
        status: How it stands.
        endpoint: Where its lines go, such as ``/v1/chat/completions``.
        input_file_id: The file with its lines.
        expires_at: When what has not been answered will not be any more.
        details: What only clients and workers read, as JSON.
        total: How many lines there are.
        completed: How many have a good answer.
        failed: How many have none, and never will.
        usage: Tokens of the good answers.
    """

    id: str
    caller: str
    created_at: float
    status: BatchStatus
    endpoint: str
    input_file_id: str
    expires_at: float
    details: Mapping[str, Any] = field(default_factory=dict)
    total: int = 0
    completed: int = 0
    failed: int = 0
    usage: BatchUsage = BatchUsage()


class BatchPage(Struct, frozen=True):
    """Some batches of a longer list, newest first.

    Attributes:
        batches: The batches.
        has_more: There are older ones.
    """

    batches: tuple[StoredBatch, ...]
    has_more: bool


class NewLine(Struct, frozen=True):
    """A line of the input file that can be asked.

    Attributes:
        number: Its number in the file, from 1.
        start: Where it begins, in bytes.
        length: Its length in bytes, without the line's end.
        custom_id: What the client calls it.
        alone: It cannot go to the upstream's own queue together with others.
    """

    number: int
    start: int
    length: int
    custom_id: str
    alone: bool = True


class BatchClaim(Struct, frozen=True):
    """The right of one worker to check a batch's file, or to write its results.

    Attributes:
        batch: As it stands.
        worker: Who holds it.
        attempt: Counts the claims.
    """

    batch: StoredBatch
    worker: str
    attempt: int


class LineClaim(Struct, frozen=True):
    """The right of one worker to have a line answered.

    Attributes:
        batch: Its batch, as it stood.
        line: The line.
        worker: Who holds it.
        attempt: 1 the first time that it is asked.
    """

    batch: StoredBatch
    line: NewLine
    worker: str
    attempt: int


class LineResult(Struct, frozen=True):
    """What became of a line.

    Attributes:
        number: Its number in the file.
        custom_id: What the client calls it.
        state: How it ended.
        result: The line of the output or error file; ``None`` for one that was never asked.
    """

    number: int
    custom_id: str
    state: LineState
    result: bytes | None


class Pack(Struct, frozen=True):
    """Lines of a batch that went to the upstream's own queue together.

    Attributes:
        id: Its id.
        batch: Their batch, as it stood.
        account: The account that was asked, by its name.
        queued_at: When, in Unix seconds.
        worker: Who asks for the answers.
        attempt: Counts the claims.
        request_id: What the upstream calls it; ``None`` when that is not known: it may have been killed before.
        lines: The lines that have no result yet.
    """

    id: str
    batch: StoredBatch
    account: str
    queued_at: float
    worker: str
    attempt: int
    request_id: str | None = None
    lines: tuple[NewLine, ...] = ()


class PackedResult(Struct, frozen=True):
    """What became of a line in a pack.

    Attributes:
        number: Its number in the file.
        state: How it ended.
        result: The line of the output or error file.
        usage: What it used.
    """

    number: int
    state: LineState
    result: bytes
    usage: BatchUsage


class Batches(Protocol):
    """Batches, as their owners and those who do them see them."""

    async def create(self, batch: StoredBatch) -> None:
        """Keep a new batch, ``validating``."""

    async def get(self, caller: str, batch_id: str) -> StoredBatch | None:
        """Find a batch."""

    async def page(self, caller: str, *, after: str | None = None, limit: int = 20) -> BatchPage:
        """List a caller's batches, newest first.

        Raises:
            BadRequest: There is no batch ``after``.
        """

    async def cancel(self, caller: str, batch_id: str, now: float, errors: Sequence[Any] = ()) -> StoredBatch | None:
        """Let no more lines be asked, unless the batch is already coming to its end.

        Args:
            caller: Whose it is.
            batch_id: Which.
            now: The time.
            errors: Why, if it was not the caller's wish.

        Returns:
            The batch as it stands afterwards; ``None`` when there is none.
        """

    async def claim(self, worker: str, now: float, lease_seconds: float) -> BatchClaim | None:
        """Take a batch whose file is to be checked or whose results are to be written; ``None`` if there is none."""

    async def renew(self, claim: BatchClaim, now: float, lease_seconds: float) -> bool:
        """Hold on to a batch; false when it is lost."""

    async def release(self, claim: BatchClaim) -> None:
        """Let others have the batch at once."""

    async def add_lines(self, claim: BatchClaim, lines: Sequence[NewLine]) -> bool:
        """Keep lines of a batch; those that are there already stay. False when the claim is lost."""

    async def start(self, claim: BatchClaim, now: float, *, total: int, details: Mapping[str, Any]) -> bool:
        """Let the lines be asked; false when the claim is lost, or the batch is not ``validating`` any more."""

    async def reject(
        self, claim: BatchClaim, *, total: int, details: Mapping[str, Any], purge_at: float | None
    ) -> bool:
        """End a batch as ``failed``; false as for ``start``."""

    async def settle(self, claim: BatchClaim, now: float) -> StoredBatch | None:
        """Let no line change any more: those without a result are ``unsent``; ``None`` when the claim is lost."""

    async def results(self, batch_id: str, *, after: int, limit: int) -> tuple[LineResult, ...]:
        """What became of the lines after a number, in their order; of a batch that was settled."""

    async def finish(
        self,
        claim: BatchClaim,
        status: BatchStatus,
        *,
        files: Sequence[StoredFile],
        details: Mapping[str, Any],
        purge_at: float | None,
    ) -> bool:
        """End a batch, and make the files of its results, in one transaction; false when the claim is lost."""


class BatchLines(Protocol):
    """The lines of batches, as those who have them answered see them."""

    async def claim(
        self, worker: str, now: float, lease_seconds: float, most: int, *, together: bool = False
    ) -> tuple[LineClaim, ...]:
        """Take some lines of one batch that nobody holds. Batches take turns.

        Args:
            worker: Who takes them.
            now: The time.
            lease_seconds: For how long.
            most: How many.
            together: Only lines that can go to the upstream's own queue together.
        """

    async def renew(self, claims: Sequence[LineClaim], now: float, lease_seconds: float) -> None:
        """Hold on to lines, as far as they are not lost."""

    async def answer(self, claim: LineClaim, state: LineState, result: bytes, usage: BatchUsage) -> bool:
        """Keep the result of a line and count it, in one transaction; false when the line is lost."""

    async def put_back(self, claims: Sequence[LineClaim], now: float, *, counts: bool, alone: bool = False) -> None:
        """Give lines back unanswered; they are taken after those that have not been taken yet.

        Args:
            claims: The lines.
            now: The time.
            counts: It was an attempt.
            alone: From now on they are asked one by one.
        """

    async def rest(self, batch_id: str, until: float) -> None:
        """Have no line of a batch taken before a time."""


class BatchPacks(Protocol):
    """Lines that go to the upstream's own queue together."""

    async def create(self, pack: Pack, claims: Sequence[LineClaim], now: float, lease_seconds: float) -> Pack:
        """Make a pack of lines that are held; those that were lost are not in the one returned."""

    async def queued(self, pack: Pack, request_id: str) -> bool:
        """Note what the upstream calls a pack; false when the pack is lost."""

    async def claim(self, worker: str, now: float, lease_seconds: float) -> Pack | None:
        """Take a pack that nobody holds."""

    async def renew(self, pack: Pack, now: float, lease_seconds: float) -> bool:
        """Hold on to a pack; false when it is lost."""

    async def answer(self, pack: Pack, results: Sequence[PackedResult]) -> frozenset[int]:
        """Keep results of a pack's lines; the numbers of those that counted."""

    async def end(self, pack: Pack, *, alone: bool = True) -> bool:
        """End a pack; false when it is lost.

        Args:
            pack: The pack.
            alone: Its lines without a result are to be asked one by one.
        """
