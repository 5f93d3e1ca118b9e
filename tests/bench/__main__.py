"""What the proxy costs: ``python -m tests.bench``, from the repository's root. Linux, loopback only.

Our proxy runs as a process of its own between an upstream that answers from prepared bytes and a load that checks every
answer. What is counted is the CPU time of the proxy, as the operating system tells it: wall time on a shared machine is
noise. Measurements of all targets are interleaved in rounds; the table holds medians.

Another OpenAI-compatible proxy on this machine can be measured in the same rounds. Start it on top of the benchmark's
upstream, which takes a fixed port with ``--upstream-port`` (its base URL is then
``http://127.0.0.1:PORT/client/v4/accounts/0123456789abcdef0123456789abcdef/ai/v1``), and name its base URL with
``--against``. Its processes are found by their port. Ours is kept on the last core, beside the calibration loop: start
the other with ``taskset -c`` for the same treatment. ``tests/bench/peers`` has what nginx and LiteLLM's proxy need:

    taskset -c 1 nginx -c "$PWD/tests/bench/peers/nginx.conf" -p /tmp &
    taskset -c 1 litellm --config tests/bench/peers/litellm.yaml --host 127.0.0.1 --port 18902 --num_workers 1 &
    python -m tests.bench --upstream-port 18900 --against http://127.0.0.1:18901/v1 --against http://127.0.0.1:18902/v1
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from tests.bench import budget
from tests.bench.account import listeners
from tests.bench.answers import MODEL
from tests.bench.features import measure, write_features
from tests.bench.figures import FIGURES
from tests.bench.measure import Target, run
from tests.bench.plan import FULL, GROUPS, QUICK, cases
from tests.bench.processes import KEY, BenchError, loader, upstream
from tests.bench.profiling import profile
from tests.bench.table import write_table

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status is 1 when something is past its budget, 2 when it could not be run."""
    # A termination unwinds like an interrupt, so that no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = _parser()
    options = parser.parse_args(arguments)
    groups = frozenset(options.only or GROUPS)
    if unknown := groups - set(GROUPS):
        parser.error(f"--only {', '.join(sorted(unknown))}: choose from {', '.join(GROUPS)}")
    if options.write_budgets and groups != frozenset(GROUPS):
        parser.error("--write-budgets needs every figure: run it without --only")
    plan = QUICK if options.quick else FULL
    try:
        if options.features:
            with upstream(options.upstream_port) as upstream_port, loader() as load:
                print(write_features(measure(plan, upstream_port, load, _say)))
            return 0
        with upstream(options.upstream_port) as upstream_port, loader() as load:
            peers = [_peer(url, options.model, options.key) for url in options.against]
            if options.profile:
                for case in cases(plan, groups):
                    print(profile(case, upstream_port, load), end="\n\n", flush=True)
                return 0
            samples = run(plan, groups, upstream_port, peers, load, _say)
        budgets = budget.read_budgets(budget.FILE.read_text()) if budget.FILE.exists() else {}
    except (BenchError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(write_table(samples, [peer.name for peer in peers], budgets))
    for peer in peers:
        for case_name, reason in peer.unserved.items():
            print(f"{peer.name} could not do {case_name}: {reason}", file=sys.stderr)
    if options.write_budgets:
        budget.FILE.write_text(budget.write_budgets(samples))
    if not options.check:
        return 0
    sentences = budget.past_budget(samples, budgets)
    for name in samples.measured():
        if FIGURES[name].budgeted and name not in budgets:
            sentences.append(f"{name} has no budget")
    print("\n".join(sentences) or "Everything is within its budget.")
    return 1 if sentences else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: under 40 seconds, not 4 minutes")
    parser.add_argument("--only", nargs="+", metavar="GROUP", help=f"measure only some of: {', '.join(GROUPS)}")
    parser.add_argument("--against", action="append", default=[], metavar="URL", help="another proxy's base URL")
    parser.add_argument("--model", default=MODEL, help="what the other proxy calls the model (default: %(default)s)")
    parser.add_argument("--key", default=KEY, help="the other proxy's API key")
    parser.add_argument("--upstream-port", type=int, default=0, help="where the upstream listens (default: any)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a figure is past its budget")
    parser.add_argument("--write-budgets", action="store_true", help="make budgets of what this run sees")
    parser.add_argument("--features", action="store_true", help="tell what each feature costs, instead of the table")
    parser.add_argument("--profile", action="store_true", help="tell which functions take most, instead of the table")
    return parser


def _peer(url: str, model: str, key: str) -> Target:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise BenchError(f"{url} is not on this machine: thousands of requests are sent, so only loopback is measured")
    port = parts.port or 80
    pids = listeners(port)
    if not pids:
        _say(f"no process is seen that listens on port {port}: its CPU time and memory stay unknown")
    return Target(f":{port}", parts.hostname, port, parts.path.rstrip("/"), pids, model, key)


def _say(text: str) -> None:
    print(f"… {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
