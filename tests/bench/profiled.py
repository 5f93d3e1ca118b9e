"""Our proxy under a profiler that starts at SIGUSR1: ``python -m tests.bench.profiled FILE serve …``.

So neither the imports nor the warm-up are in the profile.
"""

from __future__ import annotations

import cProfile
import signal
import sys

from app.cli import main


def run() -> None:
    """Serve; leave the profile in a file at the end."""
    profiler = cProfile.Profile()
    signal.signal(signal.SIGUSR1, lambda *_: profiler.enable())
    path = sys.argv.pop(1)
    try:
        main(prog_name="flarelay")
    finally:
        profiler.disable()
        profiler.dump_stats(path)


if __name__ == "__main__":
    run()
