"""Background work: a queue with leases, and the log of what was streamed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import BigInteger, Double, LargeBinary, Text, bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from app.store import records, rows
from app.store.connections import Connections
from app.store.contract import OPEN, Claim, Events, Frame, Item, Status, StoredResponse
from app.store.records import Change, NewResponse
from app.store.schema import events, jobs, key, responses
from app.store.writes import GroupCommit, Writes

_free = jobs.c.lease_until <= bindparam("now", type_=Double)
_any_free = select(jobs.c.response_id).where(_free).limit(1)
# Of several workers in PostgreSQL each takes another row; in SQLite they come one after the other anyway.
_next = (
    select(jobs.c.response_id, jobs.c.request, jobs.c.attempt)
    .where(_free)
    .order_by(jobs.c.enqueued_at, jobs.c.response_id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_take = (
    update(jobs)
    .where(jobs.c.response_id == bindparam("of_id"))
    .values(worker=bindparam("by"), attempt=bindparam("number"), lease_until=bindparam("until"))
)
_start = (
    update(responses).where(responses.c.id == bindparam("of_id")).values(status="in_progress").returning(*rows.RESPONSE)
)
_last = select(func.max(events.c.last)).where(events.c.response_id == bindparam("of_id"))

_held = (
    (jobs.c.response_id == bindparam("of_id"))
    & (jobs.c.worker == bindparam("by"))
    & (jobs.c.attempt == bindparam("number"))
)
_renew = update(jobs).where(_held).values(lease_until=bindparam("until"))
_release = update(jobs).where(_held).values(worker=None, lease_until=0.0, attempt=jobs.c.attempt - 1)
_end = delete(jobs).where(_held)
_cancel = delete(jobs).where(jobs.c.response_id == bindparam("of_id"), jobs.c.caller == bindparam("of_caller"))
_mark_cancelled = update(responses).where(responses.c.id == bindparam("of_id")).values(status="cancelled")
_by_id = update(responses).where(responses.c.id == bindparam("of_id"), responses.c.caller == bindparam("of_caller"))

_insert_job = insert(jobs)
_insert_events = insert(events)
_log = insert(events).from_select(
    ["response_id", "first", "last", "created_at", "data"],
    select(
        jobs.c.response_id,
        bindparam("first", type_=BigInteger),
        bindparam("last", type_=BigInteger),
        bindparam("created_at", type_=Double),
        bindparam("data", type_=LargeBinary),
    ).where(_held),
)
_read_log = (
    select(responses.c.status, events.c.data)
    .select_from(
        responses.outerjoin(
            events, (events.c.response_id == responses.c.id) & (events.c.last > bindparam("after", type_=BigInteger))
        )
    )
    .where(
        responses.c.id == bindparam("of_id", type_=Text),
        responses.c.caller == bindparam("of_caller", type_=Text),
        ~responses.c.gone,
    )
    .order_by(events.c.first)
    .limit(bindparam("rows"))
)


class _Batch(Struct, frozen=True):
    claim: Claim
    frames: Sequence[Frame]
    now: float


class SqlWork:
    """Background work in a database; see ``app.store.contract.Work``.

    Args:
        connections: The database.
        writes: Runs the transactions.
    """

    __slots__ = ("_connections", "_logs", "_writes")

    def __init__(self, connections: Connections, writes: Writes) -> None:
        self._connections = connections
        self._writes = writes
        self._logs: GroupCommit[_Batch, bool] = GroupCommit(writes, _append)

    async def enqueue(self, response: StoredResponse, input_items: Sequence[Item], request: bytes) -> None:
        """Keep a queued response and the work of making it."""
        job = {
            "response_id": response.id,
            "caller": response.caller,
            "enqueued_at": response.created_at,
            "request": request,
            "worker": None,
            "attempt": 0,
            "lease_until": 0.0,
        }

        def write(connection: Connection) -> None:
            records.insert(connection, [NewResponse(response, input_items)])
            connection.execute(_insert_job, job)

        await self._writes.run(write)

    async def claim(self, worker: str, now: float, lease_seconds: float) -> Claim | None:
        """Take the oldest work that nobody holds."""
        # Idle workers ask often, and shall not hold up those who write.
        if await self._connections.read(lambda connection: connection.execute(_any_free, {"now": now}).first()) is None:
            return None

        def take(connection: Connection) -> Claim | None:
            job = connection.execute(_next, {"now": now}).one_or_none()
            if job is None:
                return None
            attempt, until = job.attempt + 1, now + lease_seconds
            connection.execute(_take, {"of_id": job.response_id, "by": worker, "number": attempt, "until": until})
            response = connection.execute(_start, {"of_id": job.response_id}).one()
            last = connection.execute(_last, {"of_id": job.response_id}).scalar()
            return Claim(rows.response(response), job.request, worker, attempt, until, last)

        return await self._writes.run(take)

    async def renew(self, claim: Claim, now: float, lease_seconds: float) -> bool:
        """Hold on to a claim."""
        values = {**_holder(claim), "until": now + lease_seconds}

        def renew(connection: Connection) -> bool:
            return connection.execute(_renew, values).rowcount == 1

        return await self._writes.run(renew)

    async def release(self, claim: Claim) -> bool:
        """Give work back unfinished."""

        def release(connection: Connection) -> bool:
            return connection.execute(_release, _holder(claim)).rowcount == 1

        return await self._writes.run(release)

    async def finish(
        self,
        claim: Claim,
        *,
        status: Status,
        body: bytes,
        now: float,
        completed_at: float | None = None,
        output_items: Sequence[Item] = (),
        events: Sequence[Frame] = (),
    ) -> bool:
        """End the work."""
        if status in OPEN:
            raise ValueError(f"work cannot end as {status}")
        to = Change(status, body, completed_at, output_items)
        owner = {"of_id": claim.response.id, "of_caller": claim.response.caller}

        def finish(connection: Connection) -> bool:
            if connection.execute(_end, _holder(claim)).rowcount != 1:
                return False
            if events:
                connection.execute(_insert_events, rows.event_row(claim.response.id, events, now))
            return records.change(connection, _by_id, owner, to)

        return await self._writes.run(finish)

    async def cancel(self, caller: str, response_id: str) -> StoredResponse | None:
        """Cancel background work that is not finished."""
        owner = {"of_id": key(response_id), "of_caller": caller}

        def cancel(connection: Connection) -> StoredResponse | None:
            if connection.execute(_cancel, owner).rowcount == 1:
                connection.execute(_mark_cancelled, {"of_id": owner["of_id"]})
            found = connection.execute(rows.find_response, {"id": owner["of_id"], "caller": caller})
            row = found.one_or_none()
            return None if row is None else rows.response(row)

        return await self._writes.run(cancel)

    async def append_events(self, claim: Claim, events: Sequence[Frame], now: float) -> bool:
        """Log a batch of events."""
        if not events:
            return True
        return await self._logs.submit(_Batch(claim, events, now))

    async def events(self, caller: str, response_id: str, *, after: int = -1, limit: int = 256) -> Events | None:
        """Read the log."""
        values = {"of_id": key(response_id), "of_caller": caller, "after": after, "rows": limit + 1}
        found = await self._connections.read(lambda connection: connection.execute(_read_log, values).all())
        if not found:
            return None
        frames = [frame for row in found[:limit] if row.data is not None for frame in rows.unpack(row.data, after)]
        return Events(found[0].status, tuple(frames), more=len(found) > limit)


def _append(connection: Connection, batches: Sequence[_Batch]) -> Sequence[bool]:
    results = []
    for batch in batches:
        row = rows.event_row(batch.claim.response.id, batch.frames, batch.now)
        del row["response_id"]
        results.append(connection.execute(_log, {**row, **_holder(batch.claim)}).rowcount == 1)
    return results


def _holder(claim: Claim) -> dict[str, object]:
    return {"of_id": claim.response.id, "by": claim.worker, "number": claim.attempt}
