"""Batches in a database: how they stand, and who checks or ends them. Their lines are in ``app.store.lines``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Double,
    Integer,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Connection

from app.store import rows
from app.store.batching import (
    BatchClaim,
    BatchPage,
    BatchStatus,
    BatchUsage,
    LineResult,
    LineState,
    NewLine,
    StoredBatch,
)
from app.store.connections import Connections
from app.store.files import file_row
from app.store.filing import StoredFile
from app.store.schema import batch_lines, batch_packs, batches, files, key
from app.store.writes import Writes
from app.wire import codec

WAITING: Final = 0
TAKEN: Final = 1
PACKED: Final = 2
ANSWERED: Final = 3
FAILED: Final = 4
UNSENT: Final = 5

STATES: Final[Mapping[LineState, int]] = {"answered": ANSWERED, "failed": FAILED, "unsent": UNSENT}
_NAMES: Final[Mapping[int, LineState]] = {number: name for name, number in STATES.items()}

BATCH: Final = (
    batches.c.id,
    batches.c.caller,
    batches.c.created_at,
    batches.c.status,
    batches.c.endpoint,
    batches.c.input_file_id,
    batches.c.expires_at,
    batches.c.details,
    batches.c.total,
    batches.c.completed,
    batches.c.failed,
    batches.c.input_tokens,
    batches.c.cached_tokens,
    batches.c.output_tokens,
    batches.c.reasoning_tokens,
)
"""The columns of a ``StoredBatch``, in its order."""

_now: BindParameter[float] = bindparam("now", type_=Double)
_by_id = batches.c.id == bindparam("of_id")
_find = select(*BATCH).where(_by_id, batches.c.caller == bindparam("of_caller"), ~batches.c.gone)
_list = (
    select(*BATCH)
    .where(batches.c.caller == bindparam("of_caller"), ~batches.c.gone)
    .order_by(batches.c.created_at.desc(), batches.c.id.desc())
)
_change = update(batches).where(_by_id).values(status=bindparam("to"), details=bindparam("noted")).returning(*BATCH)

# Lines that are being answered are waited for: their answers are paid for.
_being_asked = exists().where(
    batch_lines.c.batch_id == batches.c.id, batch_lines.c.state == TAKEN, batch_lines.c.lease_until > _now
)
_needs_care = and_(
    batches.c.living,
    batches.c.lease_until <= _now,
    or_(
        batches.c.status.in_(("validating", "finalizing")),
        and_(batches.c.status == "in_progress", batches.c.completed + batches.c.failed >= batches.c.total),
        and_(or_(batches.c.status == "cancelling", batches.c.expires_at <= _now), ~_being_asked),
    ),
)
_any = select(batches.c.id).where(_needs_care).limit(1)
_next = (
    select(*BATCH, batches.c.attempt)
    .where(_needs_care)
    .order_by(batches.c.created_at)
    .limit(1)
    .with_for_update(skip_locked=True, of=batches)
)
_take = (
    update(batches)
    .where(_by_id)
    .values(worker=bindparam("by"), attempt=bindparam("number"), lease_until=bindparam("until"))
)
_held = _by_id & (batches.c.worker == bindparam("by")) & (batches.c.attempt == bindparam("number")) & batches.c.living
_lock = select(*BATCH).where(_held).with_for_update()
_renew = update(batches).where(_held).values(lease_until=bindparam("until"))
_unsend = (
    update(batch_lines)
    .where(batch_lines.c.batch_id == bindparam("of_id"), batch_lines.c.state < ANSWERED)
    .values(state=UNSENT, worker=None)
)
_insert_files = insert(files)
_drop_packs = delete(batch_packs).where(batch_packs.c.batch_id == bindparam("of_id"))
_results = (
    select(batch_lines.c.number, batch_lines.c.custom_id, batch_lines.c.state, batch_lines.c.result)
    .where(batch_lines.c.batch_id == bindparam("of_id"), batch_lines.c.number > bindparam("after", type_=Integer))
    .order_by(batch_lines.c.number)
    .limit(bindparam("most", type_=Integer))
)


class SqlBatches:
    """Batches in a database; see ``app.store.batching.Batches``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def create(self, batch: StoredBatch) -> None:
        """Keep a new batch."""

        def create(connection: Connection) -> None:
            connection.execute(insert(batches), _row(batch))

        await self._writes.run(create)

    async def get(self, caller: str, batch_id: str) -> StoredBatch | None:
        """Find a batch."""
        values = _owner(caller, batch_id)
        row = await self._connections.read(lambda connection: connection.execute(_find, values).one_or_none())
        return None if row is None else read_batch(row)

    async def page(self, caller: str, *, after: str | None = None, limit: int = 20) -> BatchPage:
        """List a caller's batches."""
        statement = _list.limit(limit + 1)
        if after is not None:
            cursor = await self.get(caller, after)
            if cursor is None:
                raise rows.no_such_cursor(after)
            statement = statement.where(
                tuple_(batches.c.created_at, batches.c.id) < tuple_(cursor.created_at, cursor.id)
            )
        found = await self._connections.read(
            lambda connection: connection.execute(statement, {"of_caller": caller}).all()
        )
        return BatchPage(tuple(read_batch(row) for row in found[:limit]), len(found) > limit)

    async def cancel(self, caller: str, batch_id: str, now: float, errors: Sequence[Any] = ()) -> StoredBatch | None:
        """Let no more lines be asked."""

        def cancel(connection: Connection) -> StoredBatch | None:
            found = connection.execute(_find.with_for_update(), _owner(caller, batch_id))
            row = found.one_or_none()
            if row is None:
                return None
            batch = read_batch(row)
            if batch.status not in {"validating", "in_progress"}:
                return batch
            details = {**batch.details, "cancelling_at": now, **({"errors": list(errors)} if errors else {})}
            # Whoever checks its file has lost it.
            freed = update(batches).where(_by_id).values(lease_until=0.0, attempt=batches.c.attempt + 1)
            connection.execute(freed, {"of_id": batch.id})
            return _changed(connection, batch, "cancelling", details)

        return await self._writes.run(cancel)

    async def claim(self, worker: str, now: float, lease_seconds: float) -> BatchClaim | None:
        """Take a batch that needs care."""
        if await self._connections.read(lambda connection: connection.execute(_any, {"now": now}).first()) is None:
            return None

        def take(connection: Connection) -> BatchClaim | None:
            row = connection.execute(_next, {"now": now}).one_or_none()
            if row is None:
                return None
            claim = BatchClaim(read_batch(row[:-1]), worker, row.attempt + 1)
            connection.execute(_take, {**_holder(claim), "until": now + lease_seconds})
            return claim

        return await self._writes.run(take)

    async def renew(self, claim: BatchClaim, now: float, lease_seconds: float) -> bool:
        """Hold on to a batch."""
        return await self._lease(claim, now + lease_seconds)

    async def release(self, claim: BatchClaim) -> None:
        """Let others have the batch."""
        await self._lease(claim, 0.0)

    async def add_lines(self, claim: BatchClaim, lines: Sequence[NewLine]) -> bool:
        """Keep lines."""
        new = [_line_row(claim.batch.id, line) for line in lines]

        def add(connection: Connection) -> bool:
            if connection.execute(_lock, _holder(claim)).first() is None:
                return False
            connection.execute(rows.insert_new(batch_lines, connection.dialect.name), new)
            return True

        return await self._writes.run(add) if new else True

    async def start(self, claim: BatchClaim, now: float, *, total: int, details: Mapping[str, Any]) -> bool:
        """Let the lines be asked."""
        return await self._leave_validating(claim, "in_progress", details, total=total, next_at=now, lease_until=0.0)

    async def reject(
        self, claim: BatchClaim, *, total: int, details: Mapping[str, Any], purge_at: float | None
    ) -> bool:
        """End a batch as failed."""
        return await self._leave_validating(
            claim, "failed", details, total=total, failed=total, living=False, purge_at=purge_at
        )

    async def settle(self, claim: BatchClaim, now: float) -> StoredBatch | None:
        """Let no line change any more."""

        def settle(connection: Connection) -> StoredBatch | None:
            row = connection.execute(_lock, _holder(claim)).one_or_none()
            if row is None:
                return None
            batch = read_batch(row)
            connection.execute(_unsend, {"of_id": batch.id})
            connection.execute(_drop_packs, {"of_id": batch.id})
            counted = update(batches).where(_by_id).values(failed=batches.c.total - batches.c.completed)
            connection.execute(counted, {"of_id": batch.id})
            if batch.status != "in_progress":
                return _changed(connection, batch, batch.status, batch.details)
            details = {**batch.details, "finalizing_at": now}
            if batch.completed + batch.failed < batch.total:
                # It has come to its end too early, whatever the clock says when its files are written.
                details["expired"] = True
            return _changed(connection, batch, "finalizing", details)

        return await self._writes.run(settle)

    async def results(self, batch_id: str, *, after: int, limit: int) -> tuple[LineResult, ...]:
        """What became of the lines."""
        values = {"of_id": batch_id, "after": after, "most": limit}
        found = await self._connections.read(lambda connection: connection.execute(_results, values).all())
        return tuple(
            LineResult(number, custom_id.decode(), _NAMES[state], result) for number, custom_id, state, result in found
        )

    async def finish(
        self,
        claim: BatchClaim,
        status: BatchStatus,
        *,
        files: Sequence[StoredFile],
        details: Mapping[str, Any],
        purge_at: float | None,
    ) -> bool:
        """End a batch."""
        made = [file_row(file) for file in files]

        def end(connection: Connection) -> bool:
            row = connection.execute(_lock, _holder(claim)).one_or_none()
            if row is None:
                return False
            if made:
                connection.execute(_insert_files, made)
            ended = update(batches).where(_by_id).values(living=False, purge_at=purge_at)
            connection.execute(ended, {"of_id": claim.batch.id})
            _changed(connection, read_batch(row), status, details)
            return True

        return await self._writes.run(end)

    async def _lease(self, claim: BatchClaim, until: float) -> bool:
        def renew(connection: Connection) -> bool:
            return connection.execute(_renew, {**_holder(claim), "until": until}).rowcount == 1

        return await self._writes.run(renew)

    async def _leave_validating(
        self,
        claim: BatchClaim,
        status: BatchStatus,
        details: Mapping[str, Any],
        **values: Any,  # noqa: ANN401 - columns
    ) -> bool:
        def leave(connection: Connection) -> bool:
            row = connection.execute(_lock, _holder(claim)).one_or_none()
            if row is None or row.status != "validating":
                return False
            connection.execute(update(batches).where(_by_id).values(**values), {"of_id": claim.batch.id})
            _changed(connection, read_batch(row), status, details)
            return True

        return await self._writes.run(leave)


