"""The measurements, each of one target, and the run that interleaves them."""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tests.bench.account import cpu_seconds, resident_kib
from tests.bench.answers import MODEL, Wanted, prompt_for
from tests.bench.calibration import unit_seconds
from tests.bench.cores import pin_measured, unpin
from tests.bench.figures import DIRECT, FIGURES, OURS, Samples
from tests.bench.load import Load
from tests.bench.plan import Case, Plan, cases
from tests.bench.processes import KEY, BenchError, Loader, import_cpu_seconds, proxy

CASE_SECONDS = 1.5
"""A slow target gets fewer requests, so that no measurement takes much longer."""

SETTLE_SECONDS = 0.03
"""What follows an answer's last byte (the log line, the connection's return) is its cost too."""

CHAT = "/chat/completions"
HELD = Wanted(600, 1000)
FIRST_BYTE = Wanted(2, 2)
PROBE_SECONDS = 0.005


@dataclass(slots=True)
class Target:
    """Something that is measured.

    Attributes:
        name: As in the table.
        host: Where it listens.
        port: Where it listens.
        base: The path of its base URL.
        pids: Its processes; empty when they are not known or do not matter.
        model: What to ask for.
        key: The API key.
        unserved: The cases that it could not do, with the reason.
        requests: How many requests of each case it gets.
    """

    name: str
    host: str
    port: int
    base: str
    pids: tuple[int, ...] = ()
    model: str = MODEL
    key: str = KEY
    unserved: dict[str, str] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)

    def load(self, case: Case) -> Load:
        """The load of a case."""
        prompt = prompt_for(case.wanted)
        body: dict[str, object] = {"model": self.model}
        if case.path == CHAT:
            system = {"role": "system", "content": "You are a terse geologist."}
            body["messages"] = [system, {"role": "user", "content": prompt}]
        else:
            body["input"] = prompt
        if case.stream:
            body["stream"] = True
        if not case.kept:
            body["store"] = False
        last = ("[DONE]" if case.path == CHAT else "response.completed") if case.stream else ""
        return Load(
            host=self.host,
            port=self.port,
            path=self.base + case.path,
            body=json.dumps(body),
            pieces=case.wanted.pieces,
            requests=self.requests.get(case.name, case.requests),
            connections=case.connections,
            key=self.key,
            stream=case.stream,
            last=last,
        )


def direct(upstream_port: int) -> Target:
    """The upstream itself, as if there were no proxy."""
    return Target(DIRECT, "127.0.0.1", upstream_port, f"/client/v4/accounts/{'0123456789abcdef' * 2}/ai/v1")


