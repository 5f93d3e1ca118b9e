"""What the store costs, on any database: ``python -m tests.store.speed sqlite:////tmp/speed.db``.

Prints the time of opening, saves per second alone and side by side, the context of a chain of fifty among ten
thousand responses, what a purge does, what it costs to ask whether keys have changed, and to add usage.
"""

import asyncio
import contextlib
import statistics
import sys
import time

from app.core.key import ApiKey
from app.store.accounts import KeyExistsError, UsageRow
from app.store.contract import Context, StoredResponse
from app.store.opening import open_store

DEPTH = 50
RESPONSES = 10_000
KEYS = 1_000
DAY = "2026-11-21"
BODY = b'{"object":"response","output":[],"text":"' + b"x" * 2_000 + b'"}'


def made(number, previous=None, expires_at=None):
    return StoredResponse(
        f"resp_{number:032d}",
        "key-speed",
        float(number),
        "completed",
        "gpt-oss-120b",
        BODY,
        completed_at=float(number),
        previous_response_id=previous,
        expires_at=expires_at,
    )


def item(name, number):
    return {"id": f"{name}_{number:032d}", "type": "message", "role": "user", "content": "word " * 80}


async def save(store, number, previous=None):
    await store.responses.save(made(number, previous), [item("in", number)], [item("rs", number), item("msg", number)])


async def saves_per_second(store, first, count, savers):
    numbers = iter(range(first, first + count))

    async def saver():
        for number in numbers:
            await save(store, number)

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(saver() for _ in range(savers)))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{savers:3d} savers: {count / seconds:7.0f} saves/s, {cpu / count * 1e6:5.0f} µs of CPU each")


async def timed(name, call, times=50):
    taken = []
    cpu = time.process_time()
    for _ in range(times):
        started = time.perf_counter()
        result = await call()
        taken.append((time.perf_counter() - started) * 1e3)
    cpu = (time.process_time() - cpu) / times * 1e6
    print(f"{name}: median {statistics.median(taken):.2f} ms, worst {max(taken):.2f} ms, {cpu:.0f} µs of CPU each")
    return result


async def accounts(store):
    for number in range(KEYS):
        with contextlib.suppress(KeyExistsError):
            await store.keys.add(ApiKey(f"key-{number:012d}", "a name", b"d" * 32, float(number), ("gpt-oss-*",)))
    revision = (await timed(f"all {KEYS} keys", lambda: store.keys.changes(0), times=5)).revision
    await timed("changes of keys when there are none", lambda: store.keys.changes(revision), times=1_000)
    rows = [UsageRow(DAY, f"key-{number:012d}", "@cf/a", "reported", 1, 10, 5, 7, 0.5) for number in range(200)]
    await timed("adding usage, one row", lambda: store.usage.add(rows[:1]))
    await timed(f"adding usage, {len(rows)} rows", lambda: store.usage.add(rows))
    await timed("neurons of a key", lambda: store.usage.neurons("2026-11-01", caller="key-000000000007"))
    await timed(f"{len(rows)} rows of usage", lambda: store.usage.rows(DAY, DAY))


async def main(url):
    started = time.perf_counter()
    store = await open_store(url)
    print(f"opened in {(time.perf_counter() - started) * 1e3:.0f} ms")
    await saves_per_second(store, 0, 500, 1)
    await saves_per_second(store, 500, 4_000, 64)
    await saves_per_second(store, 4_500, RESPONSES - 4_500 - DEPTH, 64)
    previous = None
    for number in range(RESPONSES - DEPTH, RESPONSES):
        await save(store, number, previous)
        previous = made(number).id
    context = await timed(f"context of {DEPTH} responses", lambda: store.responses.context("key-speed", previous))
    assert isinstance(context, Context)
    assert len(context.items) == 3 * DEPTH
    await timed("input_items, a page of 20", lambda: store.responses.input_items("key-speed", previous))
    await timed("get", lambda: store.responses.get("key-speed", previous))
    await timed("item by id", lambda: store.responses.item("key-speed", item("msg", 17)["id"]))
    await timed("purge with nothing to do", lambda: store.purge(1.0), times=5)
    await accounts(store)
    await store.close()
    started = time.perf_counter()
    store = await open_store(url)
    print(f"opened again in {(time.perf_counter() - started) * 1e3:.0f} ms")
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
