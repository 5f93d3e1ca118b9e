"""How SQLite is used: in threads, as a whole, and healed."""

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
from sqlalchemy.exc import ProgrammingError

from app.store import sqlite
from app.store.connections import connect, parse
from app.store.contract import StoreError, StoreUnavailable
from app.store.failures import Health
from app.store.writes import Writes

LOG = logging.getLogger(__name__)


@pytest.fixture
async def connections(tmp_path):
    connections = connect(parse(f"sqlite:///{tmp_path}/store.db"), Health(LOG))
    await connections.transaction(run("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield connections
    await connections.close()


class Held:
    """A body that stays in its thread until it is let go."""

    def __init__(self, then=lambda connection: None):
        self._then = then
        self._begun = threading.Event()
        self._go = threading.Event()

    def __call__(self, connection):
        self._begun.set()
        assert self._go.wait(10)
        return self._then(connection)

    async def begun(self):
        assert await asyncio.to_thread(self._begun.wait, 10)

    def let_go(self):
        self._go.set()


def run(statement):
    return lambda connection: connection.exec_driver_sql(statement).close()


def numbers(connection):
    return connection.exec_driver_sql("SELECT number FROM numbers ORDER BY number").scalars().all()


def thread(connection):
    return threading.current_thread()


async def test_each_use_of_the_database_is_one_way_there_and_back(connections, monkeypatch):
    loop = asyncio.get_running_loop()
    back = []
    hand_over = loop.call_soon_threadsafe

    def heard(callback, *arguments, **options):
        back.append(callback)
        return hand_over(callback, *arguments, **options)

    def several(connection):
        return [numbers(connection) for _ in range(5)]

    await connections.read(several)
    monkeypatch.setattr(loop, "call_soon_threadsafe", heard)
    await connections.transaction(several)
    assert len(back) == 1
    await connections.read(several)
    assert len(back) == 2


async def test_there_is_one_thread_that_writes_and_a_few_that_read(connections):
    writers = set(await asyncio.gather(*(connections.transaction(thread) for _ in range(20))))
    readers = set(await asyncio.gather(*(connections.read(thread) for _ in range(20))))
    assert len(writers) == 1
    assert 1 <= len(readers) <= 3
    assert not (writers | readers) & {threading.current_thread()}
    assert not writers & readers


async def test_readers_wait_for_nobody_who_writes(connections):
    writing = Held(run("INSERT INTO numbers VALUES (1)"))
    reading = [Held(numbers) for _ in range(2)]
    tasks = [asyncio.create_task(connections.transaction(writing))]
    tasks += [asyncio.create_task(connections.read(held)) for held in reading]
    for held in (writing, *reading):
        await held.begun()
    assert await connections.read(numbers) == []
    for held in (writing, *reading):
        held.let_go()
    await asyncio.gather(*tasks)
    assert await connections.read(numbers) == [1]


async def test_a_body_that_raises_changes_nothing(connections):
    def fail(connection):
        run("INSERT INTO numbers VALUES (1)")(connection)
        assert numbers(connection) == [1]
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await connections.transaction(fail)
    await connections.transaction(run("INSERT INTO numbers VALUES (2)"))
    assert await connections.read(numbers) == [2]


async def test_who_waits_too_long_for_the_writer_is_told_and_nothing_is_changed(connections, monkeypatch):
    held = Held(run("INSERT INTO numbers VALUES (1)"))
    first = asyncio.create_task(connections.transaction(held))
    await held.begun()
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.01)
    with pytest.raises(StoreUnavailable) as failed:
        await connections.transaction(run("INSERT INTO numbers VALUES (2)"))
    assert "no connection was free" in str(failed.value.__cause__)
    monkeypatch.undo()
    held.let_go()
    await first
    await connections.transaction(run("INSERT INTO numbers VALUES (3)"))
    assert await connections.read(numbers) == [1, 3]


async def test_who_waits_too_long_for_a_reader_is_told(connections, monkeypatch):
    reading = [Held(numbers) for _ in range(3)]
    tasks = [asyncio.create_task(connections.read(held)) for held in reading]
    for held in reading:
        await held.begun()
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.01)
    with pytest.raises(StoreUnavailable):
        await connections.read(numbers)
    for held in reading:
        held.let_go()
    assert await asyncio.gather(*tasks) == [[], [], []]


async def test_a_write_is_not_cut_by_a_caller_who_leaves(connections):
    writes = Writes(connections)
    held = Held(run("INSERT INTO numbers VALUES (1)"))
    caller = asyncio.create_task(writes.run(held))
    await held.begun()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    held.let_go()
    await writes.close()
    assert await connections.read(numbers) == [1]


@pytest.mark.parametrize("way", ["transaction", "read"])
async def test_a_connection_that_broke_is_replaced(connections, way):
    use = getattr(connections, way)

    def break_off(connection):
        connection.connection.driver_connection.close()
        return numbers(connection)

    with pytest.raises(ProgrammingError, match="closed database"):
        await use(break_off)
    assert await use(numbers) == []
    await connections.transaction(run("INSERT INTO numbers VALUES (1)"))
    assert await use(numbers) == [1]


async def test_a_transaction_that_could_not_be_undone_does_not_stand_in_the_way(connections):
    def end_badly(connection):
        run("INSERT INTO numbers VALUES (1)")(connection)
        connection.commit()
        # A transaction that the library knows nothing of.
        connection.connection.driver_connection.execute("BEGIN IMMEDIATE")
        raise LookupError("ours")

    with pytest.raises(LookupError, match="ours"):
        await connections.transaction(end_badly)
    await connections.transaction(run("INSERT INTO numbers VALUES (2)"))
    assert await connections.read(numbers) == [1, 2]


async def test_closing_waits_for_a_reader_whose_caller_has_left_and_ends_the_threads(tmp_path):
    before = set(threading.enumerate())
    connections = connect(parse(f"sqlite:///{tmp_path}/store.db"), Health(LOG))
    ended = []
    held = Held(ended.append)
    await connections.transaction(thread)
    caller = asyncio.create_task(connections.read(held))
    await held.begun()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    closing = asyncio.create_task(connections.close())
    assert await asyncio.wait({closing}, timeout=0.05) == (set(), {closing})
    held.let_go()
    await closing
    assert len(ended) == 1
    assert not [each for each in set(threading.enumerate()) - before if each.name.startswith("store-")]
    # The log has been brought into the file.
    assert [file.name for file in tmp_path.iterdir()] == ["store.db"]


def test_a_process_ends_though_its_store_was_not_closed(tmp_path):
    code = (
        "import asyncio, sys; from app.store.opening import open_store\n"
        "async def main(): await (await open_store(sys.argv[1])).ping()\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path}/store.db"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=30).stderr == b""


def test_without_its_driver_postgresql_is_refused_plainly(monkeypatch):
    # As when it is imported and something of the extra is not there.
    monkeypatch.setitem(sys.modules, "app.store.postgres", None)
    with pytest.raises(StoreError, match=r"not installed: pip install 'flarelay\[postgres\]'"):
        connect(parse("postgresql://root@127.0.0.1/name"), Health(LOG))
