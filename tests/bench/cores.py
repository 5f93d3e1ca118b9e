"""One core for the proxy and the yardstick, the others for the upstream and the load.

Where cores are shared with strangers, each has its own speed at any moment; on one core both slow down together.
"""

from __future__ import annotations

import os
from typing import Final

_ALLOWED: Final = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def measured_core() -> int | None:
    """The core of what is measured; ``None`` when there are not two to choose from."""
    return _ALLOWED[-1] if len(_ALLOWED) > 1 else None


def pin_measured(pid: int = 0) -> None:
    """Put a process (by default this one) where what is measured runs; its children begin there too."""
    core = measured_core()
    if core is not None:
        os.sched_setaffinity(pid, {core})


def pin_beside(pid: int) -> None:
    """Put a process where what is measured does not run."""
    if measured_core() is not None:
        os.sched_setaffinity(pid, set(_ALLOWED[:-1]))


def unpin() -> None:
    """Let this process run anywhere again."""
    if _ALLOWED:
        os.sched_setaffinity(0, set(_ALLOWED))
