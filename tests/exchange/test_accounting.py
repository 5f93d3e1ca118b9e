import asyncio
import logging
import random
from datetime import UTC, datetime

import pytest

from app.core.cost import Cost
from app.core.usage import Usage
from app.exchange import accounting as module
from app.exchange.accounting import Accounting, Openings, keep_usage_purged
from app.store.contract import StoreUnavailable
from app.store.opening import open_store
from tests.exchange.ledger import MemoryLedger, place
from tests.store import databases

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
DAY = 86_400
TODAY = "2026-11-21"
OSS = "@cf/openai/gpt-oss-120b"


@pytest.fixture
def ledger():
    return MemoryLedger()


@pytest.fixture
def accounting(ledger):
    return Accounting(lambda: ledger)


def add(accounting, neurons=1.0, *, when=NOON, caller="key-a", model=OSS, source="reported", cached=None):
    accounting.add(when, caller, model, Usage(10, 4, cached), Cost(neurons, source))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_requests_are_added_up_by_day_caller_model_and_source(accounting, ledger):
    add(accounting, 1.5, cached=6)
    add(accounting, 2.0)
    add(accounting, 4.0, source="estimated")
    add(accounting, 8.0, caller="key-b")
    add(accounting, 16.0, when=NOON - DAY)
    add(accounting, 32.0, model="@cf/zai/glm")
    await accounting.flush()
    assert len(ledger.added) == 1
    assert {place(row): row.neurons for row in ledger.kept.values()} == {
        (TODAY, "key-a", OSS, "reported"): 3.5,
        (TODAY, "key-a", OSS, "estimated"): 4.0,
        (TODAY, "key-b", OSS, "reported"): 8.0,
        ("2026-11-20", "key-a", OSS, "reported"): 16.0,
        (TODAY, "key-a", "@cf/zai/glm", "reported"): 32.0,
    }
    first = ledger.kept[TODAY, "key-a", OSS, "reported"]
    assert (first.requests, first.prompt_tokens, first.cached_tokens, first.completion_tokens) == (2, 20, 6, 8)


@pytest.mark.parametrize(("second", "day"), [(0, TODAY), (-0.001, "2026-11-20"), (DAY - 0.001, TODAY)])
async def test_days_begin_at_midnight_in_utc(accounting, ledger, second, day):
    add(accounting, when=NOON - DAY / 2 + second)
    await accounting.flush()
    assert [row.day for row in ledger.kept.values()] == [day]


async def test_what_was_flushed_is_not_flushed_again(accounting, ledger):
    add(accounting)
    await accounting.flush()
    await accounting.flush()
    assert len(ledger.added) == 1
    add(accounting)
    await accounting.flush()
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 2


async def test_it_flushes_by_itself(accounting, ledger, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    task = asyncio.create_task(accounting.run())
    add(accounting)
    await until(lambda: len(ledger.added) == 1)
    add(accounting)
    await until(lambda: len(ledger.added) == 2)
    task.cancel()


async def test_while_the_store_is_away_figures_are_kept_and_merged(accounting, ledger, monkeypatch, caplog):
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    ledger.away = True
    for _ in range(50):
        add(accounting)
        await accounting.flush()
    assert len(accounting._collected) == 1
    ledger.away = False
    task = asyncio.create_task(accounting.run())
    await until(lambda: ledger.added)
    add(accounting)
    await until(lambda: len(ledger.added) == 2)
    task.cancel()
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 51
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("ERROR", None), ("WARNING", None)]


async def test_what_comes_during_a_flush_that_fails_is_merged_with_it(accounting, ledger):
    add(accounting)
    gate = ledger.hold()
    task = asyncio.create_task(accounting.flush())
    await until(lambda: not ledger.gates)
    add(accounting)
    ledger.away = True
    gate.set()
    await task
    ledger.away = False
    await accounting.flush()
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 2


async def test_a_defect_of_the_store_loses_nothing_either_and_is_told_as_one(accounting, ledger, caplog):
    add(accounting)
    original, ledger.add = ledger.add, None
    await accounting.flush()
    ledger.add = original
    await accounting.flush()
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 1
    assert caplog.records[0].exc_info[0] is TypeError


async def test_of_many_rows_those_that_went_in_are_not_added_again(accounting, ledger, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 10)
    for number in range(35):
        add(accounting, caller=f"key-{number}")
    ledger.fails_after = 2
    await accounting.flush()
    assert [len(rows) for rows in ledger.added] == [10, 10]
    add(accounting, caller="key-0")
    ledger.fails_after = None
    await accounting.flush()
    assert sum(row.requests for row in ledger.kept.values()) == 36
    assert ledger.kept[TODAY, "key-0", OSS, "reported"].requests == 2


