"""Files on a disk that this process sees: one directory, shared by replicas or not.

A file is written beside its name, brought to the disk, and then given its name, so that under a name there are always
whole files. What a killed process left half written is removed a day later.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from app.core.surface import NewId
from app.files.contract import PIECE_BYTES, BlobMissing, FilesError, FilesUnavailable, checked

BUFFER_BYTES: Final = 1024 * 1024
"""How much is collected before it is written: each write is a hop to another thread and back."""

LEFTOVER_SECONDS: Final = 86_400.0

_PART = ".part"


class LocalBlobs:
    """Files in a directory.

    Args:
        directory: Where; it is made.
        new_id: Makes the names of what is being written.
        clock: Unix seconds.

    Raises:
        FilesError: The directory cannot be made or written.
    """

    __slots__ = ("_directory", "_new_id")

    def __init__(self, directory: Path, new_id: NewId, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._new_id = new_id
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_leftovers(directory, clock() - LEFTOVER_SECONDS)
        except OSError as error:
            raise FilesError(f"the directory of files {directory} cannot be used: {error.strerror or error}") from error

    async def writer(self, name: str) -> LocalWriter:
        """Begin to write."""
        path = self._directory / checked(name)
        part = self._directory / f"{name}.{self._new_id('')}{_PART}"
        with _told():
            file = await asyncio.to_thread(_create, part)
        return LocalWriter(file, part, path)

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read a file."""
        path = self._directory / checked(name)
        with _told():
            file = await asyncio.to_thread(_open, path, start)
            try:
                left = length
                while left is None or left > 0:
                    piece = await asyncio.to_thread(file.read, PIECE_BYTES if left is None else min(left, PIECE_BYTES))
                    if not piece:
                        return
                    if left is not None:
                        left -= len(piece)
                    yield piece
            finally:
                file.close()

    async def delete(self, name: str) -> None:
        """Delete a file."""
        path = self._directory / checked(name)
        with _told():
            await asyncio.to_thread(path.unlink, missing_ok=True)


class LocalWriter:
    """A file being written.

    Args:
        file: The open file.
        part: What it is called meanwhile.
        path: What it will be called.
    """

    __slots__ = ("_buffer", "_file", "_part", "_path")

    def __init__(self, file: BinaryIO, part: Path, path: Path) -> None:
        self._file = file
        self._part = part
        self._path = path
        self._buffer = bytearray()

    async def write(self, piece: bytes) -> None:
        """Take some more."""
        self._buffer += piece
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Bring it to the disk, and give it its name."""
        await self._flush()
        with _told():
            await asyncio.to_thread(_seal, self._file, self._part, self._path)

    async def abandon(self) -> None:
        """Remove what was written."""
        self._buffer.clear()
        await asyncio.to_thread(_discard, self._file, self._part)

    async def _flush(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        with _told():
            await asyncio.to_thread(self._file.write, data)


@contextmanager
def _told() -> Iterator[None]:
    """Failures of the disk as those of the contract.

    Raises:
        BlobMissing: There is no such file.
        FilesUnavailable: Anything else.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing from error
    except OSError as error:
        raise FilesUnavailable from error


def _create(path: Path) -> BinaryIO:
    return open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _open(path: Path, start: int) -> BinaryIO:
    file = path.open("rb", buffering=0)
    file.seek(start)
    return file


def _seal(file: BinaryIO, part: Path, path: Path) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
    part.replace(path)
    _sync_directory(path.parent)


def _discard(file: BinaryIO, part: Path) -> None:
    # What is still to be written out may not find room; and the name may be the file's own by now.
    with suppress(OSError):
        file.close()
    with suppress(OSError):
        part.unlink()


def _sync_directory(directory: Path) -> None:
    """Bring the new name to the disk as well; where directories cannot be opened (Windows), the system does it."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(directory: Path, before: float) -> None:
    for path in directory.glob(f"*{_PART}"):
        # Another replica may be quicker.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                path.unlink()