def warm(target: Target, case: Case, loader: Loader) -> None:
    """Send a little of a case, to learn whether the target can do it and how fast.

    Raises:
        BenchError: Our own proxy cannot.
    """
    load = target.load(case)
    few = replace(load, requests=max(1, min(load.requests, max(load.connections, load.requests // 4))))
    try:
        report = loader.send(few)
    except BenchError as error:
        if target.name in {OURS, DIRECT}:
            raise
        # Of several answers, the first one's trouble says enough.
        target.unserved[case.name] = " ".join(str(error).splitlines()[:2])[:250]
        return
    each = report.seconds / few.requests
    target.requests[case.name] = max(1, min(load.requests, max(load.connections, int(CASE_SECONDS / each))))


def count_cpu(target: Target, case: Case, loader: Loader, samples: Samples) -> None:
    """Measure what one case costs a target."""
    load = target.load(case)
    unit = unit_seconds()
    before = cpu_seconds(target.pids)
    loader.send(load)
    time.sleep(SETTLE_SECONDS)
    spent = cpu_seconds(target.pids) - before
    unit = (unit + unit_seconds()) / 2
    samples.units.append(unit)
    value = spent / load.requests
    if case.name == "paced":
        # The stream's own cost is another figure.
        value = max(0.0, value - samples.last("fixed", target.name)) / case.wanted.pieces
    samples.add(case.name, target.name, value, unit)


class Latencies:
    """Latency at one connection, of every target in turn; percentiles are those of all rounds together.

    Args:
        targets: The upstream itself first.
        count: Requests of each target in a round.
    """

    def __init__(self, targets: Sequence[Target], count: int) -> None:
        self._targets = targets
        self._seconds = {name: {target.name: list[float]() for target in targets} for name in ("latency", "first_byte")}
        self._whole = Case("latency", CHAT, Wanted(5), stream=False, requests=count, connections=1)
        self._stream = Case("first_byte", CHAT, FIRST_BYTE, stream=True, requests=max(1, count // 2), connections=1)

    def warm(self, loader: Loader) -> None:
        """Learn what the targets can do."""
        for target in self._targets:
            warm(target, self._whole, loader)
            warm(target, self._stream, loader)

    def take(self, loader: Loader) -> None:
        """Measure once more."""
        for target in self._targets:
            if self._whole.name not in target.unserved:
                self._seconds["latency"][target.name] += loader.send(target.load(self._whole)).latencies
            if self._stream.name not in target.unserved:
                self._seconds["first_byte"][target.name] += loader.send(target.load(self._stream)).first_bytes

    def tell(self, samples: Samples) -> None:
        """Add what was measured to the samples."""
        for name, by_target in self._seconds.items():
            for percent in (50, 99):
                figure = f"{name}_p{percent}"
                for target, seconds in by_target.items():
                    if not seconds:
                        continue
                    samples.add(figure, target, _percentile(sorted(seconds), percent))
                    if name == "latency" and target != DIRECT:
                        added = samples.last(figure, target) - samples.last(figure, DIRECT)
                        samples.add(f"added_p{percent}", target, added)


LOADED = 0.7
"""How much of what it can do a proxy is asked to do, when its latency under load is measured."""

LOADED_CONNECTIONS = 64


def load_partly(target: Target, plan: Plan, loader: Loader, samples: Samples) -> None:
    """Measure latency while requests come at 70 % of the rate that one core can bear."""
    each = samples.value("unstreamed", target.name)
    if each is None:
        return
    capacity = FIGURES["unstreamed"].scale / each
    samples.add("capacity", target.name, capacity)
    rate = capacity * LOADED
    count = max(10, int(rate * plan.loaded_seconds))
    case = Case("loaded", CHAT, Wanted(5), stream=False, requests=count, connections=LOADED_CONNECTIONS)
    target.requests["loaded"] = count
    latencies = sorted(loader.send(replace(target.load(case), rate=rate)).latencies)
    for percent in (50, 99):
        samples.add(f"loaded_p{percent}", target.name, _percentile(latencies, percent))


def probe(target: Target, count: int) -> list[float]:
    """How long health checks take, one after the other on one connection, in ascending order."""
    connection = http.client.HTTPConnection(target.host, target.port, timeout=10)
    seconds = []
    for _ in range(count):
        time.sleep(PROBE_SECONDS)
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
    connection.close()
    return sorted(seconds)


def weigh_streams(target: Target, plan: Plan, loader: Loader, samples: Samples, streams: int, suffix: str = "") -> None:
    """Measure the memory of open streams, and what they cost while a chunk a second passes in each.

    Args:
        target: What is measured.
        plan: For how long.
        loader: Opens them.
        samples: Takes the figures.
        streams: How many.
        suffix: Of the figures' names.
    """
    case = Case("held", CHAT, HELD, stream=True, requests=streams, connections=streams)
    before = resident_kib(target.pids)
    with loader.hold(replace(target.load(case), hold=True)):
        time.sleep(plan.held_seconds)
        for _ in range(3):
            unit = unit_seconds()
            began, spent = time.perf_counter(), cpu_seconds(target.pids)
            time.sleep(plan.held_seconds)
            spent = cpu_seconds(target.pids) - spent
            samples.add(f"held{suffix}", target.name, spent / (time.perf_counter() - began) / streams, unit)
        samples.add(f"rss_stream{suffix}", target.name, (resident_kib(target.pids) - before) / streams)
        if target.name == OURS:
            samples.add(f"lag_p99{suffix}", target.name, _percentile(probe(target, plan.probes), 99))


def weigh_ours(upstream_port: int, plan: Plan, loader: Loader, samples: Samples) -> None:
    """Measure a fresh proxy's memory: at rest, after many requests, with open streams."""
    with proxy(upstream_port) as fresh:
        target = Target(OURS, "127.0.0.1", fresh.port, "/v1", (fresh.process.pid,))
        time.sleep(0.2)
        samples.add("rss_rest", OURS, resident_kib(target.pids))
        loader.send(target.load(Case("requests", CHAT, Wanted(5), False, plan.requests, 32)))
        samples.add("rss_after", OURS, resident_kib(target.pids))
        weigh_streams(target, plan, loader, samples, plan.held)
    # Another one: memory that was used once is not given back.
    with proxy(upstream_port) as fresh:
        target = Target(OURS, "127.0.0.1", fresh.port, "/v1", (fresh.process.pid,))
        weigh_streams(target, plan, loader, samples, plan.many, "_many")


def time_starts(upstream_port: int, starts: int, samples: Samples) -> None:
    """Measure how long the proxy takes to be there."""
    for _ in range(starts):
        unit = unit_seconds()
        samples.add("import_cpu", OURS, import_cpu_seconds(), unit)
        with proxy(upstream_port) as fresh:
            samples.add("ready_cpu", OURS, cpu_seconds((fresh.process.pid,)), unit)
            samples.add("ready", OURS, fresh.ready_seconds)


def run(
    plan: Plan,
    groups: Iterable[str],
    upstream_port: int,
    peers: Sequence[Target],
    loader: Loader,
    say: Callable[[str], None],
) -> Samples:
    """Measure everything that is asked for.

    Args:
        plan: How much.
        groups: What, of ``plan.GROUPS``.
        upstream_port: Where the upstream listens.
        peers: What else is measured, beside our proxy.
        loader: Sends the loads.
        say: Told what is going on.

    Raises:
        BenchError: Our proxy did not start, or did not answer completely.
    """
    chosen = frozenset(groups)
    samples = Samples()
    pin_measured()
    try:
        _run_groups(plan, chosen, upstream_port, peers, loader, samples, say)
    finally:
        unpin()
    return samples


def _run_groups(
    plan: Plan,
    chosen: frozenset[str],
    upstream_port: int,
    peers: Sequence[Target],
    loader: Loader,
    samples: Samples,
    say: Callable[[str], None],
) -> None:
    if "start" in chosen:
        say("starts")
        time_starts(upstream_port, plan.starts, samples)
    loads = cases(plan, chosen)
    if loads or chosen & {"latency", "load"}:
        with proxy(upstream_port) as ours:
            targets = [Target(OURS, "127.0.0.1", ours.port, "/v1", (ours.process.pid,)), *peers]
            _run_rounds(plan, loads, targets, upstream_port, loader, samples, say, latency="latency" in chosen)
            if "load" in chosen:
                say("70 % of what it can do")
                for target in targets:
                    load_partly(target, plan, loader, samples)
    if "memory" in chosen:
        say("memory")
        weigh_ours(upstream_port, plan, loader, samples)
        for peer in peers:
            if peer.pids:
                weigh_streams(peer, plan, loader, samples, plan.held)
    if not samples.units:
        samples.units.append(unit_seconds())


def _run_rounds(
    plan: Plan,
    loads: Sequence[Case],
    targets: Sequence[Target],
    upstream_port: int,
    loader: Loader,
    samples: Samples,
    say: Callable[[str], None],
    *,
    latency: bool,
) -> None:
    say("warm-up")
    latencies = Latencies([direct(upstream_port), *targets], plan.latency) if latency else None
    for target in targets:
        for case in loads:
            warm(target, case, loader)
    if latencies:
        latencies.warm(loader)
    for number in range(plan.rounds):
        say(f"round {number + 1} of {plan.rounds}")
        for case in loads:
            for target in targets:
                if target.pids and not target.unserved.keys() & {case.name, *(["fixed"] * (case.name == "paced"))}:
                    count_cpu(target, case, loader, samples)
        if latencies:
            latencies.take(loader)
    if latencies:
        latencies.tell(samples)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
