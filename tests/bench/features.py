"""What each of the proxy's features costs: proxies that lack one each, in the same rounds as one that has them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from tests.bench.figures import FIGURES, OURS, Samples
from tests.bench.measure import Target, run
from tests.bench.plan import Plan
from tests.bench.processes import LIMITS, Loader, proxy

CASES: Final = ("unstreamed", "burst_chat", "burst_responses")

FEATURES: Final[Mapping[str, Mapping[str, str]]] = {
    "limits": dict.fromkeys(LIMITS, ""),
    "metrics": {"FLARELAY_METRICS": "false"},
    "log": {"FLARELAY_LOG_LEVEL": "warning"},
    "store, ledger": {"FLARELAY_STORE": "false"},
    "memory of failures": {"FLARELAY_REMEMBER_FAILURES": "false"},
    "nothing": {},
}
"""The settings that switch each off. The last switches nothing off: it shows how far two alike differ."""

NOTHING: Final = "nothing"


def measure(plan: Plan, upstream_port: int, loader: Loader, say: Callable[[str], None]) -> Samples:
    """Measure them all.

    Args:
        plan: How much; its rounds are used as they are.
        upstream_port: Where the upstream listens.
        loader: Sends the loads.
        say: Told what is going on.

    Raises:
        BenchError: One did not start, or did not answer completely.
    """
    with ExitStack() as stack:
        peers = []
        for feature, settings in FEATURES.items():
            made = stack.enter_context(proxy(upstream_port, settings=settings))
            peers.append(Target(feature, "127.0.0.1", made.port, "/v1", (made.process.pid,)))
        return run(replace(plan, latency=0), CASES, upstream_port, peers, loader, say)


def write_features(samples: Samples, features: Sequence[str] = tuple(FEATURES)) -> str:
    """Write what each costs, in µs of CPU and as a part of the whole."""
    lines = [f"{'feature':<20}" + "".join(f"{FIGURES[case].name:>28}" for case in CASES)]
    lines.append("-" * len(lines[0]))
    whole = {case: samples.ratio(case, OURS) or 0.0 for case in CASES}
    value = {case: samples.value(case, OURS) or 0.0 for case in CASES}
    lines.append(f"{'everything':<20}" + "".join(f"{value[case]:>18,.0f} µs       " for case in CASES))
    for feature in features:
        row = f"{'(two alike)' if feature == NOTHING else feature:<20}"
        for case in CASES:
            # By the ratio to the calibration loop beside each measurement: the machine changes its speed meanwhile.
            part = 1 - (samples.ratio(case, feature) or 0.0) / whole[case]
            row += f"{part * value[case]:>18,.0f} µs {part:>+6.1%}"
        lines.append(row)
    return "\n".join(lines)
