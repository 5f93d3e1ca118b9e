"""Workers that cannot do their work, for a reason that must not be told: ``python -m tests.telemetry.dying``."""

import os

from app.server import Listeners, WorkersError, configure_logging, run_workers
from app.settings import load


def work(listener, parent):
    raise RuntimeError(os.environ["PROMPT"])


if __name__ == "__main__":
    configure_logging(load({"offline": True, "log_format": "pretty"}, {}))
    try:
        run_workers(1, work, Listeners("127.0.0.1", 0, 1), drain_seconds=0.1)
    except WorkersError as error:
        raise SystemExit(1) from error
