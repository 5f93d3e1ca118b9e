"""A process that counts beside others: ``python counting.py DIRECTORY MODEL TIMES``; it then waits to be ended."""

import sys
from pathlib import Path

from app.telemetry.metrics import Metrics
from tests.telemetry.records import CATALOGUE, outcome


def main():
    directory, model, times = sys.argv[1:]
    measured = Metrics(lambda: CATALOGUE, version="1", started=0.0, directory=Path(directory))
    measured.http_open.inc()
    measured.publish()
    for _ in range(int(times)):
        measured.report(outcome(upstream_model=model))
    print("counted", flush=True)
    sys.stdin.read()
    measured.close()


if __name__ == "__main__":
    main()
