"""Responses and their items, on every database."""

import asyncio
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from app.core.errors import BadRequest
from app.store.contract import BrokenContext, Context, Page
from tests.store.records import ME, OTHER, ids, item, made


async def save_chain(store, *names, **fields):
    previous = None
    for name in names:
        await store.responses.save(
            made(name, previous_response_id=previous, **fields), [item(f"{name}_in")], [item(f"{name}_out")]
        )
        previous = name


async def test_a_response_comes_back_as_it_was_saved(store):
    response = made(
        "r", "incomplete", created_at=1.5, completed_at=2.25, body=b'{"a":"\\u0000 \xc3\xa9"}', background=True,
        previous_response_id="q", conversation_id="c", expires_at=9.0,
    )  # fmt: skip
    await store.responses.save(response)
    assert await store.responses.get(ME, "r") == response


async def test_another_callers_response_is_unknown_everywhere(store):
    await save_chain(store, "r")
    await store.responses.save(made("mine"), [item("mine_in")])
    responses = store.responses
    assert await responses.get(OTHER, "r") is None
    assert await responses.context(OTHER, "r") == BrokenContext("r", "unknown")
    assert await responses.input_items(OTHER, "r") is None
    assert await responses.item(OTHER, "r_in") is None
    assert await responses.items(OTHER, ["r_in", "r_out"]) == {}
    assert not await responses.update(OTHER, "r", expected=["completed"], status="failed", body=b"{}")
    assert not await responses.delete(OTHER, "r")
    assert await store.work.cancel(OTHER, "r") is None
    assert await store.work.events(OTHER, "r") is None
    # Nor does a response of theirs that names mine as its predecessor see any of it.
    await responses.save(made("spy", caller=OTHER, previous_response_id="r"), [item("spy_in")])
    assert await responses.context(OTHER, "spy") == BrokenContext("r", "unknown")
    assert ids((await responses.input_items(OTHER, "spy")).items) == ["spy_in"]
    assert (await responses.get(ME, "r")).status == "completed"


async def test_saving_twice_changes_nothing(store):
    await store.responses.save(made("r"), [item("a")])
    await store.responses.save(made("r", "failed", caller=OTHER), [item("b"), item("c")])
    assert (await store.responses.get(ME, "r")).status == "completed"
    assert (await store.responses.context(ME, "r")).items[0] == item("a")


async def test_context_is_input_and_output_along_the_chain(store):
    await save_chain(store, "a", "b", "c")
    assert await store.responses.context(ME, "b") == Context((item("a_in"), item("a_out"), item("b_in"), item("b_out")))
    assert await store.responses.context(ME, "none") == BrokenContext("none", "unknown")


async def test_context_of_a_response_without_items_is_empty(store):
    await store.responses.save(made("r"))
    assert await store.responses.context(ME, "r") == Context(())


@pytest.mark.parametrize(
    ("status", "reason"),
    [("queued", "unfinished"), ("in_progress", "unfinished"), ("failed", "failed"), ("cancelled", "failed")],
)
async def test_what_came_to_nothing_cannot_be_continued(store, status, reason):
    await save_chain(store, "a")
    await store.responses.save(made("b", status, previous_response_id="a"), [item("b_in")])
    await store.responses.save(made("c", previous_response_id="b"), [item("c_in")])
    assert await store.responses.context(ME, "b") == BrokenContext("b", reason)
    assert await store.responses.context(ME, "c") == BrokenContext("b", reason)


async def test_a_deleted_ancestor_breaks_the_chain(store):
    await save_chain(store, "a", "b", "c")
    assert await store.responses.delete(ME, "a")
    assert not await store.responses.delete(ME, "a")
    assert await store.responses.get(ME, "a") is None
    assert await store.responses.context(ME, "c") == BrokenContext("a", "unknown")
    # What is left can still be looked at.
    assert ids((await store.responses.input_items(ME, "c")).items) == ["c_in", "b_out", "b_in"]
    assert await store.responses.item(ME, "a_in") is None


async def test_input_items_are_the_context_without_the_own_output(store):
    await save_chain(store, "a", "b")
    page = await store.responses.input_items(ME, "b", order="asc")
    assert page == Page((item("a_in"), item("a_out"), item("b_in")), has_more=False)
    assert ids((await store.responses.input_items(ME, "b", limit=2)).items) == ["b_in", "a_out"]
    assert await store.responses.input_items(ME, "none") is None
    with pytest.raises(BadRequest, match="no item with id 'b_out'") as refused:
        await store.responses.input_items(ME, "b", after="b_out")
    assert refused.value.param == "after"


