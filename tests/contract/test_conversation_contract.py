"""Conversations, on every database."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import BadRequest
from app.store.contract import BrokenContext, Context, Conversation, Page
from tests.store.records import ME, OTHER, ids, item, made


async def create(store, *item_ids, **fields):
    await store.conversations.create(Conversation("c", ME, 1.5, **fields), [item(one) for one in item_ids])


async def listed(store):
    return ids((await store.conversations.context(ME, "c")).items)


async def test_a_conversation_comes_back_as_it_was_made(store):
    await create(store, metadata={"topic": "é\0"}, expires_at=9.0)
    assert await store.conversations.get(ME, "c") == Conversation("c", ME, 1.5, {"topic": "é\0"}, 9.0)
    updated = await store.conversations.update(ME, "c", {"topic": "b"})
    assert updated == await store.conversations.get(ME, "c") == Conversation("c", ME, 1.5, {"topic": "b"}, 9.0)
    assert await store.conversations.context(ME, "c") == Context(())
    assert await store.conversations.items(ME, "c") == Page((), has_more=False)


async def test_what_is_unknown_or_anothers_is_the_same(store):
    await create(store, "a")
    for caller, name in ((OTHER, "c"), (ME, "none")):
        conversations = store.conversations
        assert await conversations.get(caller, name) is None
        assert await conversations.update(caller, name, {}) is None
        assert await conversations.items(caller, name) is None
        assert await conversations.items(caller, name, after="a") is None
        assert await conversations.context(caller, name) is None
        assert await conversations.item(caller, name, "a") is None
        assert await conversations.remove(caller, name, "a") is None
        assert not await conversations.add(caller, name, [item("b")])
        assert not await conversations.delete(caller, name)
    assert await store.responses.item(OTHER, "a") is None
    assert await listed(store) == ["a"]


async def test_items_are_appended_once_and_removed(store):
    await create(store, "a", "b")
    assert await store.conversations.add(ME, "c", [item("b", "again"), item("d"), item("e\0")])
    assert await listed(store) == ["a", "b", "d", "e\0"]
    assert await store.conversations.item(ME, "c", "b") == item("b")
    assert await store.conversations.item(ME, "c", "none") is None
    assert (await store.conversations.remove(ME, "c", "b")).id == "c"
    assert await store.conversations.remove(ME, "c", "b") is None
    assert await store.conversations.add(ME, "c", [item("f")])
    assert await listed(store) == ["a", "d", "e\0", "f"]
    assert await store.responses.item(ME, "d") == item("d")


async def test_a_deleted_conversation_is_gone(store):
    await create(store, "a")
    assert await store.conversations.delete(ME, "c")
    assert not await store.conversations.delete(ME, "c")
    assert await store.conversations.get(ME, "c") is None
    assert await store.conversations.context(ME, "c") is None
    assert await store.responses.item(ME, "a") is None


@given(count=st.integers(0, 12), limit=st.integers(1, 5), order=st.sampled_from(["asc", "desc"]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_put_together_are_the_list(store, count, limit, order):
    name = f"c_{count}_{limit}_{order}"
    expected = [f"i{number}" for number in range(count)]
    if await store.conversations.get(ME, name) is None:
        await store.conversations.create(Conversation(name, ME, 1.0), [item(one) for one in expected])
    seen, after = [], None
    while True:
        page = await store.conversations.items(ME, name, after=after, limit=limit, order=order)
        seen += ids(page.items)
        if not page.has_more:
            break
        after = seen[-1]
    assert seen == (expected if order == "asc" else expected[::-1])


async def test_a_cursor_that_is_not_in_it_is_refused(store):
    await create(store, "a")
    with pytest.raises(BadRequest) as refused:
        await store.conversations.items(ME, "c", after="none")
    assert refused.value.param == "after"


async def test_a_saved_response_is_appended(store):
    await create(store, "a")
    await store.responses.save(made("r", conversation_id="c"), [item("in")], [item("out")])
    assert await listed(store) == ["a", "in", "out"]
    # Once only, and only what was finished.
    await store.responses.save(made("r", conversation_id="c"), [item("in")], [item("out")])
    await store.responses.save(made("s", "failed", conversation_id="c"), [item("in2")])
    assert await listed(store) == ["a", "in", "out"]


async def test_a_response_that_is_completed_later_is_appended_then(store):
    await create(store, "a")
    await store.responses.save(made("r", "in_progress", conversation_id="c"), [item("in")])
    assert await listed(store) == ["a"]
    for _ in range(2):
        await store.responses.update(
            ME, "r", expected=["in_progress", "completed"], status="completed", body=b"{}", output_items=[item("out")]
        )
    assert await listed(store) == ["a", "in", "out"]


async def test_background_work_is_appended_when_it_is_finished(store):
    await create(store)
    await store.work.enqueue(made("r", "queued", background=True, conversation_id="c"), [item("in")], b"{}")
    claim = await store.work.claim("w", 1.0, 30.0)
    assert await store.work.finish(claim, status="completed", body=b"{}", now=2.0, output_items=[item("out")])
    assert await listed(store) == ["in", "out"]


async def test_nobody_appends_to_anothers_conversation(store):
    await create(store, "a")
    await store.responses.save(made("r", caller=OTHER, conversation_id="c"), [item("in")])
    assert await listed(store) == ["a"]
    assert await store.responses.get(OTHER, "r") is not None


async def test_a_response_is_kept_though_its_conversation_is_gone(store):
    await create(store)
    await store.conversations.delete(ME, "c")
    await store.responses.save(made("r", conversation_id="c"), [item("in")])
    assert ids((await store.responses.context(ME, "r")).items) == ["in"]


async def test_the_context_of_a_response_holds_what_stood_in_its_conversation(store):
    await create(store, "a")
    await store.responses.save(made("r", conversation_id="c"), [item("in")], [item("out")])
    await store.conversations.add(ME, "c", [item("later")])
    await store.responses.save(made("s", previous_response_id="r"), [item("s_in")], [item("s_out")])
    assert ids((await store.responses.context(ME, "s")).items) == ["a", "in", "out", "s_in", "s_out"]
    assert ids((await store.responses.input_items(ME, "r", order="asc")).items) == ["a", "in"]
    page = await store.responses.input_items(ME, "s", limit=2, after="in")
    assert page == Page((item("a"),), has_more=False)


async def test_many_responses_append_at_the_same_time(store):
    await create(store)
    saves = [
        store.responses.save(made(f"r{number}", conversation_id="c"), [item(f"i{number}")], [item(f"o{number}")])
        for number in range(30)
    ]
    await asyncio.gather(*saves)
    found = await listed(store)
    assert sorted(found) == sorted([f"i{number}" for number in range(30)] + [f"o{number}" for number in range(30)])
    # Input and output of each stay side by side.
    assert all(found[at + 1] == f"o{one[1:]}" for at, one in enumerate(found) if one.startswith("i"))


async def test_use_keeps_a_conversation_alive(store):
    await create(store, "a", expires_at=10.0)
    await store.responses.save(made("r", conversation_id="c", expires_at=20.0), [item("in")])
    assert (await store.conversations.get(ME, "c")).expires_at == 20.0
    await store.conversations.add(ME, "c", [item("b")], expires_at=15.0)
    assert (await store.conversations.get(ME, "c")).expires_at == 20.0
    assert isinstance(await store.responses.context(ME, "none"), BrokenContext)
