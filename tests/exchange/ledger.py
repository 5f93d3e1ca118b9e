"""A ledger in memory, which can be away and can be held up in the middle."""

import asyncio

from msgspec.structs import replace

from app.store.contract import StoreUnavailable

FIGURES = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "neurons")


class MemoryLedger:
    def __init__(self):
        self.kept = {}
        self.added = []
        self.purged = []
        self.away = False
        self.fails_after = None
        self.gates = []

    def hold(self):
        """Make the next call wait, before or after what it does, until the event is set."""
        gate = asyncio.Event()
        self.gates.append(gate)
        return gate

    async def _pass(self):
        await asyncio.sleep(0)
        if self.gates:
            await self.gates.pop(0).wait()
        if self.away:
            raise StoreUnavailable

    async def add(self, rows):
        await self._pass()
        if self.fails_after is not None:
            self.fails_after -= 1
            if self.fails_after < 0:
                raise StoreUnavailable
        assert len({place(row) for row in rows}) == len(rows)
        self.added.append(list(rows))
        for row in rows:
            known = self.kept.get(place(row))
            figures = {name: getattr(row, name) + getattr(known, name, 0) for name in FIGURES}
            self.kept[place(row)] = replace(row, **figures)
        await asyncio.sleep(0)

    async def rows(self, since, until, *, caller=None, model=None):
        await self._pass()
        return tuple(
            row
            for _, row in sorted(self.kept.items())
            if since <= row.day <= until and caller in {None, row.caller} and model in {None, row.model}
        )

    async def neurons(self, since, *, caller=None):
        return sum(row.neurons for row in await self.rows(since, "9999-12-31", caller=caller))

    async def purge(self, before, limit):
        await self._pass()
        old = [key for key, row in sorted(self.kept.items()) if row.day < before][:limit]
        for key in old:
            del self.kept[key]
        self.purged.append(len(old))
        return len(old)


def place(row):
    return (row.day, row.caller, row.model, row.source)
