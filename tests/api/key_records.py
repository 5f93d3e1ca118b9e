"""The keys of a store, in memory."""

from app.store.accounts import KeyChanges, KeyExistsError
from app.store.contract import StoreUnavailable


class MemoryKeys:
    def __init__(self):
        self.kept = {}
        self.revision = 0
        self.revisions = {}
        self.away = False

    def _check(self):
        if self.away:
            raise StoreUnavailable

    def _put(self, key):
        self.revision += 1
        self.kept[key.id] = key
        self.revisions[key.id] = self.revision

    async def add(self, key):
        self._check()
        if key.id in self.kept:
            raise KeyExistsError
        self._put(key)

    async def find(self, key_id):
        self._check()
        return self.kept.get(key_id)

    async def all(self):
        self._check()
        return tuple(sorted(self.kept.values(), key=lambda key: (key.created_at, key.id)))

    async def change(self, key_id, change):
        self._check()
        if key_id not in self.kept:
            return None
        change(self.kept[key_id])
        key = change(self.kept[key_id])
        self._put(key)
        return key

    async def changes(self, since):
        self._check()
        return KeyChanges(
            self.revision, tuple(key for key_id, key in self.kept.items() if self.revisions[key_id] > since)
        )
