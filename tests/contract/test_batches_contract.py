"""Batches and their lines, on every database, with several stores on the same one."""

import asyncio

import pytest

from app.core.errors import BadRequest
from app.store.batching import BatchUsage, NewLine, Pack, PackedResult, StoredBatch
from app.store.filing import StoredFile

ME, OTHER = "key-me", "key-other"
USAGE = BatchUsage(10, 2, 5, 1)


def batch(name="b", at=1.0, **fields):
    return StoredBatch(
        name,
        fields.pop("caller", ME),
        at,
        "validating",
        "/v1/chat/completions",
        f"{name}-input",
        fields.pop("expires_at", 1000.0),
        {"metadata": {"a": "ä"}},
    )


def lines(count, start=1, *, alone=True):
    return [NewLine(number, number * 100, 50, f"line {number}", alone) for number in range(start, start + count)]


async def started(store, count=4, now=10.0, new=None, **fields):
    """A batch whose lines can be asked."""
    made = batch(**fields)
    await store.batches.create(made)
    claim = await store.batches.claim("w", now, 30.0)
    assert claim.batch.id == made.id
    assert await store.batches.add_lines(claim, new or lines(count))
    assert await store.batches.start(claim, now, total=count, details={"in_progress_at": now})
    return made.id


async def stands(store, batch_id="b"):
    found = await store.batches.get(ME, batch_id)
    return found.status, found.total, found.completed, found.failed


async def answer(store, claims, state="answered"):
    return [await store.batch_lines.answer(one, state, b"{}", USAGE) for one in claims]


async def test_a_batch_is_its_owners_alone(store):
    await store.batches.create(batch())
    assert await store.batches.get(ME, "b") == batch()
    assert await store.batches.get(OTHER, "b") is None
    assert await store.batches.cancel(OTHER, "b", 2.0) is None
    assert await store.batches.get(ME, "\x00" * 300) is None


