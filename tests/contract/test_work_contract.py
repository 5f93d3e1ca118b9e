"""Background work, on every database, with several stores on the same one."""

import asyncio

import pytest

from app.store.contract import Events
from tests.store.records import ME, ids, item, made


async def enqueue(store, *names):
    for at, name in enumerate(names):
        await store.work.enqueue(
            made(name, "queued", created_at=float(at), background=True), [item(f"{name}_in")], name.encode()
        )


async def finish(store, claim, **fields):
    return await store.work.finish(claim, **{"status": "completed", "body": b"{}", "now": 2.0, **fields})


async def test_work_is_claimed_in_order_and_finished(store):
    await enqueue(store, "a", "b")
    assert (await store.responses.get(ME, "a")).status == "queued"
    claim = await store.work.claim("w", 10.0, 30.0)
    assert (claim.response.id, claim.response.status, claim.request) == ("a", "in_progress", b"a")
    assert (claim.worker, claim.attempt, claim.lease_until, claim.last_sequence) == ("w", 1, 40.0, None)
    assert (await store.responses.get(ME, "a")).status == "in_progress"
    assert (await store.work.claim("w", 10.0, 30.0)).response.id == "b"
    assert await store.work.claim("w", 10.0, 30.0) is None
    assert await finish(store, claim, body=b"{1}", completed_at=11.0, output_items=[item("out")])
    response = await store.responses.get(ME, "a")
    assert (response.status, response.body, response.completed_at) == ("completed", b"{1}", 11.0)
    assert ids((await store.responses.context(ME, "a")).items) == ["a_in", "out"]
    assert not await finish(store, claim)
    with pytest.raises(ValueError, match="cannot end as queued"):
        await finish(store, claim, status="queued")


async def test_replicas_claim_each_work_exactly_once(store, other):
    names = [f"w{number:02d}" for number in range(20)]
    await enqueue(store, *names)

    async def worker(replica, name):
        claimed = []
        while claim := await replica.work.claim(name, 10.0, 30.0):
            claimed.append(claim.response.id)
        return claimed

    claimed = await asyncio.gather(
        *(worker(replica, f"{at}{number}") for at, replica in enumerate((store, other)) for number in range(3))
    )
    # Who finds every row held by another at that moment may leave early, so nothing is said about how many each got.
    assert sorted(name for some in claimed for name in some) == names


async def test_a_lease_that_ran_out_is_claimed_again_and_counted(store, other):
    await enqueue(store, "a")
    first = await store.work.claim("w1", 10.0, 30.0)
    await store.work.append_events(first, [(0, b"x"), (1, b"y")], 10.0)
    assert await other.work.claim("w2", 39.9, 30.0) is None
    assert await store.work.renew(first, 20.0, 30.0)
    assert await other.work.claim("w2", 49.9, 30.0) is None
    second = await other.work.claim("w2", 50.0, 30.0)
    assert (second.attempt, second.last_sequence) == (2, 1)
    # The first worker comes back from the dead, and is told at every step.
    assert not await store.work.renew(first, 51.0, 30.0)
    assert not await store.work.append_events(first, [(2, b"z")], 51.0)
    assert not await finish(store, first, body=b"late")
    assert not await store.work.release(first)
    assert await finish(other, second, status="failed", body=b"{2}")
    assert (await store.responses.get(ME, "a")).body == b"{2}"
    assert (await store.work.events(ME, "a")).frames == ((0, b"x"), (1, b"y"))


async def test_released_work_is_free_and_not_counted(store, other):
    await enqueue(store, "a")
    claim = await store.work.claim("w1", 10.0, 30.0)
    assert await store.work.release(claim)
    again = await other.work.claim("w2", 10.0, 30.0)
    assert (again.response.id, again.attempt) == ("a", 1)
    assert not await finish(store, claim)


