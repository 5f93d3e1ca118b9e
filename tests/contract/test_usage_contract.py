"""The ledger of usage, on every database, with several stores on the same one."""

import asyncio

import pytest
from msgspec import structs

from app.store.accounts import UsageRow
from app.store.opening import open_store
from app.store.schema import key

TODAY = "2026-11-21"


def row(day=TODAY, caller="key-a", model="@cf/a", source="reported", **figures):
    figures = {
        "requests": 1,
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 7,
        "neurons": 0.25,
    } | figures
    return UsageRow(day, caller, model, source, **figures)


def times(one, count):
    """What so many of the same row come to."""
    names = [field.name for field in structs.fields(one) if field.name not in {"day", "caller", "model", "source"}]
    return structs.replace(one, **{name: getattr(one, name) * count for name in names})


async def everything(store):
    return await store.usage.rows("0000-01-01", "9999-12-31")


async def test_figures_are_added_to_the_row_of_their_day(store):
    assert await everything(store) == ()
    await store.usage.add([row(), row(source="estimated")])
    await store.usage.add([row(requests=2, prompt_tokens=1, cached_tokens=0, completion_tokens=3, neurons=0.5)])
    await store.usage.add([])
    assert await everything(store) == (
        row(source="estimated"),
        row(requests=3, prompt_tokens=11, cached_tokens=4, completion_tokens=10, neurons=0.75),
    )


async def test_rows_are_chosen_by_day_caller_and_model_and_sorted(store):
    days = [f"2026-11-{day:02d}" for day in (18, 19, 20, 21)]
    # Sorted by their characters, whatever a database makes of capitals and signs.
    callers, models = ["key-B", "key-a", "key_a"], ["@cf/a-b", "@cf/a.c", "@cf/ab"]
    rows = [row(day, caller, model) for day in days for caller in callers for model in models]
    await store.usage.add(rows[::-1])
    assert await everything(store) == tuple(rows)
    assert await store.usage.rows(days[1], days[2]) == tuple(rows[9:27])
    one = await store.usage.rows(days[3], days[3], caller="key-a", model="@cf/ab")
    assert one == (row(days[3], "key-a", "@cf/ab"),)
    assert len(await store.usage.rows(days[0], days[3], model="@cf/ab")) == 12
    assert await store.usage.rows(days[3], days[0]) == ()
    assert await store.usage.rows(days[0], days[3], caller="key") == ()


async def test_neurons_are_summed_since_a_day(store):
    assert await store.usage.neurons(TODAY) == 0.0
    await store.usage.add([row("2026-11-20"), row(), row(model="@cf/b", neurons=1.5), row(caller="key-b", neurons=9.0)])
    assert await store.usage.neurons(TODAY) == 10.75
    assert await store.usage.neurons("2026-11-01", caller="key-a") == 2.0
    assert await store.usage.neurons(TODAY, caller="key-c") == 0.0


@pytest.mark.parametrize("odd", ["a\0b", "é", "x" * 3_000, "", "\ud800"])
async def test_odd_names_are_counted_too(store, odd):
    for _ in range(2):
        await store.usage.add([row(caller=odd), row(model=odd)])
    expected = (times(row(model=key(odd)), 2), times(row(caller=key(odd)), 2))
    assert set(await everything(store)) == set(expected)
    assert await store.usage.rows(TODAY, TODAY, caller=odd) == expected[1:]
    assert await store.usage.rows(TODAY, TODAY, model=odd) == expected[:1]
    assert await store.usage.neurons(TODAY, caller=odd) == 0.5


async def test_a_batch_is_added_whole_or_not_at_all(store):
    await store.usage.add([row()])
    with pytest.raises(Exception, match=r"NOT NULL|not-null"):
        await store.usage.add([row(), row(model="@cf/b", source=None), row(model="@cf/c")])
    assert await everything(store) == (row(),)


async def test_nonsense_of_an_upstream_does_not_stop_the_counting(store):
    huge = row(model="@cf/b", prompt_tokens=10**300, completion_tokens=2**63, neurons=1e308)
    for _ in range(3):
        await store.usage.add([row(), huge])
    bounded = structs.replace(huge, prompt_tokens=10**12, completion_tokens=10**12, neurons=1e12)
    assert await everything(store) == (times(row(), 3), times(bounded, 3))


async def test_two_who_add_at_the_same_time_sum_exactly(store, other):
    batch = [row(caller=f"key-{caller}", model=f"@cf/{model:02}") for caller in "abcdefghijkl" for model in range(25)]
    rounds = 5

    async def add(replica, rows):
        for _ in range(rounds):
            await replica.usage.add(rows)

    # In opposite orders: whoever took the rows as they come would wait for the other, and the other for it.
    await asyncio.gather(*(add(replica, rows) for replica in (store, other) for rows in (batch, batch[::-1])))
    assert await everything(store) == tuple(times(one, 4 * rounds) for one in batch)
    assert await other.usage.neurons(TODAY) == 0.25 * 4 * rounds * len(batch)


async def test_old_days_go_in_small_steps_oldest_first(store):
    rows = [row(f"2026-11-{day:02d}", f"key-{caller}") for day in range(1, 5) for caller in range(3)]
    await store.usage.add(rows)
    assert await store.usage.purge("2026-11-01", 5) == 0
    assert await store.usage.purge("2026-11-04", 5) == 5
    assert {one.day for one in await everything(store)} == {"2026-11-02", "2026-11-03", "2026-11-04"}
    assert await store.usage.purge("2026-11-04", 5) == 4
    assert await store.usage.purge("2026-11-04", 5) == 0
    assert await everything(store) == tuple(rows[9:])


async def test_replicas_that_purge_at_the_same_time_delete_each_row_once(store, other):
    await store.usage.add([row("2026-11-01", f"key-{number:03d}") for number in range(60)])
    await store.usage.add([row()])

    async def purge(replica):
        return await replica.usage.purge(TODAY, 7)

    counts = []
    while sum(counts) < 60:
        counts += await asyncio.gather(*(purge(replica) for replica in (store, other, store, other)))
        assert len(counts) < 100
    assert max(counts) <= 7
    assert sum(counts) == 60
    assert await everything(store) == (row(),)


async def test_what_comes_late_for_an_old_day_is_not_lost_in_a_purge(store, other):
    rows = [row("2026-11-01", f"key-{number}") for number in range(10)]

    async def add():
        for _ in range(20):
            await store.usage.add(rows)

    adding = asyncio.create_task(add())
    while not adding.done():
        await other.usage.purge(TODAY, 3)
    await adding
    await store.usage.add([row("2026-11-01", "key-late")])
    assert row("2026-11-01", "key-late") in await everything(store)


async def test_usage_outlives_the_process(database):
    store = await open_store(database)
    await store.usage.add([row()])
    await store.close()
    again = await open_store(database)
    assert await everything(again) == (row(),)
    await again.close()