async def test_a_flush_that_was_begun_is_not_cut_off_and_not_done_twice(accounting, ledger):
    add(accounting)
    gate = ledger.hold()
    task = asyncio.create_task(accounting.flush())
    await until(lambda: not ledger.gates)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    add(accounting)
    closing = asyncio.create_task(accounting.aclose())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 2
    assert sum(row.requests for rows in ledger.added for row in rows) == 2


async def test_what_cannot_be_added_at_the_end_is_told(accounting, ledger, caplog):
    add(accounting)
    add(accounting, caller="key-b")
    ledger.away = True
    await accounting.aclose()
    assert "the usage of 2 requests is lost" in caplog.text


async def test_while_the_store_is_being_opened_figures_are_kept(ledger):
    opened = []

    def current():
        if not opened:
            raise StoreUnavailable
        return ledger

    accounting = Accounting(current)
    add(accounting)
    await accounting.flush()
    with pytest.raises(StoreUnavailable):
        await accounting.neurons(TODAY)
    opened.append(True)
    assert await accounting.neurons(TODAY) == 1
    await accounting.flush()
    assert ledger.kept[TODAY, "key-a", OSS, "reported"].requests == 1


async def test_readings_hold_what_is_not_flushed_yet(accounting, ledger):
    add(accounting, 1.0)
    add(accounting, 2.0, caller="key-b", model="@cf/zai/glm", when=NOON - DAY)
    await accounting.flush()
    add(accounting, 4.0)
    add(accounting, 8.0, caller="key-b", model="@cf/zai/glm", when=NOON - DAY)
    assert sum(row.neurons for row in await accounting.rows("2026-11-20", TODAY)) == 15
    assert sum(row.neurons for row in await accounting.rows(TODAY, TODAY)) == 5
    assert sum(row.neurons for row in await accounting.rows("2026-11-20", "2026-11-20")) == 10
    assert sum(row.neurons for row in await accounting.rows("2026-11-20", TODAY, caller="key-a")) == 5
    assert sum(row.neurons for row in await accounting.rows("2026-11-20", TODAY, model="@cf/zai/glm")) == 10
    assert await accounting.neurons("2026-11-20") == 15
    assert await accounting.neurons(TODAY) == 5
    assert await accounting.neurons("2026-11-20", caller="key-b") == 10


async def test_a_reading_beside_a_flush_counts_everything_once(accounting, ledger):
    """Whatever comes first: both wait before and after what they do, in random order."""
    dice = random.Random(7)
    for total in range(1, 201):
        add(accounting)
        calls = [accounting.flush(), *(accounting.neurons(TODAY) for _ in range(2)), accounting.rows(TODAY, TODAY)]
        dice.shuffle(calls)
        gates = [ledger.hold() for _ in range(dice.randrange(3))]
        running = [asyncio.create_task(call) for call in calls]
        for gate in gates:
            for _ in range(dice.randrange(6)):
                await asyncio.sleep(0)
            gate.set()
        for found in await asyncio.gather(*running):
            if found is not None:
                assert (found if isinstance(found, float) else sum(row.neurons for row in found)) == total
        ledger.gates.clear()


async def test_readings_do_not_wait_for_each_other(accounting, ledger):
    gates = [ledger.hold(), ledger.hold()]
    readings = [asyncio.create_task(accounting.neurons(TODAY)) for _ in range(2)]
    await until(lambda: not ledger.gates)
    for gate in gates:
        gate.set()
    assert await asyncio.gather(*readings) == [0, 0]


async def test_a_reading_that_fails_holds_up_no_flush(accounting, ledger):
    add(accounting)
    ledger.away = True
    with pytest.raises(StoreUnavailable):
        await accounting.neurons(TODAY)
    ledger.away = False
    await accounting.flush()
    assert ledger.added


async def test_without_a_store_it_remembers_by_itself():
    accounting = Accounting(lambda: None)
    add(accounting, 1.0)
    add(accounting, 2.0, caller="key-b")
    await accounting.flush()
    await accounting.aclose()
    assert sum(row.neurons for row in await accounting.rows(TODAY, TODAY)) == 3
    assert await accounting.neurons(TODAY, caller="key-b") == 2


async def test_without_a_store_it_forgets_what_is_long_past():
    accounting = Accounting(lambda: None)
    for back in range(100):
        add(accounting, when=NOON - back * DAY)
    await accounting.flush()
    assert len(accounting._collected) == module.MEMORY_DAYS + 1
    assert await accounting.neurons(TODAY) == 1


