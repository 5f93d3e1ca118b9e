"""What keeps the bytes of files, and what it can be asked: one contract for every place.

Names are ids that this proxy has made. What is being written is not there before ``finish`` has returned, and is there
for good after it; writing a name again replaces it as one step.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

from app.core.errors import Overloaded

PIECE_BYTES: Final = 256 * 1024
"""How much is read at once."""

_NAME = re.compile(r"file-[A-Za-z0-9]{1,64}")


class FilesUnavailable(Overloaded):
    """503: the disk is full, or the store of files does not answer."""

    code = "files_unavailable"
    default_message = "The storage of files is not available at the moment. Please try again later."


class FilesError(Exception):
    """The place of files cannot be used; the message says why."""


class BlobMissing(Exception):
    """There are no bytes under this name."""


class BlobWriter(Protocol):
    """Bytes on their way. Use: ``write``, then ``finish`` or ``abandon``."""

    async def write(self, piece: bytes) -> None:
        """Take some more.

        Raises:
            FilesUnavailable: They cannot be written.
        """

    async def finish(self) -> None:
        """Have all of them there for good, under their name.

        Raises:
            FilesUnavailable: They cannot be written.
        """

    async def abandon(self) -> None:
        """Forget them. Safe to call again, and after ``finish``, when it does nothing."""


class Blobs(Protocol):
    """A place for bytes."""

    async def writer(self, name: str) -> BlobWriter:
        """Begin to write.

        Raises:
            FilesUnavailable: Nothing can be written.
        """

    def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Read from ``start`` on, ``length`` bytes or to the end, in pieces of bounded size.

        Raises:
            BlobMissing: There is nothing under this name; raised at the first piece.
            FilesUnavailable: It cannot be read.
        """

    async def delete(self, name: str) -> None:
        """Delete what is under a name, if anything is.

        Raises:
            FilesUnavailable: It cannot be deleted.
        """


def checked(name: str) -> str:
    """A name that may become a path.

    Raises:
        ValueError: It is not one of ours: a defect, since no client ever chooses a name.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a file of this proxy")
    return name
