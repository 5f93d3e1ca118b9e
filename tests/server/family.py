"""Two workers that serve next to nothing: ``python -m tests.server.family WHAT``, with what they do at their start.

``serve`` serves ``tests.server.inside.Application``; ``fail`` ends with status 2 and a word; ``die`` is killed.
"""

import os
import signal
import sys

from app.api.drain import Drain
from app.server import Listeners, WorkersError, run, run_workers
from tests.server.inside import Application


def work(listener, parent):
    if sys.argv[1] == "fail":
        print("wrong", file=sys.stderr)
        sys.exit(2)
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    drain = Drain()
    run(Application(drain), listener, drain_seconds=30, drain=drain, parent=parent)


def beside(parent):
    drain = Drain()
    run(Application(drain), Listeners("127.0.0.1", 0, 1).take(0), drain_seconds=1, drain=drain, parent=parent)


def main():
    listeners = Listeners("127.0.0.1", 0, 2)
    print(f"http://127.0.0.1:{listeners.address[1]}", file=sys.stderr, flush=True)
    try:
        run_workers(2, work, listeners, drain_seconds=30, beside=beside)
    except WorkersError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
