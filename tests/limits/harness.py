"""Do the limits hold? Fires many clients at a few keys and compares what was admitted with what was allowed.

``python -m tests.limits.harness`` tries one process with limits in memory; with ``--redis`` also several processes that
share them. Every key has all limits, and is short of one of them. The processes' clocks disagree by seconds, clients
leave at any moment, also while they are being admitted, and one process is killed. The judge is none of the limiter's
code: each process writes down, by the machine's monotonic clock, when it asked, when it was admitted, what was reserved
and what was used; the sums are made here with fractions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from app.core.caller import Caller
from app.core.cost import Cost, Rates
from app.core.errors import Overloaded, QuotaExhausted, RateLimited
from app.core.limits import LimitSpec
from app.core.usage import Usage
from app.limits.admission import Estimate
from app.limits.buckets import Buckets, Charge, Refused
from app.limits.callers import CallerLimits
from app.limits.memory import MemoryBuckets
from app.limits.redis import RedisBuckets
from app.limits.spec import MICRO, Plan
from tests.limits.backend import REDIS_URL, new_prefix
from tests.limits.judging import (
    DEFAULT_OUTPUT,
    KINDS,
    LOOSE,
    PLACES,
    PRICE_IN,
    PRICE_OUT,
    Options,
    Verdict,
    factor,
    judge,
    on_the_way,
    rows_of,
)

ROOT = Path(__file__).resolve().parents[2]
REAL = time.monotonic
RATES = Rates(PRICE_IN, PRICE_OUT, 0.0)
SKEWS = (-5.0, 0.0, 7.3, -3_600.0, 86_400.0)


def caller_of(options: Options, key: str) -> Caller:
    """Each key has all limits, and is short of something else."""
    spec = LimitSpec(
        requests_per_minute=options.requests * factor(key, "requests"),
        tokens_per_minute=options.tokens * factor(key, "tokens"),
        concurrency=options.concurrency * factor(key, "places"),
        neurons_per_month=options.budget * factor(key, "budget"),
        neurons_per_day=options.budget * LOOSE,
    )
    return Caller(key, key, spec)


def opened(options: Options) -> RedisBuckets:
    """The buckets of one process."""
    # A busy machine is not an absent Redis.
    return RedisBuckets(REDIS_URL, prefix=options.prefix, lease=options.lease, timeout=2.0, wall=options.wall)


async def counted(options: Options, buckets: Buckets, key: str) -> float:
    """What the buckets say that a key has spent in the month, in neurons."""
    plan = Plan.of(LimitSpec(neurons_per_month=1))
    try:
        hold = await buckets.take(key, plan, Charge(whole=False))
    except Refused as refused:
        return refused.standing.spent[0].cost / MICRO
    hold.settle(0, 0)
    return hold.standing.spent[0].cost / MICRO


async def client(options: Options, buckets: Buckets, number: int, chance: random.Random, write: Any) -> None:
    """One client: asks, works a little or leaves, settles, and waits as long as it is told."""
    caller = caller_of(options, f"key-{number % options.keys}")
    limits = CallerLimits(buckets, default_reservation=DEFAULT_OUTPUT)
    end = options.start + options.seconds
    turn = 0
    while REAL() < end:
        stated = chance.random() < 0.7
        prompt, output = chance.randint(5, 40), chance.randint(10, 80) if stated else 127_000
        turn += 1
        about = {"key": caller.id, "request": f"{number}/{turn}", "process": options.number}
        reserved = output if stated else DEFAULT_OUTPUT
        write({**about, "asked": REAL(), "prompt": prompt, "output": reserved, "stated": stated})
        task = asyncio.ensure_future(limits.admit(caller, "model", Estimate(prompt, output, stated, RATES)))
        try:
            if chance.random() < 0.05:
                # It leaves while it is being admitted; where it is too late, it leaves at once after that.
                await asyncio.sleep(chance.uniform(0, 0.002))
                task.cancel()
            reservation = await task
        except asyncio.CancelledError:
            write({**about, "cancelled": REAL()})
            continue
        except (RateLimited, QuotaExhausted) as error:
            write({**about, "refused": True})
            # A refusal of a key that is short of places says "1 s"; asking sooner tries harder.
            await asyncio.sleep(min(error.retry_after or 1.0, 0.05, max(end - REAL(), 0)))
            continue
        except Overloaded:
            write({**about, "away": True})
            await asyncio.sleep(0.05)
            continue
        write({**about, "at": REAL()})
        # A tenth leaves in the middle; a tenth fails before anything was produced.
        kind = chance.random()
        produced = 0 if kind < 0.2 else min(int(chance.expovariate(1 / 30)), output if stated else 200)
        await asyncio.sleep(chance.uniform(0, 0.02))
        leaving = REAL()
        if kind < 0.1:
            prompt = 0
            await reservation.settle(None)
        else:
            spent = Cost(prompt * RATES.input + produced * RATES.output, "reported")
            await reservation.settle(Usage(prompt, produced), spent)
        write({**about, "left": leaving, "used": [prompt, produced]})


async def replica(options: Options, buckets: Buckets, write: Any) -> None:
    """The clients of one process."""
    share = max(options.clients // max(options.replicas, 1), 1) if options.number >= 0 else options.clients
    offset = max(options.number, 0) * share
    await asyncio.sleep(max(options.start - REAL(), 0))
    await asyncio.gather(
        *(
            client(options, buckets, offset + n, random.Random(f"{options.seed}/{offset + n}"), write)
            for n in range(share)
        )
    )


async def process(options: Options) -> None:
    """A replica of its own, which writes each record as it happens: it may be killed."""
    buckets = opened(options)
    out = Path(options.out)
    with out.open("w", buffering=1) as file:  # noqa: ASYNC230 - lines that survive a kill
        begin = out.with_name("begin")
        while not await asyncio.to_thread(begin.exists):
            await asyncio.sleep(0.01)
        options.start = float(await asyncio.to_thread(begin.read_text))
        await replica(options, buckets, lambda record: file.write(json.dumps(record) + "\n"))
    await buckets.aclose()


async def nothing_leaked(
    options: Options, buckets: Buckets, records: list[dict[str, Any]], verdict: Verdict, killed: int | None = None
) -> None:
    """What the budgets' counters say must be what was spent, and what a killed process had reserved or not yet said."""
    for key, rows in rows_of(records).items():
        told = Fraction(await counted(options, buckets, key))
        spent = sum(row.cost for row in rows)
        more, less = (0, 0) if killed is None else on_the_way(records, key, killed)
        verdict.hold(
            spent - less <= told <= spent + more,
            f"{key}: the budget counts {float(told)}, spent were {float(spent)}, "
            f"and the killed process kept at most {float(more)} and owed {float(less)}",
        )


