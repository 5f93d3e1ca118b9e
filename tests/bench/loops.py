"""What the benchmark's own processes run on: the cheapest event loop there is, and as many open files as they may."""

from __future__ import annotations

import asyncio
import resource


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a loop; without uvloop, Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def allow_many_files() -> None:
    """Let this process have as many open files as it may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
