"""Files are forgotten: their bytes first, then their rows."""

import contextlib
import itertools

import pytest

from app.exchange.file_purging import MOST, UNFINISHED_SECONDS, purge_files
from app.files.contract import BlobMissing, FilesUnavailable
from app.files.opening import open_local
from app.store.filing import StoredFile
from app.store.opening import open_store

ME = "key-me"


@pytest.fixture
async def store(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    yield store
    await store.close()


@pytest.fixture
def blobs(tmp_path):
    numbers = itertools.count()
    return open_local(tmp_path / "files", lambda prefix: f"{prefix}{next(numbers)}", lambda: 0.0)


async def keep(store, blobs, name, **fields):
    writer = await blobs.writer(name)
    await writer.write(b"abc")
    await writer.finish()
    await store.files.begin(ME, name, 1.0)
    assert await store.files.complete(StoredFile(name, ME, 1.0, "batch", 3, "x", **fields))


async def names(blobs, *candidates):
    there = []
    for name in candidates:
        with contextlib.suppress(BlobMissing):
            there += [name async for _ in blobs.read(name)]
    return there


async def test_what_is_deleted_expired_or_never_finished_goes(store, blobs):
    await keep(store, blobs, "file-kept")
    await keep(store, blobs, "file-deleted")
    await keep(store, blobs, "file-expired", expires_at=50.0)
    await store.files.begin(ME, "file-unfinished", 1.0)
    await store.files.delete(ME, "file-deleted", 2.0)
    assert await purge_files(store, blobs, 10.0) == 1
    assert await purge_files(store, blobs, 60.0) == 1
    assert await purge_files(store, blobs, 2.0 + UNFINISHED_SECONDS) == 1
    assert await purge_files(store, blobs, 2.0 + UNFINISHED_SECONDS) == 0
    assert await names(blobs, "file-kept", "file-deleted", "file-expired") == ["file-kept"]


async def test_many_go_in_steps(store, blobs):
    for number in range(MOST + 5):
        await store.files.begin(ME, f"file-{number}", 1.0)
        await store.files.discard(ME, f"file-{number}")
    assert await purge_files(store, blobs, 2.0) == MOST
    assert await purge_files(store, blobs, 2.0) == 5


async def test_a_row_stays_while_its_bytes_do(store, blobs):
    class Away:
        async def delete(self, name):
            raise FilesUnavailable

    await keep(store, blobs, "file-deleted")
    await store.files.delete(ME, "file-deleted", 2.0)
    with pytest.raises(FilesUnavailable):
        await purge_files(store, Away(), 10.0)
    assert await purge_files(store, blobs, 10.0) == 1
