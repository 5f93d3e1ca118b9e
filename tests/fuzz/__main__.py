"""Fuzzing: ``python -m tests.fuzz readers`` and ``python -m tests.fuzz bodies``, from the repository's root.

``readers`` feeds mutated streams, bodies, failures and events into the readers and on into the writers, without a
network. ``bodies`` sends mutated requests to a proxy in front of the emulator, in one process, or to one that runs
elsewhere. Both print what they did, and stop with status 1 at what should not be, saying how to meet it again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.fuzz import bodies, readers


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz; the exit status is 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    kinds = parser.add_subparsers(dest="what", required=True)
    for name, option, default in (("readers", "--inputs", 1_000_000), ("bodies", "--requests", 10_000)):
        kind = kinds.add_parser(name)
        kind.add_argument(option, dest="count", type=int, default=default, help=f"how many (default: {default:,})")
        kind.add_argument("--seed", type=int, default=1)
        kind.add_argument("--case", type=int, help="only this one, with the whole traceback")
        kind.add_argument("--keep-going", action="store_true", help="do not stop at a finding; show the first of each")
    kinds.choices["readers"].add_argument("--processes", type=int, default=1)
    kinds.choices["bodies"].add_argument("--url", help="a proxy that runs elsewhere")
    kinds.choices["bodies"].add_argument("--key", default="any", help="its key")
    kinds.choices["bodies"].add_argument("--admin-key", help="its key for /admin; without one /admin is left alone")
    options = parser.parse_args(arguments)
    return _readers(options) if options.what == "readers" else _bodies(options)


def _readers(options: argparse.Namespace) -> int:
    if options.case is not None:
        finding, inputs, seconds, kind = readers.one(options.seed, options.case)
        print(f"case {options.case}: {kind}, {inputs} inputs, {seconds * 1000:.1f} ms")
        if finding is not None:
            print(finding.trace, readers.told(finding, options.seed), sep="\n")
        return int(finding is not None)
    began = time.monotonic()
    tally = readers.fuzz(options.count, options.seed, options.processes, keep_going=options.keep_going, say=_progress())
    print(readers.summary(tally, options.seed, time.monotonic() - began, options.processes))
    return int(bool(tally.findings))


def _bodies(options: argparse.Namespace) -> int:
    return bodies.main(options, _progress())


def _progress(seconds: float = 10.0):
    """Says a line now and then."""
    last = time.monotonic()

    def say(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
