"""What holds of files wherever their bytes are."""

import os
import time

import pytest

from app.files.contract import BlobMissing
from app.files.opening import open_local, open_s3
from tests.files import s3_server
from tests.serving import serving

NAME = "file-0123456789abcdef"


@pytest.fixture(scope="module")
def bucket():
    server = s3_server.S3Server()
    with serving(server.app()) as address:
        yield server, address


@pytest.fixture(params=["local", "s3"])
def blobs(request, tmp_path):
    if request.param == "local":
        return open_local(tmp_path / "files", lambda prefix: prefix + os.urandom(8).hex(), time.time)
    server, address = request.getfixturevalue("bucket")
    server.objects.clear()
    return open_s3(
        "s3://bucket/some/prefix",
        endpoint=address,
        region=s3_server.REGION,
        access_key_id=s3_server.ACCESS_KEY,
        secret_access_key=s3_server.SECRET_KEY,
    )


async def put(blobs, data, name=NAME, step=100_000):
    writer = await blobs.writer(name)
    for start in range(0, len(data), step):
        await writer.write(data[start : start + step])
    await writer.finish()


async def read(blobs, *where, name=NAME):
    return b"".join([piece async for piece in blobs.read(name, *where)])


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 + 1, 20 * 1024 * 1024])
async def test_what_was_written_is_read(blobs, size):
    data = os.urandom(size)
    await put(blobs, data)
    assert await read(blobs) == data


async def test_parts_are_read(blobs):
    await put(blobs, b"0123456789")
    assert await read(blobs, 3, 4) == b"3456"
    assert await read(blobs, 3) == b"3456789"
    assert await read(blobs, 8, 100) == b"89"
    assert await read(blobs, 3, 0) == b""


async def test_nothing_is_there_before_it_is_whole(blobs):
    writer = await blobs.writer(NAME)
    await writer.write(b"x" * 3_000_000)
    with pytest.raises(BlobMissing):
        await read(blobs)
    await writer.finish()
    assert len(await read(blobs)) == 3_000_000


async def test_what_is_abandoned_never_comes(blobs):
    writer = await blobs.writer(NAME)
    await writer.write(b"x" * 20_000_000)
    await writer.abandon()
    await writer.abandon()
    with pytest.raises(BlobMissing):
        await read(blobs)


async def test_abandoning_after_the_end_does_nothing(blobs):
    writer = await blobs.writer(NAME)
    await writer.write(b"abc")
    await writer.finish()
    await writer.abandon()
    assert await read(blobs) == b"abc"


async def test_writing_again_replaces(blobs):
    await put(blobs, b"old and long")
    await put(blobs, b"new")
    assert await read(blobs) == b"new"


async def test_two_who_write_the_same_name_do_not_mix(blobs):
    first, second = await blobs.writer(NAME), await blobs.writer(NAME)
    await first.write(b"a" * 10)
    await second.write(b"b" * 5)
    await first.finish()
    await second.finish()
    assert await read(blobs) == b"b" * 5


async def test_what_is_deleted_is_missing(blobs):
    await put(blobs, b"abc")
    await blobs.delete(NAME)
    await blobs.delete(NAME)
    with pytest.raises(BlobMissing):
        await read(blobs)


@pytest.mark.parametrize("name", ["", "../x", "file-../x", "file-a/b", "FILE-a", "file-" + "a" * 65])
async def test_no_other_names_are_taken(blobs, name):
    with pytest.raises(ValueError, match="not the name"):
        await blobs.writer(name)
    with pytest.raises(ValueError, match="not the name"):
        await read(blobs, name=name)
