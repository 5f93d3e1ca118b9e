"""The numbers behind the metrics: a row of cells for each process, in which every series has its place.

In a process alone the row is a list. Where several processes serve one port, each row is a file that is mapped into
memory: to count is a plain addition there too, whoever is asked sees the rows of all, and nothing of what a process has
counted is lost when it is killed. The next process that starts goes on with its row, so the sums never fall.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final, NamedTuple

from app.telemetry.families import FAMILIES, Family
from app.wire.codec import decode, encode

CAPACITY: Final = 32_768
"""Cells of one row. Labels are bounded, so this is a second bound: what has no place is not counted."""

SPARE: Final = 64
"""Cells at the beginning, where those series count that have no place."""

_BYTES: Final = CAPACITY * 8
_IN_MEMORY: Final = "/dev/shm"  # noqa: S108 - what is made there has a name that nobody knows before

_log = logging.getLogger(__name__)


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A new directory for processes that count together, in memory where the platform can; gone at the end.

    To be opened by the one that starts them.
    """
    with ExitStack() as stack:
        for place in (_IN_MEMORY, None):
            try:
                made = TemporaryDirectory(prefix="flarelay-metrics-", dir=place, ignore_cleanup_errors=True)
            except OSError:
                if place is None:
                    raise
            else:
                yield Path(stack.enter_context(made))
                return


class Series(NamedTuple):
    """One series, as one process has counted it.

    Attributes:
        family: Which metric.
        labels: The values of its labels.
        numbers: One, or those of a histogram.
        own: It was counted by the process that reads it.
    """

    family: Family
    labels: tuple[str, ...]
    numbers: Sequence[float]
    own: bool


class Cells:
    """The row of one process, and how to read those of the others.

    To be made in the process that counts in it, never before a fork.

    Args:
        directory: Where the processes that serve together have their rows (``shared_directory``), empty when the
            first of them starts; ``None`` for a process alone.

    Attributes:
        values: The cells.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._places: dict[tuple[str, tuple[str, ...]], int] = {}
        self._next = SPARE
        self._full = False
        self._alone = [0.0] * SPARE
        self._shared = _SharedRow(directory) if directory is not None else None
        self.values: list[float] | memoryview[float] = self._alone
        if self._shared is not None:
            self.values = self._shared.values
            self._take_over(self._shared)

    def place(self, family: Family, labels: tuple[str, ...]) -> int:
        """The first cell of a series; it is made when it is first asked for."""
        key = (family.name, labels)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._new(family, labels)
        return place

    def rows(self) -> Iterator[Series]:
        """All series: this process's, then those of the others that serve with it, or did."""
        for (name, labels), place in self._places.items():
            family = FAMILIES[name]
            if place >= SPARE:
                yield Series(family, labels, self.values[place : place + family.width], own=True)
        if self._shared is not None:
            yield from self._shared.others()

    def close(self) -> None:
        """Let go of the row, for another process to go on with. What is counted all the same does no harm."""
        if self._shared is not None:
            self._full = True
            self._shared.close()

    def _new(self, family: Family, labels: tuple[str, ...]) -> int:
        place = self._next
        if self._full or place + family.width > CAPACITY:
            if not self._full:
                self._full = True
                _log.warning("there are too many series of metrics; those that come now are not counted")
            return 0
        self._next += family.width
        if self._shared is None:
            self._alone.extend([0.0] * family.width)
        else:
            self._shared.note(family.name, labels, place)
        return place

    def _take_over(self, row: _SharedRow) -> None:
        """Go on with what an earlier process has counted; what it only stated is not true any more."""
        for family, labels, place in row.noted():
            self._places[family.name, labels] = place
            self._next = max(self._next, place + family.width)
            if family.kind == "gauge":
                self.values[place] = 0.0


class _SharedRow:
    """One row as a file, and beside it the list of what is where.

    A lock tells which rows have a process: the system gives it back when one dies, however it dies.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for number in count():
            self._path = directory / f"{number}.cells"
            self._file = self._path.open("a+b")
            if _lock(self._file, alone=True):
                break
            self._file.close()
        self._file.truncate(_BYTES)
        self.values = memoryview(mmap.mmap(self._file.fileno(), _BYTES)).cast("d")
        self._list = _list_of(self._path).open("a+b")
        # A process that was killed may have left half a line.
        self._list.truncate(len(_whole_lines(_list_of(self._path))))

    def note(self, name: str, labels: tuple[str, ...], place: int) -> None:
        """Write down where a series is, before anything is counted there."""
        self._list.write(encode([name, labels, place]) + b"\n")
        self._list.flush()

    def noted(self) -> Iterator[tuple[Family, tuple[str, ...], int]]:
        """What is in this row already."""
        return _noted(self._path)

    def others(self) -> Iterator[Series]:
        """The series in the rows of the others."""
        for path in sorted(self._directory.glob("*.cells")):
            if path == self._path:
                continue
            with path.open("rb") as file:
                alive = not _lock(file, alone=False)
                row = file.read()
            if len(row) < _BYTES:
                continue
            values = memoryview(row).cast("d")
            for family, labels, place in _noted(path):
                if alive or family.kind != "gauge":
                    yield Series(family, labels, values[place : place + family.width], own=False)

    def close(self) -> None:
        """Give the lock back; what was counted stays in the file."""
        # Said, and not left to the closing: the mapping has the file open too, and lives as long as it is counted in.
        _unlock(self._file)
        self._list.close()
        self._file.close()


def _list_of(path: Path) -> Path:
    return path.with_suffix(".series")


def _whole_lines(path: Path) -> bytes:
    head, newline, _ = path.read_bytes().rpartition(b"\n")
    return head + newline


def _noted(path: Path) -> Iterator[tuple[Family, tuple[str, ...], int]]:
    lines = _whole_lines(_list_of(path)).splitlines() if _list_of(path).exists() else []
    for name, labels, place in map(decode, lines):
        family = FAMILIES.get(name)
        if family is not None:
            yield family, tuple(labels), place


def _lock(file: BinaryIO, *, alone: bool) -> bool:
    """Try to lock a row; false when a process holds it."""
    import fcntl  # noqa: PLC0415 - absent on Windows, where one process serves

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlock(file: BinaryIO) -> None:
    import fcntl  # noqa: PLC0415 - as above

    fcntl.flock(file, fcntl.LOCK_UN)
