"""Pictures that are served for a while under addresses that nobody can guess.

They are files in a directory, so that all processes of one machine serve them, and replicas that share the directory.
Their names are their addresses, their times of change say when they came, and together they stay below a bound.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from app.core.surface import NewId
from app.files.contract import FilesUnavailable

LIFE_SECONDS: Final = 3600.0
"""As long as OpenAI's own addresses of pictures hold."""

MOST_BYTES: Final = 512 * 1024 * 1024
"""All pictures together; the oldest are given up for new ones."""

_NAME: Final = re.compile(r"[0-9a-f]{32}")


class TemporaryPictures:
    """Keeps pictures for an hour.

    Args:
        directory: Where; it is made when it is needed.
        new_id: Makes ids that nobody can guess.
        clock: Unix seconds.
        most_bytes: All pictures together.
        life_seconds: How long each is served.
    """

    def __init__(
        self,
        directory: Path,
        new_id: NewId,
        clock: Callable[[], float],
        *,
        most_bytes: int = MOST_BYTES,
        life_seconds: float = LIFE_SECONDS,
    ) -> None:
        self._directory = directory
        self._new_id = new_id
        self._clock = clock
        self._most_bytes = most_bytes
        self._life_seconds = life_seconds

    async def keep(self, data: bytes) -> str:
        """Keep a picture; return its name.

        Raises:
            FilesUnavailable: It cannot be written, or is larger than all pictures may be.
        """
        if len(data) > self._most_bytes:
            raise FilesUnavailable
        name = self._new_id("")
        try:
            await asyncio.to_thread(self._write, name, data)
        except OSError as error:
            raise FilesUnavailable from error
        return name

    async def find(self, name: str) -> bytes | None:
        """A picture by its name; ``None`` when there is none, or none any more."""
        if _NAME.fullmatch(name) is None:
            return None
        return await asyncio.to_thread(self._read, name)

    def _write(self, name: str, data: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_room(len(data))
        part = self._directory / f"{name}.part"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        now = self._clock()
        os.utime(part, (now, now))
        part.replace(self._directory / name)

    def _read(self, name: str) -> bytes | None:
        path = self._directory / name
        try:
            if path.stat().st_mtime <= self._clock() - self._life_seconds:
                return None
            return path.read_bytes()
        except OSError:
            return None

    def _make_room(self, size: int) -> None:
        """Remove what is too old, and of the rest the oldest until there is room for so many bytes."""
        found: list[tuple[float, int, Path]] = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                # Another process may have removed it meanwhile.
                with suppress(OSError):
                    stat = entry.stat()
                    found.append((stat.st_mtime, stat.st_size, Path(entry.path)))
        oldest = self._clock() - self._life_seconds
        total = sum(bytes_ for _, bytes_, _ in found)
        for changed, bytes_, path in sorted(found, key=lambda entry: entry[0]):
            if changed > oldest and total + size <= self._most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= bytes_
