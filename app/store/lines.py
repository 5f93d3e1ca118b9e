"""The lines of batches in a database: taken, answered and given back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Double,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    case,
    exists,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection

from app.store.batches import BATCH, STATES, TAKEN, WAITING, read_batch
from app.store.batching import BatchUsage, LineClaim, LineState, NewLine
from app.store.connections import Connections
from app.store.schema import batch_lines, batches
from app.store.writes import GroupCommit, Writes

LINE: Final = (
    batch_lines.c.number,
    batch_lines.c.start,
    batch_lines.c.length,
    batch_lines.c.custom_id,
    batch_lines.c.alone,
)
"""The columns of a ``NewLine``, in its order."""

_now: BindParameter[float] = bindparam("now", type_=Double)
_free = or_(
    batch_lines.c.state == WAITING,
    and_(batch_lines.c.state == TAKEN, batch_lines.c.lease_until <= _now),
)


def _batch_with(*lines: ColumnElement[bool]) -> Select[Any]:
    """The batch whose turn it is, of those that have such lines."""
    return (
        select(batches.c.id)
        .where(
            batches.c.living,
            batches.c.status == "in_progress",
            batches.c.next_at <= _now,
            batches.c.expires_at > _now,
            exists().where(batch_lines.c.batch_id == batches.c.id, *lines),
        )
        .order_by(batches.c.next_at)
        .limit(1)
    )


_batch = {False: _batch_with(_free), True: _batch_with(_free, ~batch_lines.c.alone)}
_still = select(*BATCH).where(batches.c.id == bindparam("of_id"), batches.c.status == "in_progress")
# In the order of the index: those that were put back come after those that were never asked, and last those whose
# worker died.
_lines = (
    select(*LINE, batch_lines.c.attempt)
    .where(batch_lines.c.batch_id == bindparam("of_id"), batch_lines.c.state.in_((WAITING, TAKEN)), _free)
    .order_by(batch_lines.c.state, batch_lines.c.lease_until, batch_lines.c.number)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True)
)
_lines_of = {False: _lines, True: _lines.where(~batch_lines.c.alone)}
_line = (batch_lines.c.batch_id == bindparam("of_id")) & (batch_lines.c.number == bindparam("of_number"))
_take = (
    update(batch_lines)
    .where(_line)
    .values(state=TAKEN, worker=bindparam("by"), attempt=bindparam("tries"), lease_until=bindparam("until"))
)
_turn = update(batches).where(batches.c.id == bindparam("of_id"), batches.c.next_at <= _now).values(next_at=_now)
held: Final = (
    _line
    & (batch_lines.c.state == TAKEN)
    & (batch_lines.c.worker == bindparam("by"))
    & (batch_lines.c.attempt == bindparam("tries"))
)
"""A line that is held by the claim that ``holder`` writes."""

_renew = update(batch_lines).where(held).values(lease_until=bindparam("until"))
_answer = update(batch_lines).where(held).values(state=bindparam("to"), result=bindparam("given"), worker=None)
_put_back = (
    update(batch_lines)
    .where(held)
    .values(
        state=WAITING,
        worker=None,
        lease_until=bindparam("until"),
        attempt=batch_lines.c.attempt - bindparam("forgiven"),
        alone=or_(batch_lines.c.alone, bindparam("by_itself", type_=Boolean)),
    )
)
_count = (
    update(batches)
    .where(batches.c.id == bindparam("of_id"))
    .values(
        completed=batches.c.completed + bindparam("good"),
        failed=batches.c.failed + bindparam("bad"),
        input_tokens=batches.c.input_tokens + bindparam("more_input"),
        cached_tokens=batches.c.cached_tokens + bindparam("more_cached"),
        output_tokens=batches.c.output_tokens + bindparam("more_output"),
        reasoning_tokens=batches.c.reasoning_tokens + bindparam("more_reasoning"),
    )
)
_rest = (
    update(batches)
    .where(batches.c.id == bindparam("of_id"))
    .values(next_at=case((batches.c.next_at < bindparam("until"), bindparam("until")), else_=batches.c.next_at))
)


class _Answer(Struct, frozen=True):
    claim: LineClaim
    state: LineState
    result: bytes
    usage: BatchUsage


class SqlBatchLines:
    """Lines in a database; see ``app.store.batching.BatchLines``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_answers", "_connections", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes
        self._answers: GroupCommit[_Answer, bool] = GroupCommit(writes, _keep)

    async def claim(
        self, worker: str, now: float, lease_seconds: float, most: int, *, together: bool = False
    ) -> tuple[LineClaim, ...]:
        """Take some lines."""
        turn = _batch[together]
        batch_id = await self._connections.read(lambda connection: connection.execute(turn, {"now": now}).scalar())
        if batch_id is None:
            return ()

        def take(connection: Connection) -> tuple[LineClaim, ...]:
            row = connection.execute(_still, {"of_id": batch_id}).one_or_none()
            if row is None:
                return ()
            batch = read_batch(row)
            found = connection.execute(_lines_of[together], {"of_id": batch_id, "now": now, "most": most}).all()
            claims = tuple(LineClaim(batch, read_line(line), worker, line.attempt + 1) for line in found)
            if claims:
                values = [{**holder(claim), "until": now + lease_seconds} for claim in claims]
                connection.execute(_take, values)
                connection.execute(_turn, {"of_id": batch_id, "now": now})
            return claims

        return await self._writes.run(take)

    async def renew(self, claims: Sequence[LineClaim], now: float, lease_seconds: float) -> None:
        """Hold on to lines."""
        values = [{**holder(claim), "until": now + lease_seconds} for claim in claims]
        if values:
            await self._execute(_renew, values)

    async def answer(self, claim: LineClaim, state: LineState, result: bytes, usage: BatchUsage) -> bool:
        """Keep the result of a line."""
        return await self._answers.submit(_Answer(claim, state, result, usage))

    async def put_back(self, claims: Sequence[LineClaim], now: float, *, counts: bool, alone: bool = False) -> None:
        """Give lines back."""
        how = {"until": now, "forgiven": 0 if counts else 1, "by_itself": alone}
        values = [{**holder(claim), **how} for claim in claims]
        if values:
            await self._execute(_put_back, values)

    async def rest(self, batch_id: str, until: float) -> None:
        """Have no line of a batch taken for a while."""
        await self._execute(_rest, {"of_id": batch_id, "until": until})

    async def _execute(self, statement: Update, values: Any) -> None:  # noqa: ANN401 - of one row, or of each of several
        def execute(connection: Connection) -> None:
            connection.execute(statement, values)

        await self._writes.run(execute)


