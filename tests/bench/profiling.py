"""Where the CPU time of a case goes, by function."""

from __future__ import annotations

import io
import pstats
import signal
import tempfile
import time
from pathlib import Path

from tests.bench.figures import OURS
from tests.bench.measure import Target, warm
from tests.bench.plan import Case
from tests.bench.processes import Loader, proxy

TOP = 25
LOADS = 8


def profile(case: Case, upstream_port: int, loader: Loader) -> str:
    """Run a case with the proxy under cProfile and tell the functions that took most.

    The profiler slows calls down, small ones most, so its shares are hints and its times are not the table's.
    """
    with tempfile.TemporaryDirectory(prefix="flarelay-profile-") as directory:
        path = Path(directory, "profile")
        with proxy(upstream_port, ("tests.bench.profiled", str(path))) as profiled:
            target = Target(OURS, "127.0.0.1", profiled.port, "/v1", (profiled.process.pid,))
            warm(target, case, loader)
            profiled.process.send_signal(signal.SIGUSR1)
            time.sleep(0.1)
            load = target.load(case)
            for _ in range(LOADS):
                loader.send(load)
        text = io.StringIO()
        statistics = pstats.Stats(str(path), stream=text)
    statistics.sort_stats("tottime").print_stats(TOP)
    lines = [line for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([f"{case.name}: {LOADS * load.requests} requests", *lines[1:]])
