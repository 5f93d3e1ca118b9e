"""Soak: ``python -m tests.soak --minutes 30 --seed 1``, from the repository's root. Linux, loopback only.

The proxy runs as its users run it, in front of an emulator with chaos, under mixed traffic at a steady concurrency, of
which every twentieth request is given up on the way. Every answer is checked word for word. At the end the figures are
printed; the exit status is 1 when something is not as it has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import Final

import aiohttp

from tests.soak.report import Soak, problems, write
from tests.soak.servers import Server, SoakError, gauge, loop, servers
from tests.soak.traffic import Traffic

PING_SECONDS: Final = 0.05
GAUGE_SECONDS: Final = 0.5
QUIET_SECONDS: Final = 15.0
LONGEST_PAUSE: Final = 0.3
"""Of a random delay or stall of the upstream, in seconds."""
_SAY_SECONDS: Final = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; the exit status is 1 when something is wrong, 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=16, help="requests at a time")
    parser.add_argument("--think", type=float, default=0.05, help="mean seconds between two requests of a worker")
    parser.add_argument("--chaos", type=float, default=0.05, help="how likely a fault of the upstream is")
    parser.add_argument("--delay", type=float, default=0.002, help="seconds between two tokens of the upstream")
    options = parser.parse_args(arguments)
    try:
        soak = run(options)
    except SoakError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("soak: it was interrupted", file=sys.stderr)
        return 130
    print(write(soak))
    return int(bool(problems(soak)))


def run(options: argparse.Namespace) -> Soak:
    """Run the two servers and the traffic.

    Raises:
        SoakError: It cannot be run.
    """
    emulated = ["--seed", str(options.seed), "--delay", str(options.delay)]
    emulated += ["--chaos", str(options.chaos), "--chaos-pause", str(LONGEST_PAUSE)]
    with servers(emulated, {}) as (proxy, emulator):
        soak = asyncio.run(_soak(options, proxy, emulator))
        soak.status = proxy.end()
        soak.read_logs(proxy.output, proxy.errors)
    return soak


async def _soak(options: argparse.Namespace, proxy: Server, emulator: Server) -> Soak:
    clock = time.monotonic
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as pings:
        await _ping(pings, proxy)
        before = gauge(proxy, clock())
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            traffic = Traffic(session, proxy.address, options.seed)
            soak = Soak(options.minutes, options.seed, options.workers, traffic.tally, before=before)
            end = clock() + options.minutes * 60
            watching = [
                asyncio.create_task(_watch_lag(soak, pings, proxy)),
                asyncio.create_task(_watch_process(soak, proxy)),
            ]
            rngs = [Random(f"{options.seed} {number}") for number in range(options.workers)]
            await asyncio.gather(*(_work(traffic, rng, options.think, end, proxy) for rng in rngs))
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        await _until_quiet(soak, pings, emulator)
        soak.after = gauge(proxy, clock())
        soak.loop_lags = loop(proxy).lags
        async with pings.get(f"{emulator.address}/_emulator/chaos") as answer:
            soak.chaos = await answer.json() if answer.status == 200 else {}
    return soak


async def _work(traffic: Traffic, rng: Random, think: float, end: float, proxy: Server) -> None:
    while time.monotonic() < end:
        if (status := proxy.process.poll()) is not None:
            raise SoakError(f"the proxy ended by itself, with {status}:\n{proxy.errors.read_text()[-2000:]}")
        await traffic.one()
        await asyncio.sleep(rng.random() * 2 * think)


async def _ping(session: aiohttp.ClientSession, proxy: Server) -> float:
    began = time.perf_counter()
    async with session.get(f"{proxy.address}/healthz") as answer:
        await answer.read()
        answer.raise_for_status()
    return time.perf_counter() - began


async def _watch_lag(soak: Soak, session: aiohttp.ClientSession, proxy: Server) -> None:
    while True:
        try:
            async with asyncio.timeout(5):
                soak.lags.append(await _ping(session, proxy))
        except (TimeoutError, aiohttp.ClientError):
            soak.unanswered += 1
        await asyncio.sleep(PING_SECONDS)


async def _watch_process(soak: Soak, proxy: Server) -> None:
    said = time.monotonic()
    while True:
        soak.gauges.append(gauge(proxy, time.monotonic()))
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            asked, wrong = sum(soak.tally.asked.values()), sum(soak.tally.wrong.values())
            print(f"{asked:,} requests, {wrong} wrong, {soak.gauges[-1].rss:.1f} MiB", file=sys.stderr, flush=True)
        await asyncio.sleep(GAUGE_SECONDS)


async def _until_quiet(soak: Soak, session: aiohttp.ClientSession, emulator: Server) -> None:
    """Wait until the upstream has served nothing for a second: what the proxy still did is done then, and told."""
    deadline = time.monotonic() + QUIET_SECONDS
    quiet = 0
    while quiet < 10 and time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"{emulator.address}/_emulator/streams") as answer:
                soak.left_open = (await answer.json())["in_flight"]
        quiet = quiet + 1 if soak.left_open == 0 else 0
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    # A termination unwinds like an interrupt, so that no process is left behind.
    # A shell lets what runs in its background ignore interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
