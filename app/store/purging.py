"""Deleting for good, in small steps: first what has expired is hidden, then the rows of what is hidden go.

Each step reads the keys of some rows by an index and deletes just these: a ``DELETE`` that chooses for itself has no
bound that both databases know.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Double,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

from app.store.contract import Purged
from app.store.schema import (
    batch_lines,
    batches,
    conversation_items,
    conversations,
    events,
    jobs,
    response_items,
    responses,
)
from app.store.writes import Writes

_LOCK = 0x666C6172656C617A
"""The advisory lock in PostgreSQL: one replica purges at a time."""

_now: BindParameter[float] = bindparam("now", type_=Double)
_most: BindParameter[int] = bindparam("most", type_=BigInteger)
_chained = responses.alias("chained")


class _Step(Struct, frozen=True):
    """One kind of row that goes: how some are chosen, and what is done to each."""

    choose: Select[Any]
    act: Any


def _step(table: Table, choose: Select[Any], *, hide: bool = False) -> _Step:
    where = and_(*(column == bindparam(f"of_{column.name}") for column in table.primary_key.columns))
    act = update(table).where(where).values(gone=True) if hide else delete(table).where(where)
    return _Step(choose.limit(_most), act)


def _children(table: Table, parent: Table) -> _Step:
    own = list(table.primary_key.columns)
    return _step(table, select(*own).join(parent, parent.c.id == own[0]).where(parent.c.gone))


def _childless(parent: Table, *children: Table) -> _Step:
    bare = (~exists().where(next(iter(child.primary_key.columns)) == parent.c.id) for child in children)
    return _step(parent, select(parent.c.id).where(parent.c.gone, *bare))


_expire_responses = _step(
    responses,
    select(responses.c.id).where(
        ~responses.c.gone,
        responses.c.expires_at <= _now,
        ~exists().where(
            _chained.c.root_id == responses.c.root_id,
            ~_chained.c.gone,
            or_(_chained.c.expires_at > _now, _chained.c.expires_at.is_(None)),
        ),
    ),
    hide=True,
)
_expire_conversations = _step(
    conversations,
    select(conversations.c.id).where(~conversations.c.gone, conversations.c.expires_at <= _now),
    hide=True,
)
_expire_batches = _step(batches, select(batches.c.id).where(~batches.c.gone, batches.c.purge_at <= _now), hide=True)
# The results of a batch that has ended are in its files.
_lines = _step(
    batch_lines,
    select(*batch_lines.primary_key.columns)
    .join(batches, batches.c.id == batch_lines.c.batch_id)
    .where(~batches.c.living),
)
_jobs = _children(jobs, responses)
_events = _children(events, responses)
_old_events = _step(
    events,
    select(*events.primary_key.columns).where(
        events.c.created_at < bindparam("before", type_=Double),
        ~exists().where(jobs.c.response_id == events.c.response_id),
    ),
)
_items = _children(response_items, responses)
_conversation_items = _children(conversation_items, conversations)
_responses = _childless(responses, response_items, events, jobs)
_conversations = _childless(conversations, conversation_items)
_batches = _childless(batches, batch_lines)


async def purge(writes: Writes, *, now: float, limit: int, events_before: float | None) -> Purged:
    """Take each step once; each is a transaction of at most ``limit`` rows."""
    full = False

    async def take(step: _Step, **values: float) -> int:
        def run(connection: Connection) -> int:
            if connection.dialect.name == "postgresql":
                locked = connection.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                if not locked.scalar():
                    return 0
            chosen = connection.execute(step.choose, {"most": limit, **values}).all()
            if chosen:
                names = [f"of_{name}" for name in chosen[0]._fields]
                connection.execute(step.act, [dict(zip(names, row, strict=True)) for row in chosen])
            return len(chosen)

        nonlocal full
        count = await writes.run(run)
        full = full or count >= limit
        return count

    await take(_expire_responses, now=now)
    await take(_expire_conversations, now=now)
    await take(_expire_batches, now=now)
    await take(_lines)
    await take(_batches)
    await take(_jobs)
    logged = await take(_events)
    if events_before is not None:
        logged += await take(_old_events, before=events_before)
    items = await take(_items) + await take(_conversation_items)
    gone = await take(_responses)
    talks = await take(_conversations)
    return Purged(gone, talks, items, logged, more=full)
