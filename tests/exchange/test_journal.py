"""The log of what is streamed in the background: nothing of it is lost at the end, whatever the store is busy with."""

import asyncio
from types import SimpleNamespace

import pytest

from app.exchange.background import Bells, Journal
from app.store.contract import StoreUnavailable

CLAIM = SimpleNamespace(response=SimpleNamespace(id="resp_1"))


class SlowStore:
    """Logs when it is let."""

    def __init__(self):
        self.work = self
        self.may = asyncio.Event()
        self.asked = asyncio.Event()
        self.logged = []
        self.away = False

    async def append_events(self, claim, frames, now):
        self.asked.set()
        await self.may.wait()
        if self.away:
            raise StoreUnavailable
        self.logged += frames
        return True


def journal(store):
    return Journal(store, CLAIM, Bells(), lambda: 0.0)


async def test_the_end_waits_for_what_is_being_logged():
    store = SlowStore()
    log = journal(store)
    log.add([(0, b"a"), (1, b"b")])
    writing = asyncio.create_task(log.write())
    await store.asked.wait()
    log.add([(2, b"c")])
    ending = asyncio.create_task(log.take())
    await asyncio.sleep(0)
    assert not ending.done()
    store.may.set()
    assert await ending == [(2, b"c")]
    assert await writing
    assert store.logged == [(0, b"a"), (1, b"b")]


async def test_what_could_not_be_logged_comes_with_the_end():
    store = SlowStore()
    store.away = True
    store.may.set()
    log = journal(store)
    log.add([(0, b"a")])
    with pytest.raises(StoreUnavailable):
        await log.write()
    log.add([(1, b"b")])
    assert await log.take() == [(0, b"a"), (1, b"b")]
    assert not log.began