def _changed(
    connection: Connection, batch: StoredBatch, status: BatchStatus, details: Mapping[str, Any]
) -> StoredBatch:
    values = {"of_id": batch.id, "to": status, "noted": codec.encode(details)}
    return read_batch(connection.execute(_change, values).one())


def read_batch(row: Sequence[Any]) -> StoredBatch:
    """Read a row of ``BATCH``."""
    batch_id, caller, created_at, status, endpoint, input_file_id, expires_at, details, *counts = row
    total, completed, failed, *tokens = counts
    return StoredBatch(
        batch_id,
        caller,
        created_at,
        status,
        endpoint,
        input_file_id,
        expires_at,
        codec.decode(details),
        total,
        completed,
        failed,
        BatchUsage(*tokens),
    )


def _row(batch: StoredBatch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "caller": batch.caller,
        "created_at": batch.created_at,
        "status": batch.status,
        "endpoint": batch.endpoint,
        "input_file_id": batch.input_file_id,
        "expires_at": batch.expires_at,
        "details": codec.encode(batch.details),
        "total": batch.total,
        "completed": 0,
        "failed": 0,
        "input_tokens": 0,
        "cached_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "next_at": batch.created_at,
        "living": True,
        "worker": None,
        "attempt": 0,
        "lease_until": 0.0,
        "purge_at": None,
        "gone": False,
    }


def _line_row(batch_id: str, line: NewLine) -> dict[str, Any]:
    return {
        "batch_id": batch_id,
        "number": line.number,
        "start": line.start,
        "length": line.length,
        "custom_id": line.custom_id.encode(),
        "state": WAITING,
        "worker": None,
        "attempt": 0,
        "lease_until": 0.0,
        "alone": line.alone,
        "pack_id": None,
        "result": None,
    }


def _owner(caller: str, batch_id: str) -> dict[str, str]:
    return {"of_id": key(batch_id), "of_caller": caller}


def _holder(claim: BatchClaim) -> dict[str, Any]:
    return {"of_id": claim.batch.id, "by": claim.worker, "number": claim.attempt}
