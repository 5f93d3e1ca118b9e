"""Choosing where files are. The library for S3 is loaded only where it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.core.surface import NewId
from app.files.contract import Blobs, FilesError
from app.files.local import LocalBlobs


def open_local(directory: Path, new_id: NewId, clock: Callable[[], float]) -> Blobs:
    """Files in a directory.

    Raises:
        FilesError: It cannot be made or written.
    """
    return LocalBlobs(directory, new_id, clock)


def open_s3(
    url: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
) -> Blobs:
    """Files in a bucket; see ``app.files.s3.S3Place``.

    Raises:
        FilesError: The URL is none of a bucket, or the library is not installed.
    """
    try:
        from app.files.s3 import S3Blobs, S3Place  # noqa: PLC0415 - loaded only where it is used
    except ModuleNotFoundError as error:
        raise FilesError("files are to be in S3, and its library is not installed: pip install flarelay[s3]") from error
    return S3Blobs(S3Place(url, endpoint, region, access_key_id, secret_access_key))
