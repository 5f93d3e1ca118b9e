"""How much is measured: the sizes of a run, and the cases whose CPU time is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.bench.answers import Wanted

GROUPS: Final = (
    "unstreamed",
    "fixed",
    "burst_chat",
    "burst_responses",
    "burst_unkept",
    "paced",
    "latency",
    "load",
    "memory",
    "start",
)
"""What ``--only`` chooses from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of a run: many rounds of short measurements, since a shared machine changes its speed between seconds.

    Attributes:
        rounds: How often everything is measured, one thing after the other.
        unstreamed: Requests of one measurement.
        fixed: One-chunk streams of one measurement.
        burst: Burst streams of one measurement.
        paced_pieces: Chunks of each of the paced streams.
        paced_streams: How many paced streams there are.
        latency: Requests of one measurement of latency.
        requests: Requests before memory is looked at again.
        held: Streams that are open when memory is looked at.
        many: Streams that are open when it is looked at again.
        probes: Health checks by which the event loop's lag is seen while streams are open.
        loaded_seconds: How long the proxy is kept at 70 % of what it can do.
        held_seconds: For how long their CPU time is counted, three times.
        starts: How often the proxy is started.
    """

    rounds: int
    unstreamed: int
    fixed: int
    burst: int
    paced_pieces: int
    latency: int
    requests: int
    paced_streams: int = 40
    held: int = 1000
    many: int = 5000
    probes: int = 300
    loaded_seconds: float = 4.0
    held_seconds: float = 1.0
    starts: int = 3


QUICK: Final = Plan(rounds=11, unstreamed=120, fixed=80, burst=40, paced_pieces=50, latency=40, requests=2000, starts=3)
FULL: Final = Plan(
    rounds=31, unstreamed=240, fixed=160, burst=80, paced_pieces=100, latency=80, requests=10_000, starts=9
)
SMALLEST: Final = Plan(
    rounds=1,
    unstreamed=20,
    fixed=8,
    burst=4,
    paced_pieces=10,
    latency=10,
    requests=40,
    paced_streams=4,
    held=20,
    many=40,
    probes=5,
    loaded_seconds=0.2,
    held_seconds=0.1,
    starts=1,
)


@dataclass(frozen=True, slots=True)
class Case:
    """A load whose CPU time is counted.

    Attributes:
        name: The figure that it yields.
        path: Below the base URL.
        wanted: What the upstream is to answer.
        stream: Whether the client asks for a stream.
        requests: Of one measurement.
        connections: At a time.
        kept: An answer that can be kept is.
    """

    name: str
    path: str
    wanted: Wanted
    stream: bool
    requests: int
    connections: int
    kept: bool = True


def cases(plan: Plan, groups: frozenset[str]) -> list[Case]:
    """The cases of a run.

    Paced chunks need the fixed cost of a stream, which is not theirs, taken away; how much a proxy can bear is known
    from what a request costs it.
    """
    chat, responses = "/chat/completions", "/responses"
    every = (
        Case("unstreamed", chat, Wanted(5), stream=False, requests=plan.unstreamed, connections=32),
        Case("fixed", chat, Wanted(1), stream=True, requests=plan.fixed, connections=16),
        Case("burst_chat", chat, Wanted(100), stream=True, requests=plan.burst, connections=16),
        Case("burst_responses", responses, Wanted(100), stream=True, requests=plan.burst, connections=16),
        Case("burst_unkept", responses, Wanted(100), True, plan.burst, connections=16, kept=False),
        Case("paced", chat, Wanted(plan.paced_pieces, 10), True, plan.paced_streams, plan.paced_streams),
    )
    wanted = groups | ({"fixed"} if "paced" in groups else set()) | ({"unstreamed"} if "load" in groups else set())
    return [case for case in every if case.name in wanted]
