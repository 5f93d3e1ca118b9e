"""Files in a store that speaks S3: AWS, R2, MinIO, Ceph and others. Needs the extra ``s3``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from app.files.contract import PIECE_BYTES, BlobMissing, FilesError, FilesUnavailable, checked

PART_BYTES: Final = 8 * 1024 * 1024
"""How much is sent at once. S3 takes parts of 5 MiB and more, and at most 10,000 of them."""

PARTS_AT_ONCE: Final = 2

_RETRY_SECONDS = 20
_RETRIES = 5


class S3Place(Struct, frozen=True):
    """Where the files are.

    Attributes:
        url: The bucket, and what all names begin with: ``s3://bucket/prefix``.
        endpoint: The server; ``None`` for AWS.
        region: Its region; ``None`` for what the environment says.
        access_key_id: Who we are; ``None`` for what the environment or the machine says.
        secret_access_key: What proves it.
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None


class S3Blobs:
    """Files in a bucket.

    Args:
        place: Where.

    Raises:
        FilesError: The place cannot be one.
    """

    __slots__ = ("_store",)

    def __init__(self, place: S3Place) -> None:
        self._store = _store(place)

    async def writer(self, name: str) -> S3Writer:
        """Begin to write."""
        return S3Writer(
            obstore.open_writer_async(self._store, checked(name), buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        )

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read an object."""
        if length == 0:
            return
        options: Any = None
        if length is not None:
            options = {"range": (start, start + length)}
        elif start:
            options = {"range": {"offset": start}}
        with _told():
            found = await obstore.get_async(self._store, checked(name), options=options)
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)

    async def delete(self, name: str) -> None:
        """Delete an object."""
        try:
            with _told():
                await obstore.delete_async(self._store, checked(name))
        except BlobMissing:
            return


class S3Writer:
    """An object being written: in parts, as soon as it is larger than one.

    Args:
        file: What sends them.
    """

    __slots__ = ("_file",)

    def __init__(self, file: obstore.AsyncWritableFile) -> None:
        self._file: obstore.AsyncWritableFile | None = file

    async def write(self, piece: bytes) -> None:
        """Take some more."""
        assert self._file is not None  # noqa: S101 - neither finished nor abandoned
        with _told():
            await self._file.write(piece)

    async def finish(self) -> None:
        """Put the parts together."""
        assert self._file is not None  # noqa: S101 - neither finished nor abandoned
        with _told():
            await self._file.close()
        self._file = None

    async def abandon(self) -> None:
        """Never put the parts together; the bucket's rule for unfinished uploads removes them."""
        self._file = None


def _store(place: S3Place) -> S3Store:
    parts = urlsplit(place.url)
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
        raise FilesError("the place of files must be s3://bucket or s3://bucket/prefix")
    given = {
        "endpoint": place.endpoint,
        "region": place.region,
        "access_key_id": place.access_key_id,
        "secret_access_key": place.secret_access_key,
    }
    # Files are deleted one by one, and not every server knows the other way.
    config: Any = {"disable_bulk_delete": True, **{name: value for name, value in given.items() if value is not None}}
    try:
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=config,
            client_options={"allow_http": (place.endpoint or "").startswith("http://")},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
        )
    except BaseError as error:
        raise FilesError("the place of files cannot be used: check the bucket, the endpoint and the region") from error


@contextmanager
def _told() -> Iterator[None]:
    """Failures of the store as those of the contract.

    Raises:
        BlobMissing: There is no such object.
        FilesUnavailable: Anything else.
    """
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise BlobMissing from error
    except (BaseError, OSError) as error:
        raise FilesUnavailable from error