_seeds = itertools.count()
_names = st.text(min_size=1, max_size=4) | st.just("x" * 3_000) | st.just("a\0b") | st.just("é" * 250)


@given(
    turns=st.lists(st.tuples(st.lists(_names, max_size=5), st.lists(_names, max_size=2)), min_size=1, max_size=4),
    limit=st.integers(1, 6),
    order=st.sampled_from(["asc", "desc"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_put_together_are_the_list(store, turns, limit, order):
    """Whatever the ids: long, odd, or the same one several times."""
    # Hypothesis runs all its examples on one database.
    seed = next(_seeds)
    previous, expected = None, []
    for turn, (given_names, made_names) in enumerate(turns):
        response_id = f"r{seed}_{turn}"
        inputs, outputs = [item(name, str(turn)) for name in given_names], [item(name) for name in made_names]
        await store.responses.save(made(response_id, caller=f"k{seed}", previous_response_id=previous), inputs, outputs)
        expected += inputs + (outputs if turn < len(turns) - 1 else [])
        previous = response_id
    once = list({one["id"]: one for one in reversed(expected)}.values())[::-1]
    if order == "desc":
        once.reverse()
    seen, after = [], None
    while True:
        page = await store.responses.input_items(f"k{seed}", previous, after=after, limit=limit, order=order)
        assert len(page.items) <= limit
        seen += page.items
        if not page.has_more:
            break
        after = page.items[-1]["id"]
    assert sorted(ids(seen)) == sorted(ids(once))
    assert len(seen) == len(once)
    positions = {one["id"]: at for at, one in reversed(list(enumerate(expected)))}
    found = [positions[one["id"]] for one in seen]
    assert found == sorted(found, reverse=order == "desc")


async def test_items_are_found_by_id(store):
    await store.responses.save(made("old", created_at=1.0), [], [item("x", "the answer")])
    await store.responses.save(made("new", created_at=2.0), [item("x", "sent back"), item("y", "older")])
    await store.responses.save(made("newest", created_at=3.0), [item("y", "newer")])
    found = await store.responses.items(ME, ["x", "y", "z", "x\0"])
    assert found == {"x": item("x", "the answer"), "y": item("y", "newer")}
    assert await store.responses.item(ME, "y") == item("y", "newer")


async def test_more_items_than_one_statement_takes_are_found(store):
    items = [item(f"i{number}") for number in range(1_200)]
    await store.responses.save(made("r"), items)
    assert len(await store.responses.items(ME, ids(items))) == 1_200


async def test_update_happens_only_from_what_is_expected(store):
    await store.responses.save(made("r", "in_progress"), [item("in")], [item("first")])
    changed = await store.responses.update(
        ME, "r", expected=["queued", "in_progress"], status="completed", body=b"{1}", completed_at=5.0,
        output_items=[item("second")],
    )  # fmt: skip
    assert changed
    assert not await store.responses.update(ME, "r", expected=["queued"], status="failed", body=b"{2}")
    response = await store.responses.get(ME, "r")
    assert (response.status, response.body, response.completed_at) == ("completed", b"{1}", 5.0)
    assert ids((await store.responses.context(ME, "r")).items) == ["in", "second"]
    assert await store.responses.update(ME, "r", expected=["completed"], status="completed", body=b"{3}")
    assert ids((await store.responses.context(ME, "r")).items) == ["in", "second"]


async def test_of_many_updates_one_wins(store):
    await store.responses.save(made("r", "in_progress"))
    attempts = [
        store.responses.update(ME, "r", expected=["in_progress"], status="completed", body=str(number).encode())
        for number in range(10)
    ]
    won = await asyncio.gather(*attempts)
    assert won.count(True) == 1
    assert (await store.responses.get(ME, "r")).body == str(won.index(True)).encode()


async def test_many_saves_at_once_are_all_kept(store):
    await asyncio.gather(*(store.responses.save(made(f"r{number}"), [item(f"i{number}")]) for number in range(200)))
    assert len(await store.responses.items(ME, [f"i{number}" for number in range(200)])) == 200


async def test_one_that_cannot_be_saved_does_not_harm_its_neighbours(store):
    broken = structs.replace(made("broken"), body=None)
    saves = [store.responses.save(response) for response in (made("a"), made("b"), broken, made("c"))]
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, False, True, False]
    assert [await store.responses.get(ME, name) is not None for name in ("a", "b", "broken", "c")] == [
        True, True, False, True,
    ]  # fmt: skip


async def test_a_save_is_finished_though_nobody_waits_for_it(store):
    waiting = asyncio.create_task(store.responses.save(made("r")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    # The next write comes after it.
    await store.responses.save(made("s"))
    assert await store.responses.get(ME, "r") is not None
