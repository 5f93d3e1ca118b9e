"""What a process has cost, as the operating system counts it. Linux only."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


def cpu_seconds(pids: Iterable[int]) -> float:
    """The CPU time of processes so far, user and system, all threads; in nanosecond steps."""
    # The clock of another process, as clock_getcpuclockid(3) makes its number: /proc's own figures count in 10 ms.
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident_kib(pids: Iterable[int]) -> int:
    """The resident memory of processes, shared libraries included."""
    pages = sum(int((_PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def listeners(port: int) -> tuple[int, ...]:
    """The processes that listen on a port of this machine, with their descendants.

    Those of other users are not seen.
    """
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening_inodes(table, port)}
    if not sockets:
        return ()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for directory in _PROC.iterdir():
        if not directory.name.isdigit():
            continue
        pid = int(directory.name)
        try:
            parents[pid] = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            if any(str(entry.readlink()) in sockets for entry in (directory / "fd").iterdir()):
                found.add(pid)
        except OSError:
            # It has ended, or is another user's.
            continue
    return tuple(pid for pid in parents if _descends(pid, parents, found))


def _listening_inodes(table: str, port: int) -> list[str]:
    try:
        lines = (_PROC / "net" / table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port]


def _descends(pid: int, parents: dict[int, int], found: set[int]) -> bool:
    while pid in parents:
        if pid in found:
            return True
        pid = parents[pid]
    return False
