"""The store's records of files, on every database."""

import pytest

from app.core.errors import BadRequest
from app.store.batching import StoredBatch
from app.store.filing import StoredFile

ME, OTHER = "key-me", "key-other"


def made(name, at=1.0, **fields):
    return StoredFile(name, fields.pop("caller", ME), at, fields.pop("purpose", "batch"), 3, f"{name}.jsonl", **fields)


async def keep(store, *files):
    for file in files:
        await store.files.begin(file.caller, file.id, file.created_at)
        assert await store.files.complete(file)


async def names(store, **how):
    page = await store.files.page(ME, 10.0, **how)
    return [file.id for file in page.files], page.has_more


async def test_a_file_is_seen_when_it_is_whole_and_by_its_owner_alone(store):
    file = made("a")
    await store.files.begin(ME, "a", 1.0)
    assert await store.files.get(ME, "a", 2.0) is None
    assert await names(store) == ([], False)
    assert await store.files.complete(file)
    assert await store.files.get(ME, "a", 2.0) == file
    assert await store.files.get(OTHER, "a", 2.0) is None
    assert not await store.files.delete(OTHER, "a", 2.0)
    assert not await store.files.complete(file), "it is whole already"


@pytest.mark.parametrize("filename", ["", "ä\x00\n/../x", "n" * 5000, "\ud800"])
async def test_whatever_a_client_calls_a_file_is_kept(store, filename):
    await keep(store, StoredFile("a", ME, 1.0, "batch", 3, filename))
    found = await store.files.get(ME, "a", 2.0)
    assert found.filename == filename.encode("utf-8", "replace").decode()


async def test_ids_of_a_clients_making_find_nothing(store):
    for odd in ("", "\x00", "x" * 10_000, "\ud800"):
        assert await store.files.get(ME, odd, 1.0) is None
        assert not await store.files.delete(ME, odd, 1.0)


async def test_lists_go_page_by_page(store):
    await keep(store, *(made(f"f{at}", float(at // 2)) for at in range(5)), made("x", 9.0, purpose="vision"))
    await keep(store, made("other", caller=OTHER))
    assert await names(store) == (["x", "f4", "f3", "f2", "f1", "f0"], False)
    assert await names(store, order="asc", limit=2) == (["f0", "f1"], True)
    assert await names(store, order="asc", limit=2, after="f1") == (["f2", "f3"], True)
    assert await names(store, after="f2", limit=2) == (["f1", "f0"], False)
    assert await names(store, purpose="vision") == (["x"], False)
    for unknown in ("other", "nothing"):
        with pytest.raises(BadRequest):
            await names(store, after=unknown)


async def test_what_has_expired_is_not_there(store):
    await keep(store, made("a", expires_at=5.0))
    assert await store.files.get(ME, "a", 4.9) is not None
    assert await store.files.get(ME, "a", 5.0) is None
    assert await names(store) == ([], False)
    assert not await store.files.delete(ME, "a", 5.0)


async def test_bytes_are_doomed_before_the_row_goes(store):
    await keep(store, made("expired", expires_at=5.0), made("deleted"), made("kept"))
    assert await store.files.delete(ME, "deleted", 2.0)
    await store.files.begin(ME, "unfinished", 1.0)
    await store.files.begin(ME, "coming", 9.0)
    await store.files.begin(ME, "discarded", 9.0)
    await store.files.discard(ME, "discarded")
    for _ in range(2):
        doomed = await store.files.doomed(10.0, unfinished_before=8.0, limit=10)
        assert sorted(doomed) == ["deleted", "discarded", "expired", "unfinished"]
    await store.files.forget(doomed)
    await store.files.forget(["kept", "coming"])
    assert await store.files.doomed(10.0, unfinished_before=8.0, limit=10) == ()
    assert await store.files.complete(made("coming", 9.0))
    assert await names(store) == (["coming", "kept"], False)


async def test_a_batch_keeps_the_bytes_that_it_reads(store):
    await keep(store, made("input"))
    await store.batches.create(StoredBatch("b", ME, 1.0, "validating", "/v1/completions", "input", 99.0))
    assert await store.files.delete(ME, "input", 2.0)
    assert await store.files.get(ME, "input", 2.0) is None
    assert await store.files.doomed(10.0, unfinished_before=0.0, limit=10) == ()
    claim = await store.batches.claim("w", 3.0, 10.0)
    assert await store.batches.reject(claim, total=0, details={}, purge_at=None)
    assert await store.files.doomed(10.0, unfinished_before=0.0, limit=10) == ("input",)
