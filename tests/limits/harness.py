"""Do the limits hold? Fires many clients at a few keys and compares what was admitted with what was allowed.

``python -m tests.limits.harness`` tries one process with limits in memory; with ``--redis`` also several processes that
share them. Their clocks disagree by seconds, clients leave at any moment, and one process is killed. The judge is none
of the limiter's code: each process writes down, by the machine's monotonic clock, when it asked, when it was admitted,
what was reserved and what was used; the sums are made here with fractions.
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
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from app.core.caller import Caller
from app.core.errors import Overloaded, RateLimited
from app.core.usage import Usage
from app.limits.admission import Estimate, Limits
from app.limits.memory import MemoryLimits
from app.limits.redis import RedisLimits
from app.limits.spec import LimitSpec
from tests.limits.backend import REDIS_URL, new_prefix

ROOT = Path(__file__).resolve().parents[2]
REAL = time.monotonic
DEFAULT_OUTPUT = 40
PLACES = 2
SKEWS = (-5.0, 0.0, 7.3, -3_600.0, 86_400.0)


@dataclass
class Options:
    """What is tried."""

    redis: bool = False
    replicas: int = 3
    clients: int = 60
    keys: int = 3
    seconds: float = 6.0
    requests: int = 600
    tokens: int = 60_000
    concurrency: int = 8
    lease: float = 2.0
    seed: int = 1
    number: int = -1
    prefix: str = field(default_factory=new_prefix)
    start: float = 0.0
    out: str = ""


def spec_of(options: Options, caller: Caller) -> LimitSpec:
    """Each key is short of something else: requests, tokens or places."""
    short_of = ("requests", "tokens", "places")[int(caller.id.rpartition("-")[2]) % 3]
    return LimitSpec(
        requests_per_minute=options.requests if short_of == "requests" else None,
        tokens_per_minute=options.tokens if short_of == "tokens" else None,
        concurrency=options.concurrency if short_of == "places" else None,
    )


def opened(options: Options) -> RedisLimits:
    """The limits of one process."""
    return RedisLimits(
        REDIS_URL,
        lambda caller: spec_of(options, caller),
        prefix=options.prefix,
        lease=options.lease,
        default_reservation=DEFAULT_OUTPUT,
        # A busy machine is not an absent Redis.
        timeout=2.0,
    )


async def client(options: Options, limits: Limits, number: int, chance: random.Random, write: Any) -> None:
    """One client: asks, works a little or leaves, settles, and waits as long as it is told."""
    key = f"key-{number % options.keys}"
    end = options.start + options.seconds
    while REAL() < end:
        stated = chance.random() < 0.7
        prompt, output = chance.randint(5, 40), chance.randint(10, 80) if stated else 127_000
        estimate = Estimate(prompt, output, stated)
        asked = REAL()
        task = asyncio.ensure_future(limits.admit(Caller(key, key), "model", estimate))
        try:
            reservation = await task
        except RateLimited as error:
            # A refusal of a key that is short of places says "1 s"; asking sooner tries harder.
            await asyncio.sleep(min(error.retry_after or 1.0, 0.05, max(end - REAL(), 0)))
            continue
        except Overloaded:
            write({"away": key})
            await asyncio.sleep(0.05)
            continue
        admitted = REAL()
        kind = chance.random()
        # A tenth leaves in the middle; a tenth fails before anything was produced.
        used: int | None = prompt + min(int(chance.expovariate(1 / 30)), output if stated else 200)
        if kind < 0.1:
            used = None
        elif kind < 0.2:
            used = prompt
        await asyncio.sleep(chance.uniform(0, 0.02))
        leaving = REAL()
        await reservation.settle(None if used is None else Usage(used, 0))
        reserved = prompt + (output if stated else DEFAULT_OUTPUT)
        write({"key": key, "asked": asked, "at": admitted, "left": leaving, "reserved": reserved, "used": used or 0})


async def replica(options: Options, limits: Limits, write: Any) -> None:
    """The clients of one process."""
    share = max(options.clients // max(options.replicas, 1), 1) if options.number >= 0 else options.clients
    offset = max(options.number, 0) * share
    await asyncio.sleep(max(options.start - REAL(), 0))
    await asyncio.gather(
        *(
            client(options, limits, offset + n, random.Random(f"{options.seed}/{offset + n}"), write)
            for n in range(share)
        )
    )


async def process(options: Options) -> None:
    """A replica of its own, which writes each record as it happens: it may be killed."""
    limits = opened(options)
    with Path(options.out).open("w", buffering=1) as file:  # noqa: ASYNC230 - lines that survive a kill
        await replica(options, limits, lambda record: file.write(json.dumps(record) + "\n"))
    await limits.aclose()


@dataclass
class Verdict:
    """What came out for one way of running."""

    name: str
    rows: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def row(self, text: str) -> None:
        """A line of the report."""
        self.rows.append(text)

    def hold(self, condition: bool, text: str) -> None:
        """What must be so."""
        if not condition:
            self.faults.append(text)


def judge(options: Options, records: list[dict[str, Any]], verdict: Verdict) -> None:
    """Compare what was admitted with what was allowed, key by key."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if "key" in record:
            by_key.setdefault(record["key"], []).append(record)
    away = sum("away" in record for record in records)
    verdict.hold(away == 0, f"{away} requests found Redis away")
    for key, rows in sorted(by_key.items()):
        rows.sort(key=lambda row: row["at"])
        spec = spec_of(options, Caller(key, key))
        begin, end = min(row["asked"] for row in rows), rows[-1]["at"]
        if spec.requests_per_minute:
            limit = spec.requests_per_minute
            allowed = int(limit + Fraction(limit, 60) * Fraction(end - begin))
            over = _worst_excess(rows, limit)
            verdict.row(
                f"{key} requests/min {limit}: admitted {len(rows)} of {allowed} allowed, over {max(over, 0)}, "
                f"under-use {_percent(allowed - len(rows), allowed)}"
            )
            verdict.hold(over <= 0, f"{key}: {over} requests too many")
            verdict.hold(len(rows) >= 0.98 * allowed, f"{key}: under-use of requests above 2 %")
        if spec.tokens_per_minute:
            limit = spec.tokens_per_minute
            allowed = int(limit + Fraction(limit, 60) * Fraction(end - begin))
            used = sum(row["used"] for row in rows)
            # Only requests under way at the last admission can have an excess that nobody waited for yet.
            last = rows[-1]["asked"]
            bound = sum(max(row["used"] - row["reserved"], 0) for row in rows if row["left"] >= last)
            held = sum(max(row["reserved"] - row["used"], 0) for row in rows if row["left"] >= last)
            verdict.row(
                f"{key} tokens/min {limit}: used {used} of {allowed} allowed in {len(rows)} requests, "
                f"past the limit {max(used - allowed, 0)} (bound {bound}), "
                f"under-use {_percent(allowed - used, allowed)}"
            )
            past = used - allowed
            verdict.hold(past <= bound, f"{key}: {past} tokens past the limit, the bound is {bound}")
            verdict.hold(used + held >= 0.98 * allowed, f"{key}: under-use of tokens above 2 %")
        if spec.concurrency:
            most = _most_at_once(rows)
            verdict.row(f"{key} concurrency {spec.concurrency}: at most {most} at once, {len(rows)} requests")
            verdict.hold(most <= spec.concurrency, f"{key}: {most} at once")
            verdict.hold(most == spec.concurrency, f"{key}: never all places in use")