async def in_memory(options: Options) -> Verdict:
    """One process that keeps its limits itself."""
    verdict = Verdict(f"one process, memory, {options.clients} clients, {options.keys} keys, {len(KINDS)} limits each")
    records: list[dict[str, Any]] = []
    options = Options(**{**vars(options), "start": REAL(), "epoch": time.time()})
    buckets = MemoryBuckets(wall=options.wall)
    await replica(options, buckets, records.append)
    judge(options, records, verdict)
    await nothing_leaked(options, buckets, records, verdict)
    return verdict


def _spawn(options: Options, folder: Path, number: int, **changes: Any) -> subprocess.Popen[bytes]:
    out = folder / f"{changes.get('work', 'clients')}-{number}.jsonl"
    values = {**vars(options), "number": number, "out": str(out), "work": "clients", **changes}
    skew = SKEWS[number % len(SKEWS)]
    # The clocks are turned before anything else is imported: whoever reads them reads the wrong time.
    code = (
        "import time, sys, json\n"
        f"real, wall, skew = time.monotonic, time.time, {skew}\n"
        "time.time = lambda: wall() + skew\n"
        "time.time_ns = lambda: int((wall() + skew) * 1e9)\n"
        "time.monotonic = lambda: real() + abs(skew)\n"
        "from tests.limits import harness\n"
        "harness.REAL = real\n"
        "harness.run_process(json.loads(sys.argv[1]))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(values)], cwd=ROOT)


def run_process(values: dict[str, Any]) -> None:
    """What a spawned process does."""
    work = values.pop("work")
    options = Options(**values)
    asyncio.run(hold(options) if work == "hold" else process(options))


async def hold(options: Options) -> None:
    """Take every place of the key that is short of them, say so, and keep them until killed."""
    limits = CallerLimits(opened(options))
    for _ in range(options.concurrency):
        await limits.admit(caller_of(options, f"key-{PLACES}"), "model", Estimate(1, 1))
    await asyncio.to_thread(Path(options.out).write_text, "held\n")
    await asyncio.sleep(60)


def _read(folder: Path) -> list[dict[str, Any]]:
    """What the processes wrote; the last line of a killed one may be cut."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


async def _begin(options: Options, folder: Path) -> None:
    """Let all processes begin together, as soon as all of them are there."""
    async with asyncio.timeout(60):
        while len(await asyncio.to_thread(lambda: list(folder.glob("*.jsonl")))) < options.replicas:
            await asyncio.sleep(0.01)
    options.start = REAL() + 0.1
    await asyncio.to_thread((folder / "soon").write_text, str(options.start))
    await asyncio.to_thread((folder / "soon").rename, folder / "begin")


async def replicated(options: Options, *, kill: bool = False) -> Verdict:
    """Several processes that share their limits; with ``kill``, the last is killed at half time."""
    skews = SKEWS[: options.replicas]
    name = (
        f"{options.replicas} processes, Redis, {options.clients} clients, {options.keys} keys, "
        f"{len(KINDS)} limits each, clocks off by {skews} s"
    )
    verdict = Verdict(f"{name}, the last killed at half time" if kill else name)
    options = Options(**{**vars(options), "prefix": new_prefix(), "epoch": time.time()})
    killed_at: float | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = [_spawn(options, folder, number) for number in range(options.replicas)]
        try:
            await _begin(options, folder)
            if kill:
                await asyncio.sleep(options.start + options.seconds / 2 - REAL())
                running[-1].kill()
                killed_at = REAL()
            for number, one in enumerate(running):
                code = await asyncio.to_thread(one.wait, options.seconds + 30)
                expected = -9 if kill and one is running[-1] else 0
                verdict.hold(code == expected, f"replica {number} ended with {code}")
        finally:
            for one in running:
                one.kill()
                one.wait()
        records = await asyncio.to_thread(_read, folder)
    by_key = judge(options, records, verdict, killed_at)
    buckets = opened(options)
    await nothing_leaked(options, buckets, records, verdict, options.replicas - 1 if kill else None)
    await buckets.aclose()
    if kill and options.keys > PLACES:
        dead = sum(row.killed for rows in by_key.values() for row in rows)
        verdict.row(f"{dead} requests died with their process")
        await _all_free(options, verdict, REAL())
    return verdict


async def _all_free(options: Options, verdict: Verdict, began: float) -> None:
    """Take every place of the key that is short of them: all must be there within the lease."""
    buckets = opened(options)
    limits = CallerLimits(buckets)
    key = caller_of(options, f"key-{PLACES}")
    free: list[Any] = []
    while len(free) < options.concurrency and REAL() < began + 3 * options.lease:
        try:
            free.append(await limits.admit(key, "model", Estimate(1, 1)))
        except RateLimited:
            await asyncio.sleep(0.02)
    took = REAL() - began
    for reservation in free:
        await reservation.settle(None)
    await buckets.aclose()
    verdict.row(f"{len(free)} of {options.concurrency} places free again after {took:.2f} s, lease {options.lease} s")
    verdict.hold(len(free) == options.concurrency, "places leaked")
    verdict.hold(took <= options.lease + 0.25, "places came back after the lease")


async def killed(options: Options) -> Verdict:
    """A process that holds every place of a key is killed: when are they free?"""
    verdict = Verdict("one process killed with every place in hand")
    key = caller_of(options, f"key-{PLACES}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefix = new_prefix()
        options = Options(**{**vars(options), "prefix": prefix, "epoch": time.time()})
        victim = _spawn(options, folder, 0, work="hold")
        try:
            while not await asyncio.to_thread(lambda: list(folder.iterdir())):
                await asyncio.sleep(0.01)
            buckets = opened(options)
            limits = CallerLimits(buckets)
            # Longer than a lease, so that it has been renewed.
            alive = REAL() + options.lease * 1.2
            early = Counter[str]()
            while REAL() < alive:
                try:
                    await limits.admit(key, "model", Estimate(1, 1))
                    early["admitted"] += 1
                except RateLimited:
                    await asyncio.sleep(0.05)
            verdict.hold(not early, f"{early['admitted']} places were given away while they were held")
        finally:
            victim.kill()
            victim.wait()
        await buckets.aclose()
        await _all_free(options, verdict, REAL())
    return verdict


async def main(options: Options) -> int:
    """Try everything that was asked for, and print it."""
    runs = [in_memory, *([replicated, partial(replicated, kill=True), killed] if options.redis else [])]
    failed = False
    for run in runs:
        verdict = await run(options)
        print(f"{verdict.name}: {'ok' if not verdict.faults else 'FAILED'}")
        for text in verdict.rows:
            print(f"  {text}")
        for fault in verdict.faults:
            print(f"  !! {fault}")
        failed = failed or bool(verdict.faults)
    return int(failed)


def parse(words: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.limits.harness", description=__doc__)
    parser.add_argument("--redis", action="store_true", help="also with several processes on Redis")
    defaults = Options()
    for name in ("replicas", "clients", "keys", "requests", "tokens", "concurrency", "budget", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in ("seconds", "lease"):
        parser.add_argument(f"--{name}", type=float, default=getattr(defaults, name))
    return Options(**vars(parser.parse_args(words)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
