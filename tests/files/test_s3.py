"""Files in S3: what only holds there."""

import os

import pytest

from app.files.contract import FilesError, FilesUnavailable
from app.files.opening import open_s3
from tests.files import s3_server
from tests.serving import serving

NAME = "file-0123456789abcdef"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket():
    server = s3_server.S3Server()
    with serving(server.app()) as address:
        yield server, address


def opened(address, secret=s3_server.SECRET_KEY):
    return open_s3(
        "s3://bucket/prefix/",
        endpoint=address,
        region=s3_server.REGION,
        access_key_id=s3_server.ACCESS_KEY,
        secret_access_key=secret,
    )


async def test_names_are_below_the_prefix(bucket):
    server, address = bucket
    server.objects.clear()
    writer = await opened(address).writer(NAME)
    await writer.write(b"abc")
    await writer.finish()
    assert server.objects == {f"prefix/{NAME}": b"abc"}


async def test_large_files_go_in_parts_as_they_come(bucket):
    server, address = bucket
    writer = await opened(address).writer(NAME)
    data = os.urandom(20 * MIB)
    for start in range(0, len(data), MIB):
        await writer.write(data[start : start + MIB])
    (parts,) = server.uploads.values()
    assert parts, "nothing was sent before the end"
    await writer.finish()
    assert server.objects[f"prefix/{NAME}"] == data
    assert server.uploads == {}


async def test_a_wrong_secret_is_503_for_clients(bucket):
    writer = await opened(bucket[1], secret="wrong").writer(NAME)
    await writer.write(b"abc")
    with pytest.raises(FilesUnavailable):
        await writer.finish()


async def test_a_server_that_is_away_is_503():
    with pytest.raises(FilesUnavailable):
        await opened("http://127.0.0.1:9").delete(NAME)


@pytest.mark.parametrize("url", ["", "bucket", "http://bucket", "s3://", "s3://bucket/x?y"])
def test_other_places_are_refused(url):
    with pytest.raises(FilesError):
        open_s3(url)
