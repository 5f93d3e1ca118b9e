"""Packs of lines that went to the upstream's own queue, in a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import BindParameter, Boolean, Double, bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from app.store.batches import BATCH, PACKED, STATES, WAITING, read_batch
from app.store.batching import LineClaim, Pack, PackedResult
from app.store.connections import Connections
from app.store.lines import LINE, count, held, holder, read_line
from app.store.schema import batch_lines, batch_packs, batches
from app.store.writes import Writes

_now: BindParameter[float] = bindparam("now", type_=Double)
_move = update(batch_lines).where(held).values(state=PACKED, pack_id=bindparam("into"), worker=None)
_insert = insert(batch_packs)
_free = batch_packs.c.lease_until <= _now
_any = select(batch_packs.c.id).where(_free).limit(1)
_next = select(batch_packs).where(_free).order_by(batch_packs.c.queued_at).limit(1).with_for_update(skip_locked=True)
_by_id = batch_packs.c.id == bindparam("of_id")
_take = (
    update(batch_packs)
    .where(_by_id)
    .values(worker=bindparam("by"), attempt=bindparam("tries"), lease_until=bindparam("until"))
)
_batch = select(*BATCH).where(batches.c.id == bindparam("of_id"))
_in_pack = (
    (batch_lines.c.batch_id == bindparam("of_batch"))
    & (batch_lines.c.state == PACKED)
    & (batch_lines.c.pack_id == bindparam("of_id"))
)
_lines = select(*LINE).where(_in_pack).order_by(batch_lines.c.number)
_held = _by_id & (batch_packs.c.worker == bindparam("by")) & (batch_packs.c.attempt == bindparam("tries"))
_renew = update(batch_packs).where(_held).values(lease_until=bindparam("until"))
_note = update(batch_packs).where(_held).values(request_id=bindparam("called"))
_end = delete(batch_packs).where(_held)
_unpack = (
    update(batch_lines)
    .where(_in_pack)
    .values(state=WAITING, pack_id=None, lease_until=0.0, alone=bindparam("by_itself", type_=Boolean))
)
_lock = select(batch_packs.c.id).where(_held).with_for_update()
_answer = (
    update(batch_lines)
    .where(_in_pack, batch_lines.c.number == bindparam("of_number"))
    .values(state=bindparam("to"), result=bindparam("given"))
)


class SqlBatchPacks:
    """Packs in a database; see ``app.store.batching.BatchPacks``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes

    async def create(self, pack: Pack, claims: Sequence[LineClaim], now: float, lease_seconds: float) -> Pack:
        """Make a pack."""
        row = {
            "id": pack.id,
            "batch_id": pack.batch.id,
            "account": pack.account,
            "request_id": None,
            "queued_at": pack.queued_at,
            "worker": pack.worker,
            "attempt": pack.attempt,
            "lease_until": now + lease_seconds,
        }

        def create(connection: Connection) -> Pack:
            kept = []
            for claim in claims:
                moved = connection.execute(_move, {**holder(claim), "into": pack.id})
                if moved.rowcount == 1:
                    kept.append(claim.line)
            if kept:
                connection.execute(_insert, row)
            return replace(pack, lines=tuple(kept))

        return await self._writes.run(create)

    async def queued(self, pack: Pack, request_id: str) -> bool:
        """Note what the upstream calls a pack."""
        return await self._change(_note, {**_holder(pack), "called": request_id})

    async def claim(self, worker: str, now: float, lease_seconds: float) -> Pack | None:
        """Take a pack."""
        if await self._connections.read(lambda connection: connection.execute(_any, {"now": now}).first()) is None:
            return None

        def take(connection: Connection) -> Pack | None:
            row = connection.execute(_next, {"now": now}).one_or_none()
            if row is None:
                return None
            values = {"of_id": row.id, "by": worker, "tries": row.attempt + 1, "until": now + lease_seconds}
            connection.execute(_take, values)
            batch = read_batch(connection.execute(_batch, {"of_id": row.batch_id}).one())
            lines = connection.execute(_lines, {"of_id": row.id, "of_batch": row.batch_id})
            return Pack(
                row.id,
                batch,
                row.account,
                row.queued_at,
                worker,
                row.attempt + 1,
                row.request_id,
                tuple(read_line(line) for line in lines),
            )

        return await self._writes.run(take)

    async def renew(self, pack: Pack, now: float, lease_seconds: float) -> bool:
        """Hold on to a pack."""
        return await self._change(_renew, {**_holder(pack), "until": now + lease_seconds})

    async def answer(self, pack: Pack, results: Sequence[PackedResult]) -> frozenset[int]:
        """Keep results of a pack's lines."""
        place = {"of_id": pack.id, "of_batch": pack.batch.id}

        def answer(connection: Connection) -> frozenset[int]:
            if connection.execute(_lock, _holder(pack)).first() is None:
                return frozenset()
            counted = []
            for one in results:
                values = {**place, "of_number": one.number, "to": STATES[one.state], "given": one.result}
                if connection.execute(_answer, values).rowcount == 1:
                    counted.append(one)
            count(connection, pack.batch.id, [(one.state, one.usage) for one in counted])
            return frozenset(one.number for one in counted)

        return await self._writes.run(answer)

    async def end(self, pack: Pack, *, alone: bool = True) -> bool:
        """End a pack."""

        def end(connection: Connection) -> bool:
            if connection.execute(_end, _holder(pack)).rowcount != 1:
                return False
            connection.execute(_unpack, {"of_id": pack.id, "of_batch": pack.batch.id, "by_itself": alone})
            return True

        return await self._writes.run(end)

    async def _change(self, statement: Any, values: dict[str, Any]) -> bool:  # noqa: ANN401 - SQLAlchemy's own kind
        def change(connection: Connection) -> bool:
            return connection.execute(statement, values).rowcount == 1

        return await self._writes.run(change)


def _holder(pack: Pack) -> dict[str, Any]:
    return {"of_id": pack.id, "by": pack.worker, "tries": pack.attempt}
