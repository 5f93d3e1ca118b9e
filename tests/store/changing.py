"""Another process that changes keys when it is told to: ``python -m tests.store.changing URL TIMES KEY...``."""

import asyncio
import sys

from msgspec import structs

from app.store.opening import open_store


def count(key):
    """How often a key has been changed by ``counted``."""
    return int(key.metadata.get("count", "0"))


def counted(key):
    return structs.replace(key, metadata={"count": str(count(key) + 1)})


async def change(store, times, names):
    for _ in range(times):
        for name in names:
            await store.keys.change(name, counted)


async def main(url, times, *names):
    store = await open_store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    await change(store, int(times), names)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