async def test_cancelling_is_idempotent_and_noticed(store):
    await enqueue(store, "a", "b")
    claim = await store.work.claim("w", 1.0, 30.0)
    assert (await store.work.cancel(ME, "a")).status == "cancelled"
    assert (await store.work.cancel(ME, "a")).status == "cancelled"
    assert not await store.work.renew(claim, 2.0, 30.0)
    assert not await store.work.append_events(claim, [(0, b"x")], 2.0)
    assert not await finish(store, claim)
    # Its worker may still keep what it had made.
    assert await store.responses.update(
        ME, "a", expected=["cancelled"], status="cancelled", body=b"{part}", output_items=[item("part")]
    )
    assert (await store.responses.get(ME, "a")).body == b"{part}"
    # One that was never begun is never begun.
    assert (await store.work.cancel(ME, "b")).status == "cancelled"
    assert await store.work.claim("w", 3.0, 30.0) is None
    assert await store.work.cancel(ME, "none") is None


async def test_what_has_ended_or_was_never_queued_is_not_cancelled(store):
    await enqueue(store, "a")
    await finish(store, await store.work.claim("w", 1.0, 30.0))
    assert (await store.work.cancel(ME, "a")).status == "completed"
    await store.responses.save(made("r", "in_progress"))
    assert (await store.work.cancel(ME, "r")).status == "in_progress"


async def test_of_cancelling_and_finishing_one_wins(store, other):
    for number in range(15):
        name = f"r{number}"
        await enqueue(store, name)
        claim = await store.work.claim("w", 1.0, 30.0)
        finishing, cancelling = finish(store, claim), other.work.cancel(ME, name)
        first, second = (finishing, cancelling) if number % 2 else (cancelling, finishing)
        results = await asyncio.gather(first, second)
        finished, cancelled = results if number % 2 else results[::-1]
        status = (await store.responses.get(ME, name)).status
        assert status == cancelled.status == ("completed" if finished else "cancelled")


async def test_queued_work_is_ended_by_nobody_else(store):
    await enqueue(store, "a")
    claim = await store.work.claim("w", 1.0, 30.0)
    change = {"expected": ["in_progress"], "body": b"{1}"}
    assert await store.responses.update(ME, "a", status="in_progress", **change)
    assert not await store.responses.update(ME, "a", status="completed", **change)
    assert await finish(store, claim)


async def test_deleting_takes_the_work_away(store):
    await enqueue(store, "a", "b")
    claim = await store.work.claim("w", 1.0, 30.0)
    assert await store.responses.delete(ME, "a")
    assert await store.responses.delete(ME, "b")
    assert not await store.work.renew(claim, 2.0, 30.0)
    assert not await finish(store, claim)
    assert await store.work.claim("w", 100.0, 30.0) is None
    assert await store.work.events(ME, "a") is None


async def test_events_are_replayed_after_any_number(store):
    await enqueue(store, "a")
    claim = await store.work.claim("w", 1.0, 30.0)
    assert await store.work.events(ME, "a") == Events("in_progress", ())
    assert await store.work.append_events(claim, [], 1.0)
    assert await store.work.append_events(claim, [(0, b"a"), (1, b""), (2, b"\n\0")], 1.0)
    assert await store.work.append_events(claim, [(3, b"d")], 2.0)
    assert (await store.work.events(ME, "a", after=0)).frames == ((1, b""), (2, b"\n\0"), (3, b"d"))
    assert await finish(store, claim, events=[(4, b"e")])
    assert await store.work.events(ME, "a", after=3) == Events("completed", ((4, b"e"),))
    assert await store.work.events(ME, "a", after=4) == Events("completed", ())
    first = await store.work.events(ME, "a", limit=1)
    assert first == Events("completed", ((0, b"a"), (1, b""), (2, b"\n\0")), more=True)
    assert await store.work.events(ME, "a", after=2, limit=2) == Events("completed", ((3, b"d"), (4, b"e")))


async def test_many_logs_grow_at_the_same_time(store):
    names = [f"w{number}" for number in range(10)]
    await enqueue(store, *names)
    claims = [await store.work.claim("w", 1.0, 30.0) for _ in names]
    for number in range(5):
        batch = [(number, str(number).encode())]
        assert all(await asyncio.gather(*(store.work.append_events(claim, batch, 1.0) for claim in claims)))
    for name in names:
        assert [frame[0] for frame in (await store.work.events(ME, name)).frames] == [0, 1, 2, 3, 4]