def _keep(connection: Connection, answers: Sequence[_Answer]) -> Sequence[bool]:
    kept = []
    for one in answers:
        values = {**holder(one.claim), "to": STATES[one.state], "given": one.result}
        kept.append(connection.execute(_answer, values).rowcount == 1)
    counted = [one for one, is_kept in zip(answers, kept, strict=True) if is_kept]
    # Always in the same order: two replicas that count for the same batches must not wait for each other.
    for batch_id in sorted({one.claim.batch.id for one in counted}):
        count(connection, batch_id, [(one.state, one.usage) for one in counted if one.claim.batch.id == batch_id])
    return kept


def count(connection: Connection, batch_id: str, results: Iterable[tuple[LineState, BatchUsage]]) -> None:
    """Count results that have just been kept."""
    results = tuple(results)
    good = [usage for state, usage in results if state == "answered"]
    values = {
        "of_id": batch_id,
        "good": len(good),
        "bad": len(results) - len(good),
        "more_input": sum(usage.input_tokens for usage in good),
        "more_cached": sum(usage.cached_tokens for usage in good),
        "more_output": sum(usage.output_tokens for usage in good),
        "more_reasoning": sum(usage.reasoning_tokens for usage in good),
    }
    connection.execute(_count, values)


def read_line(row: Sequence[Any]) -> NewLine:
    """Read a row of ``LINE``."""
    return NewLine(row[0], row[1], row[2], row[3].decode(), row[4])


def holder(claim: LineClaim) -> dict[str, Any]:
    """The values by which ``held`` finds the line of a claim."""
    return {
        "of_id": claim.batch.id,
        "of_number": claim.line.number,
        "by": claim.worker,
        "tries": claim.attempt,
    }