def _worst_excess(rows: list[dict[str, Any]], limit: int) -> int:
    """Over all intervals, the most requests admitted in one beyond what it allows.

    Between asking and being told the admission happened, so an interval from the asking of one to the telling of
    another holds every request that was asked and told within it.
    """
    rate = Fraction(limit, 60)
    asked = sorted(range(len(rows)), key=lambda index: rows[index]["asked"])
    worst = -limit
    for index in asked[:: max(len(asked) // 50, 1)]:
        begin, count = rows[index]["asked"], 0
        for row in rows:
            if row["asked"] >= begin:
                count += 1
                worst = max(worst, count - int(limit + rate * Fraction(row["at"] - begin)))
    return worst


def _most_at_once(rows: list[dict[str, Any]]) -> int:
    moments = sorted([(row["at"], 1) for row in rows] + [(row["left"], -1) for row in rows])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def _percent(missing: int, allowed: int) -> str:
    return f"{max(missing, 0) / allowed:.2%}"


async def in_memory(options: Options) -> Verdict:
    """One process that keeps its limits itself."""
    verdict = Verdict("one process, memory")
    records: list[dict[str, Any]] = []
    options = Options(**{**vars(options), "start": REAL()})
    limits = MemoryLimits(lambda caller: spec_of(options, caller), default_reservation=DEFAULT_OUTPUT)
    await replica(options, limits, records.append)
    judge(options, records, verdict)
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
    limits = RedisLimits(
        REDIS_URL, lambda c: spec_of(options, c), prefix=options.prefix, lease=options.lease, timeout=2
    )
    for _ in range(options.concurrency):
        await limits.admit(Caller(f"key-{PLACES}", "places"), "model", Estimate(1, 1))
    await asyncio.to_thread(Path(options.out).write_text, "held\n")
    await asyncio.sleep(60)


def _read(folder: Path) -> list[dict[str, Any]]:
    """What the processes wrote; the last line of a killed one may be cut."""
    lines = [line for path in folder.iterdir() for line in path.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


async def replicated(options: Options, *, kill: bool = False) -> Verdict:
    """Several processes that share their limits; with ``kill``, the last is killed at half time."""
    skews = SKEWS[: options.replicas]
    name = f"{options.replicas} processes, Redis, clocks off by {skews} s"
    verdict = Verdict(f"{name}, the last killed at half time" if kill else name)
    options = Options(**{**vars(options), "prefix": new_prefix(), "start": REAL() + 1.5})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        running = [_spawn(options, folder, number) for number in range(options.replicas)]
        if kill:
            await asyncio.sleep(options.start + options.seconds / 2 - REAL())
            running[-1].kill()
        for number, one in enumerate(running):
            code = await asyncio.to_thread(one.wait, options.seconds + 30)
            expected = -9 if kill and one is running[-1] else 0
            verdict.hold(code == expected, f"replica {number} ended with {code}")
        records = await asyncio.to_thread(_read, folder)
    judge(options, records, verdict)
    if kill and options.keys > PLACES:
        await _all_free(options, verdict, REAL())
    return verdict


async def _all_free(options: Options, verdict: Verdict, began: float) -> None:
    """Take every place of the key that is short of them: all must be there within the lease."""
    limits = RedisLimits(
        REDIS_URL, lambda c: spec_of(options, c), prefix=options.prefix, lease=options.lease, timeout=2
    )
    key = Caller(f"key-{PLACES}", "places")
    free: list[Any] = []
    while len(free) < options.concurrency and REAL() < began + 3 * options.lease:
        try:
            free.append(await limits.admit(key, "model", Estimate(1, 1)))
        except RateLimited:
            await asyncio.sleep(0.02)
    took = REAL() - began
    for reservation in free:
        await reservation.settle(None)
    await limits.aclose()
    verdict.row(f"{len(free)} of {options.concurrency} places free again after {took:.2f} s, lease {options.lease} s")
    verdict.hold(len(free) == options.concurrency, "places leaked")
    verdict.hold(took <= options.lease + 0.25, "places came back after the lease")


async def killed(options: Options) -> Verdict:
    """A process that holds every place of a key is killed: when are they free?"""
    verdict = Verdict("one process killed with every place in hand")
    key = Caller(f"key-{PLACES}", "places")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prefix = new_prefix()
        options = Options(**{**vars(options), "prefix": prefix})
        victim = _spawn(options, folder, 0, work="hold")
        try:
            while not await asyncio.to_thread(lambda: list(folder.iterdir())):
                await asyncio.sleep(0.01)
            limits = RedisLimits(
                REDIS_URL, lambda c: spec_of(options, c), prefix=prefix, lease=options.lease, timeout=2
            )
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
        await limits.aclose()
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
    for name in ("replicas", "clients", "keys", "requests", "tokens", "concurrency", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    for name in ("seconds", "lease"):
        parser.add_argument(f"--{name}", type=float, default=getattr(defaults, name))
    return Options(**vars(parser.parse_args(words)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse())))
