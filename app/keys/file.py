"""The file of keys, followed while it changes.

It may be replaced in any way: written in place, renamed over, or swapped as Kubernetes swaps a mounted secret, where
the path leads over symbolic links that are turned to another directory. So what is compared is the file at the end of
the path, and it is read only once it has stopped changing.
"""

from __future__ import annotations

import hashlib
import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from app.keys.declared import KeyFileError, parse

MAX_BYTES: Final = 16 * 1024 * 1024
SETTLED_SECONDS: Final = 0.04
"""A file that has not changed for so long is taken to be written."""

_MOST_WAITS: Final = 25

_Identity: TypeAlias = tuple[int, ...]

_log = logging.getLogger(__name__)


class KeyFile:
    """The keys that a file declares. Making one reads it.

    Args:
        path: The file.
        pause: Waits for so many seconds, in the thread that calls ``refresh``.

    Attributes:
        keys: The keys, as the file last was good.

    Raises:
        KeyFileError: It cannot be read, or something in it cannot be used.
    """

    def __init__(self, path: Path, pause: Callable[[float], None] = time.sleep) -> None:
        self._path = path
        self._pause = pause
        self._identity = _identity(path)
        self._again = True
        try:
            content = self._content()
            self.keys = parse(_decoded(content))
        except (KeyFileError, OSError) as error:
            raise KeyFileError(self._sentence(error)) from None
        self._digest: bytes | None = hashlib.sha256(content).digest()
        self._problem: str | None = None

    def refresh(self) -> bool:
        """Look at the file, and read it if it has changed. It blocks: call it in a thread.

        What cannot be used changes nothing, and is logged once; so is that it can be used again.

        Returns:
            Whether ``keys`` has changed.
        """
        identity = _identity(self._path)
        if identity == self._identity and not self._again:
            return False
        identity = self._settled(identity)
        # A file that is written twice within one tick of its clock looks the same: after a change, read once more.
        self._again = identity != self._identity
        self._identity = identity
        try:
            content = self._content()
            digest = hashlib.sha256(content).digest()
            if digest == self._digest and self._problem is None:
                return False
            keys = parse(_decoded(content))
        except (KeyFileError, OSError) as error:
            self._refuse(self._sentence(error))
            return False
        changed = keys != self.keys
        self.keys, self._digest = keys, digest
        if self._problem is not None:
            self._problem = None
            _log.warning("the key file %s can be used again (keys: %d)", self._path, len(keys))
        elif changed:
            _log.info("the key file %s has changed (keys: %d)", self._path, len(keys))
        return changed

    def _settled(self, identity: _Identity | None) -> _Identity | None:
        """Wait until the file does not change any more, up to a bound."""
        for _ in range(_MOST_WAITS):
            self._pause(SETTLED_SECONDS)
            before, identity = identity, _identity(self._path)
            if identity == before:
                break
        return identity

    def _content(self) -> bytes:
        # Opening a pipe would wait for its writer, so what it is comes first.
        if not stat.S_ISREG(self._path.stat().st_mode):
            raise KeyFileError("it is not a file")
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise KeyFileError(f"it is larger than {MAX_BYTES} bytes")
        return content

    def _refuse(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.error("%s (the keys that it held before stay in use)", problem)

    def _sentence(self, error: Exception) -> str:
        reason = error.strerror or error if isinstance(error, OSError) else error
        return f"the key file {self._path} cannot be used: {reason}"


def _identity(path: Path) -> _Identity | None:
    """What tells one state of a file from another; ``None`` when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise KeyFileError("it is not text in UTF-8") from None
