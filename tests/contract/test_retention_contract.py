"""What is deleted, when, and in how small steps; on every database."""

import pytest

from app.store.contract import BrokenContext, Conversation, Purged
from tests.store.records import ME, ids, item, made


async def purge_all(store, now, **options):
    purges = [await store.purge(now, **options)]
    while purges[-1].more:
        purges.append(await store.purge(now, **options))
        assert len(purges) < 100
    return purges


async def test_what_has_expired_goes_with_all_its_rows(store):
    await store.responses.save(made("old", expires_at=10.0), [item("a")], [item("b")])
    await store.responses.save(made("young", expires_at=30.0), [item("c")])
    await store.responses.save(made("eternal"), [item("d")])
    assert await store.purge(9.0) == Purged()
    assert await store.purge(20.0) == Purged(responses=1, items=2)
    assert await store.responses.get(ME, "old") is None
    assert set(await store.responses.items(ME, ["a", "b", "c", "d"])) == {"c", "d"}
    assert await store.purge(20.0) == Purged()


async def test_what_was_deleted_goes_too(store):
    await store.responses.save(made("r"), [item("a")])
    await store.conversations.create(Conversation("c", ME, 1.0), [item("b"), item("d")])
    await store.responses.delete(ME, "r")
    await store.conversations.delete(ME, "c")
    assert await store.purge(0.0) == Purged(responses=1, conversations=1, items=3)


async def test_a_chain_is_kept_as_long_as_any_of_it_lives(store):
    await store.responses.save(made("a", expires_at=10.0), [item("a_in")])
    await store.responses.save(made("b", expires_at=20.0, previous_response_id="a"), [item("b_in")])
    await store.responses.save(made("c", expires_at=30.0, previous_response_id="a"), [item("c_in")])
    assert await store.purge(25.0) == Purged()
    assert ids((await store.responses.context(ME, "c")).items) == ["a_in", "c_in"]
    await store.responses.delete(ME, "c")
    assert (await store.purge(25.0)).responses == 3
    assert await store.responses.context(ME, "b") == BrokenContext("b", "unknown")


@pytest.mark.parametrize("limit", [1, 7])
async def test_no_step_deletes_more_than_the_limit(store, limit):
    for number in range(5):
        name = f"r{number}"
        await store.responses.save(made(name, expires_at=1.0), [item(f"{name}_{at}") for at in range(4)])
    purges = await purge_all(store, 2.0, limit=limit)
    assert all(max(purge.responses, purge.items) <= limit for purge in purges)
    assert sum(purge.responses for purge in purges) == 5
    assert sum(purge.items for purge in purges) == 20
    assert await store.purge(2.0) == Purged()


async def test_event_logs_go_before_their_responses(store):
    await store.work.enqueue(made("done", "queued", background=True), [], b"{}")
    await store.work.enqueue(made("running", "queued", background=True, created_at=2.0), [], b"{}")
    done, running = [await store.work.claim("w", 1.0, 30.0) for _ in range(2)]
    await store.work.append_events(done, [(0, b"x")], 1.0)
    await store.work.append_events(running, [(0, b"y")], 1.0)
    await store.work.finish(done, status="completed", body=b"{}", now=9.0, events=[(1, b"z")])
    assert await store.purge(20.0, events_before=5.0) == Purged(events=1)
    assert (await store.work.events(ME, "done")).frames == ((1, b"z"),)
    assert (await store.work.events(ME, "running")).frames == ((0, b"y"),)


async def test_work_that_nobody_took_expires(store):
    await store.work.enqueue(made("a", "queued", background=True, expires_at=10.0), [item("in")], b"{}")
    assert await store.purge(20.0) == Purged(responses=1, items=1)
    assert await store.work.claim("w", 20.0, 30.0) is None


async def test_an_expired_conversation_goes(store):
    await store.conversations.create(Conversation("c", ME, 1.0, expires_at=10.0), [item("a")])
    assert await store.purge(9.0) == Purged()
    assert await store.purge(10.0) == Purged(conversations=1, items=1)
    assert await store.conversations.get(ME, "c") is None