async def test_lists_go_page_by_page_newest_first(store):
    for at in range(5):
        await store.batches.create(batch(f"b{at}", float(at // 2)))
    await store.batches.create(batch("other", caller=OTHER))
    page = await store.batches.page(ME, limit=3)
    assert ([one.id for one in page.batches], page.has_more) == (["b4", "b3", "b2"], True)
    page = await store.batches.page(ME, limit=3, after="b2")
    assert ([one.id for one in page.batches], page.has_more) == (["b1", "b0"], False)
    with pytest.raises(BadRequest):
        await store.batches.page(ME, after="other")


async def test_the_whole_life_of_a_batch(store):
    await started(store, 3)
    claims = await store.batch_lines.claim("w", 10.0, 30.0, 5)
    assert [(one.line, one.attempt) for one in claims] == [(line, 1) for line in lines(3)]
    assert claims[0].batch.details == {"in_progress_at": 10.0}
    assert await store.batches.claim("w", 10.0, 30.0) is None
    assert await store.batch_lines.answer(claims[2], "answered", b"{3}", USAGE)
    assert await store.batch_lines.answer(claims[0], "answered", b"{1}", USAGE)
    assert await store.batch_lines.answer(claims[1], "failed", b"{2}", USAGE)
    assert await stands(store) == ("in_progress", 3, 2, 1)
    claim = await store.batches.claim("w", 12.0, 30.0)
    settled = await store.batches.settle(claim, 12.0)
    assert (settled.status, settled.usage) == ("finalizing", BatchUsage(20, 4, 10, 2))
    assert settled.details == {"in_progress_at": 10.0, "finalizing_at": 12.0}
    results = await store.batches.results("b", after=0, limit=2)
    assert [(one.number, one.custom_id, one.state, one.result) for one in results] == [
        (1, "line 1", "answered", b"{1}"),
        (2, "line 2", "failed", b"{2}"),
    ]
    assert [one.number for one in await store.batches.results("b", after=2, limit=2)] == [3]
    file = StoredFile("out", ME, 13.0, "batch_output", 3, "out.jsonl")
    how = {"files": [file], "details": {"end": 1}, "purge_at": 500.0}
    assert await store.batches.finish(claim, "completed", **how)
    assert not await store.batches.finish(claim, "completed", **how)
    assert await stands(store) == ("completed", 3, 2, 1)
    assert await store.files.get(ME, "out", 14.0) == file
    assert await store.batches.claim("w", 9999.0, 30.0) is None
    while (await store.purge(20.0, limit=2)).more:
        pass
    assert await store.batches.results("b", after=0, limit=9) == ()
    assert await stands(store) == ("completed", 3, 2, 1)
    await store.purge(500.0)
    assert await store.batches.get(ME, "b") is None


async def test_a_file_that_is_no_good_ends_its_batch(store):
    await store.batches.create(batch())
    claim = await store.batches.claim("w", 10.0, 30.0)
    assert await store.batches.reject(claim, total=7, details={"errors": [1]}, purge_at=None)
    assert await stands(store) == ("failed", 7, 0, 7)
    assert not await store.batches.start(claim, 11.0, total=7, details={})
    assert await store.batches.claim("w", 9999.0, 30.0) is None
    assert await store.batch_lines.claim("w", 10.0, 30.0, 5) == ()


async def test_replicas_take_every_line_exactly_once(store, other):
    await started(store, 60)

    async def worker(replica, name):
        taken = []
        while claims := await replica.batch_lines.claim(name, 10.0, 30.0, 7):
            taken += [one.line.number for one in claims]
        return taken

    taken = await asyncio.gather(*(worker(one, f"w{at}") for at, one in enumerate((store, other, store, other))))
    assert sorted(number for some in taken for number in some) == list(range(1, 61))


async def test_a_line_of_a_dead_worker_is_taken_again_and_has_one_result(store, other):
    await started(store, 1)
    (first,) = await store.batch_lines.claim("w1", 10.0, 30.0, 5)
    assert await other.batch_lines.claim("w2", 39.0, 30.0, 5) == ()
    await store.batch_lines.renew([first], 39.0, 30.0)
    assert await other.batch_lines.claim("w2", 68.0, 30.0, 5) == ()
    (second,) = await other.batch_lines.claim("w2", 69.0, 30.0, 5)
    assert second.attempt == 2
    assert await answer(store, [first]) == [False]
    assert await answer(other, [second, second]) == [True, False]
    assert await stands(store) == ("in_progress", 1, 1, 0)


async def test_lines_that_are_put_back_are_asked_again(store):
    await started(store, 3)
    one, two = await store.batch_lines.claim("w", 10.0, 30.0, 2)
    await store.batch_lines.put_back([one], 11.0, counts=False)
    await store.batch_lines.put_back([two], 10.0, counts=True)
    again = await store.batch_lines.claim("w", 12.0, 30.0, 5)
    assert [(each.line.number, each.attempt) for each in again] == [(3, 1), (2, 2), (1, 1)]
    assert await answer(store, [two]) == [False]


async def test_batches_take_turns_and_rest(store):
    await started(store, 9, name="a")
    await started(store, 9, name="b")
    turns = [(await store.batch_lines.claim("w", 11.0 + at, 30.0, 1))[0].batch.id for at in range(4)]
    assert turns == ["a", "b", "a", "b"]
    await store.batch_lines.rest("a", 30.0)
    await store.batch_lines.rest("a", 20.0)
    turns = [(await store.batch_lines.claim("w", 21.0 + at, 30.0, 1))[0].batch.id for at in range(3)]
    assert turns == ["b", "b", "b"]
    assert (await store.batch_lines.claim("w", 30.0, 30.0, 1))[0].batch.id in {"a", "b"}


async def test_cancelling_waits_for_the_lines_that_are_being_asked(store, other):
    await started(store, 3)
    asked, dead = await store.batch_lines.claim("w", 10.0, 30.0, 2)
    cancelled = await other.batches.cancel(ME, "b", 11.0)
    assert (cancelled.status, cancelled.details["cancelling_at"]) == ("cancelling", 11.0)
    assert await store.batch_lines.claim("w", 12.0, 30.0, 5) == ()
    assert await store.batches.claim("w", 12.0, 30.0) is None
    assert await answer(store, [asked]) == [True]
    claim = await store.batches.claim("w", 40.0, 30.0)
    settled = await store.batches.settle(claim, 40.0)
    assert (settled.status, settled.completed, settled.failed) == ("cancelling", 1, 2)
    assert await answer(store, [dead]) == [False]
    assert [one.state for one in await store.batches.results("b", after=0, limit=9)] == ["answered", "unsent", "unsent"]
    assert await store.batches.finish(claim, "cancelled", files=[], details={}, purge_at=None)
    assert (await store.batches.cancel(ME, "b", 50.0)).status == "cancelled"


async def test_whoever_checks_the_file_of_a_cancelled_batch_has_lost_it(store):
    await store.batches.create(batch())
    claim = await store.batches.claim("w", 10.0, 30.0)
    assert (await store.batches.cancel(ME, "b", 11.0)).status == "cancelling"
    assert not await store.batches.add_lines(claim, lines(1))
    assert not await store.batches.renew(claim, 12.0, 30.0)
    assert not await store.batches.start(claim, 12.0, total=1, details={})
    assert (await store.batches.claim("w", 12.0, 30.0)).batch.status == "cancelling"


async def test_a_batch_that_is_too_old_is_settled_as_expired(store):
    await started(store, 2, expires_at=100.0)
    (one,) = await store.batch_lines.claim("w", 99.0, 30.0, 1)
    assert await store.batch_lines.claim("w", 100.0, 30.0, 1) == ()
    assert await store.batches.claim("w", 100.0, 30.0) is None, "a line is being asked"
    assert await answer(store, [one]) == [True]
    settled = await store.batches.settle(await store.batches.claim("w", 100.0, 30.0), 101.0)
    assert (settled.status, settled.details["expired"], settled.failed) == ("finalizing", True, 1)


async def test_the_care_for_a_batch_is_one_workers_and_goes_to_another(store, other):
    await store.batches.create(batch())
    first = await store.batches.claim("w1", 10.0, 30.0)
    assert await other.batches.claim("w2", 39.0, 30.0) is None
    assert await store.batches.renew(first, 39.0, 30.0)
    assert await other.batches.claim("w2", 60.0, 30.0) is None
    second = await other.batches.claim("w2", 69.0, 30.0)
    assert not await store.batches.renew(first, 70.0, 30.0)
    assert await store.batches.settle(first, 70.0) is None
    await other.batches.release(second)
    assert (await store.batches.claim("w1", 70.0, 30.0)).attempt == 3


async def test_the_same_lines_twice_are_there_once(store):
    await store.batches.create(batch())
    claim = await store.batches.claim("w", 10.0, 30.0)
    assert await store.batches.add_lines(claim, lines(3))
    assert await store.batches.add_lines(claim, lines(4, start=2))
    assert await store.batches.start(claim, 10.0, total=5, details={})
    assert [one.line for one in await store.batch_lines.claim("w", 10.0, 30.0, 9)] == lines(5)


async def packed(store, count=3):
    await started(store, count, new=lines(count, alone=False))
    claims = await store.batch_lines.claim("w", 10.0, 30.0, count, together=True)
    pack = Pack("p", claims[0].batch, "account-1", 10.0, "w", 1)
    return claims, await store.batch_packs.create(pack, claims, 10.0, 30.0)


async def test_a_pack_outlives_its_worker(store, other):
    claims, pack = await packed(store)
    assert pack.lines == tuple(lines(3, alone=False))
    assert await store.batch_packs.queued(pack, "request")
    assert await answer(store, claims) == [False] * 3, "they are the pack's"
    assert await store.batch_lines.claim("w", 999.0, 30.0, 9) == ()
    assert await other.batch_packs.claim("w2", 39.0, 30.0) is None
    found = await other.batch_packs.claim("w2", 40.0, 30.0)
    assert (found.request_id, found.account, found.attempt, found.lines) == ("request", "account-1", 2, pack.lines)
    assert not await store.batch_packs.renew(pack, 41.0, 30.0)
    assert await store.batch_packs.answer(pack, [PackedResult(1, "answered", b"{}", USAGE)]) == frozenset()
    results = [PackedResult(number, "answered", b"{}", USAGE) for number in (1, 1, 2, 99)]
    assert await other.batch_packs.answer(found, results) == {1, 2}
    assert await stands(store) == ("in_progress", 3, 2, 0)
    assert await other.batch_packs.end(found)
    assert not await other.batch_packs.end(found)
    (left,) = await store.batch_lines.claim("w", 50.0, 30.0, 9)
    assert (left.line.number, left.line.alone, left.attempt) == (3, True, 2)


async def test_lines_that_can_go_together_are_told_from_those_that_cannot(store):
    await started(store, 4, new=[*lines(2), *lines(2, start=3, alone=False)])
    claims = await store.batch_lines.claim("w", 10.0, 30.0, 9, together=True)
    assert [one.line.number for one in claims] == [3, 4]
    assert await store.batch_lines.claim("w", 10.0, 30.0, 9, together=True) == ()
    await store.batch_lines.put_back(claims[:1], 11.0, counts=False, alone=True)
    await store.batch_lines.put_back(claims[1:], 11.0, counts=False)
    claims = await store.batch_lines.claim("w", 12.0, 30.0, 9, together=True)
    assert [one.line.number for one in claims] == [4]
    pack = await store.batch_packs.create(Pack("p", claims[0].batch, "a", 12.0, "w", 1), claims, 12.0, 30.0)
    assert await store.batch_packs.end(pack, alone=False)
    assert [one.line.number for one in await store.batch_lines.claim("w", 13.0, 30.0, 9, together=True)] == [4]
    assert len(await store.batch_lines.claim("w", 13.0, 30.0, 9)) == 3


async def test_lines_that_were_lost_are_not_packed(store):
    await started(store, 2)
    claims = await store.batch_lines.claim("w", 10.0, 30.0, 2)
    await answer(store, claims[:1])
    pack = await store.batch_packs.create(Pack("p", claims[0].batch, "a", 10.0, "w", 1), claims, 10.0, 30.0)
    assert pack.lines == (claims[1].line,)
    nothing = await store.batch_packs.create(Pack("q", claims[0].batch, "a", 10.0, "w", 1), claims, 10.0, 30.0)
    assert nothing.lines == ()
    assert (await store.batch_packs.claim("w", 50.0, 30.0)).id == "p"
    assert await store.batch_packs.claim("w", 50.0, 30.0) is None


async def test_a_cancelled_batch_drops_its_packs(store):
    _, pack = await packed(store)
    await store.batches.cancel(ME, "b", 11.0)
    settled = await store.batches.settle(await store.batches.claim("w", 11.0, 30.0), 11.0)
    assert (settled.completed, settled.failed) == (0, 3)
    assert await store.batch_packs.answer(pack, [PackedResult(1, "answered", b"{}", USAGE)]) == frozenset()
    assert await store.batch_packs.claim("w", 99.0, 30.0) is None


async def test_answers_that_come_together_are_all_counted(store, other):
    await started(store, 40)
    claims = await store.batch_lines.claim("w", 10.0, 30.0, 40)
    done = await asyncio.gather(
        *(
            (store, other)[at % 2].batch_lines.answer(one, ("answered", "failed")[at % 4 == 0], b"{}", USAGE)
            for at, one in enumerate(claims)
        )
    )
    assert all(done)
    assert await stands(store) == ("in_progress", 40, 30, 10)