async def test_openings_of_the_day_and_of_the_month(accounting, ledger):
    openings = Openings(accounting, lambda: NOON)
    assert await openings.spent("key-a", "day") == 0
    add(accounting, 0.000_001)
    add(accounting, 0.1, when=NOON - 20 * DAY)
    add(accounting, 7.0, when=NOON - 21 * DAY)
    await accounting.flush()
    add(accounting, 0.2, caller="key-b")
    spent = openings.spent
    assert (await spent("key-a", "day"), await spent("key-a", "month")) == (1, 100_001)
    assert (await spent("key-b", "day"), await spent("key-b", "month")) == (200_000, 200_000)
    assert (await spent("account:0123", "day"), await spent("account:", "month")) == (200_001, 300_001)
    assert await spent("key-unknown", "month") == 0


async def test_openings_when_a_month_has_just_begun(accounting):
    first = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    add(accounting, 1.0, when=first - 0.001)
    add(accounting, 2.0, when=first)
    openings = Openings(accounting, lambda: first + 1)
    assert await openings.spent("key-a", "month") == await openings.spent("key-a", "day") == 2_000_000


async def test_an_opening_does_not_wait_for_ever(accounting, ledger, monkeypatch):
    monkeypatch.setattr(module, "OPENING_SECONDS", 0.01)
    add(accounting)
    gate = ledger.hold()
    flush = asyncio.create_task(accounting.flush())
    await until(lambda: not ledger.gates)
    with pytest.raises(StoreUnavailable):
        await Openings(accounting, lambda: NOON).spent("key-a", "day")
    ledger.hold()
    other = Accounting(lambda: ledger)
    with pytest.raises(StoreUnavailable):
        await Openings(other, lambda: NOON).spent("key-a", "day")
    # Who gives up holds up nobody.
    add(other)
    await other.flush()
    assert len(ledger.added) == 1
    gate.set()
    await flush
    assert len(ledger.added) == 2


async def test_purging_is_bounded_goes_on_and_survives_an_outage(accounting, ledger, monkeypatch, caplog):
    monkeypatch.setattr(module, "PURGED_AT_ONCE", 10)
    monkeypatch.setattr(module, "PURGE_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(module, "PURGE_EVERY_SECONDS", 0.001)
    for back in range(100):
        add(accounting, when=NOON - back * DAY)
    await accounting.flush()
    ledger.away = True
    task = asyncio.create_task(keep_usage_purged(ledger, lambda: NOON, 40))
    await until(lambda: "could not be purged" in caplog.text)
    ledger.away = False
    await until(lambda: len(ledger.kept) == 41)
    task.cancel()
    assert max(ledger.purged) == 10
    assert min(row.day for row in ledger.kept.values()) == "2026-10-12"


async def test_purging_leaves_the_running_month(accounting, ledger, monkeypatch):
    monkeypatch.setattr(module, "PURGE_PAUSE_SECONDS", 0.001)
    end = datetime(2026, 10, 31, 23, tzinfo=UTC).timestamp()
    for back in range(60):
        add(accounting, when=end - back * DAY)
    await accounting.flush()
    task = asyncio.create_task(keep_usage_purged(ledger, lambda: end, 1))
    await until(lambda: ledger.purged)
    task.cancel()
    assert await accounting.neurons("2026-10-01") == 31


@pytest.fixture(params=databases.KINDS)
def kind(request):
    if request.param == "postgresql":
        databases.need_postgres()
    return request.param


@pytest.fixture
async def store(kind, tmp_path):
    async with databases.empty(kind, tmp_path) as url:
        store = await open_store(url)
        yield store
        await store.close()


async def test_replicas_on_one_database_agree(store):
    replicas = [Accounting(lambda: store.usage) for _ in range(3)]

    async def work(accounting):
        for number in range(60):
            add(accounting, 0.25, caller=f"key-{number % 4}")
            if number % 7 == 0:
                await asyncio.gather(accounting.flush(), accounting.neurons(TODAY))
        await accounting.aclose()

    await asyncio.gather(*map(work, replicas))
    rows = await replicas[0].rows(TODAY, TODAY)
    assert (len(rows), sum(row.requests for row in rows)) == (4, 180)
    # After a restart the budgets begin where they were.
    openings = Openings(Accounting(lambda: store.usage), lambda: NOON)
    assert await openings.spent("key-1", "day") == round(0.25 * 45 * 1_000_000)
    assert await openings.spent("account:x", "month") == 45_000_000


async def test_nothing_is_logged_where_nothing_fails(accounting, caplog):
    caplog.set_level(logging.DEBUG, "app")
    add(accounting)
    await accounting.flush()
    await accounting.aclose()
    assert caplog.records == []
