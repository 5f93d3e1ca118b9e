"""Many slow streams at once: ``python -m tests.e2e.streams``, from the repository's root. Linux, loopback only.

A proxy as its users start it, before an emulator that says a word now and then, and a thousand clients, of which some
leave on the way. What has to hold: every text that was waited for comes whole, the upstream serves nothing any more
when all is over, and has no connection left when the proxy ends. The figures are memory for each stream, and how late
the event loop was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiohttp

from app.server.listening import allow_many_files
from tests.soak.report import PARTS, percentile, weighed
from tests.soak.servers import Gauge, Server, SoakError, gauge, loop, servers

MODEL: Final = "@cf/meta/llama-3.1-8b-instruct-fp8"
OPENING: Final = 100
"""How many are opened at a time: more than a listener keeps waiting would be refused by the system."""

PING_SECONDS: Final = 0.05
GAUGE_SECONDS: Final = 0.5
CLOSING_SECONDS: Final = 5.0
"""How long the upstream may take to see the end of everything."""


_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Run:
    """All that was seen.

    Attributes:
        asked: How many streams there were to be.
        whole: Those that came to their end with the right text.
        left: Those whose client left.
        wrong: What was not as it has to be, with how often.
        most_open: The most that were open at the same time, as the upstream counts.
        before: The proxy, before them.
        most: The proxy, when it held most memory.
        after: The proxy, when all was over.
        opened: How many have begun to be answered.
        lags: How late its event loop was, in seconds, with how often.
        lags_when_open: The same at the moment when all had begun.
        lags_open: The same from then until the first of them ended.
        pings: How long its ``/healthz`` took, in seconds.
        left_open: Requests that the upstream still served at the end.
        connections: The emulator's sockets before all, when all was over (some are kept for the next requests),
            and when the proxy had ended.
        seconds: From the first request to the last byte.
        status: The proxy's exit status.
    """

    asked: int
    whole: int = 0
    left: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    most_open: int = 0
    before: Gauge | None = None
    most: Gauge | None = None
    after: Gauge | None = None
    opened: int = 0
    lags: Counter[float] = field(default_factory=Counter)
    lags_when_open: Counter[float] = field(default_factory=Counter)
    lags_open: Counter[float] = field(default_factory=Counter)
    pings: list[float] = field(default_factory=list)
    left_open: int = 0
    connections: tuple[int, int, int] = (0, 0, 0)
    seconds: float = 0.0
    status: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the streams; the exit status is 1 when something is wrong, 2 when it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--words", type=int, default=40, help="of each text, at most 676")
    parser.add_argument("--delay", type=float, default=0.5, help="seconds between two words")
    parser.add_argument("--leaving", type=float, default=0.02, help="the part of the clients that leaves on the way")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    allow_many_files()
    try:
        run = hold(options)
    except SoakError as error:
        print(f"streams: {error}", file=sys.stderr)
        return 2
    print(write(run))
    return int(bool(problems(run)))


def hold(options: argparse.Namespace) -> Run:
    """Start the servers and hold the streams.

    Raises:
        SoakError: It cannot be done.
    """
    with servers(["--delay", str(options.delay)], {}) as (proxy, emulator):
        first = gauge(emulator, time.monotonic()).sockets
        run = asyncio.run(_hold(options, proxy, emulator))
        over = gauge(emulator, time.monotonic()).sockets
        run.status = proxy.end()
        deadline = time.monotonic() + CLOSING_SECONDS
        while (last := gauge(emulator, time.monotonic()).sockets) > first and time.monotonic() < deadline:
            time.sleep(GAUGE_SECONDS / 10)
        run.connections = (first, over, last)
    return run


async def _hold(options: argparse.Namespace, proxy: Server, emulator: Server) -> Run:
    run, rng = Run(options.streams), Random(f"streams {options.seed}")
    leaving = frozenset(rng.sample(range(options.streams), round(options.streams * options.leaving)))
    places = asyncio.Semaphore(OPENING)
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession() as pings, aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        # What is loaded with the first request is no stream's.
        warm = Run(1)
        await _stream(warm, session, proxy, 0, 2, None, places)
        run.wrong.update(warm.wrong)
        run.before, lags_before = gauge(proxy, time.monotonic()), loop(proxy).lags
        watching = [
            asyncio.create_task(_watch_pings(run, pings, proxy)),
            asyncio.create_task(_watch_servers(run, pings, proxy, emulator)),
        ]
        began = time.monotonic()
        streams = []
        for number in range(options.streams):
            leaves_after = rng.randrange(1, max(options.words - 1, 2)) if number in leaving else None
            streams.append(_stream(run, session, proxy, number, options.words, leaves_after, places))
        await asyncio.gather(*streams)
        run.seconds = time.monotonic() - began
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        run.lags = loop(proxy).lags - lags_before
        await _until_over(run, pings, proxy, emulator)
    return run


async def _stream(
    run: Run,
    session: aiohttp.ClientSession,
    proxy: Server,
    number: int,
    words: int,
    leaves_after: int | None,
    places: asyncio.Semaphore,
) -> None:
    # The emulator says a word at a time, but numbers in parts.
    due = f"{number}: " + " ".join(_LETTERS[place // 26] + _LETTERS[place % 26] for place in range(words))
    body = {"model": MODEL, "messages": [{"role": "user", "content": f"Say exactly: {due}"}], "stream": True}
    data = bytearray()
    try:
        async with places:
            answer = await session.post(f"{proxy.address}/v1/chat/completions", json=body)
        run.opened += 1
        if run.opened == run.asked:
            run.lags_when_open = loop(proxy).lags
        async with answer:
            async for block in answer.content.iter_any():
                data += block
                if leaves_after is not None and data.count(b"data: ") > leaves_after:
                    # Leaving the block with the answer unread closes the connection.
                    answer.close()
                    run.left += 1
                    return
        if run.lags_when_open and not run.lags_open:
            run.lags_open = loop(proxy).lags - run.lags_when_open
        _judge(run, answer.status, bytes(data), due)
    except aiohttp.ClientError as error:
        run.wrong[f"{type(error).__name__}: {error}"[:200]] += 1


def _judge(run: Run, status: int, data: bytes, due: str) -> None:
    payloads = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    if status != 200 or not payloads or payloads[-1] != b"[DONE]":
        run.wrong[f"status {status}, it ends with {data[-200:]!r}"] += 1
        return
    chunks: list[Any] = [json.loads(payload) for payload in payloads[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    if text == due:
        run.whole += 1
    else:
        run.wrong["another text than was asked for"] += 1


async def _watch_pings(run: Run, session: aiohttp.ClientSession, proxy: Server) -> None:
    while True:
        began = time.perf_counter()
        async with session.get(f"{proxy.address}/healthz") as answer:
            await answer.read()
        run.pings.append(time.perf_counter() - began)
        await asyncio.sleep(PING_SECONDS)


async def _watch_servers(run: Run, session: aiohttp.ClientSession, proxy: Server, emulator: Server) -> None:
    while True:
        now = gauge(proxy, time.monotonic())
        run.most = now if run.most is None or now.rss > run.most.rss else run.most
        run.most_open = max(run.most_open, (await _streams(session, emulator))["open"])
        await asyncio.sleep(GAUGE_SECONDS)


async def _until_over(run: Run, session: aiohttp.ClientSession, proxy: Server, emulator: Server) -> None:
    """Wait until the upstream serves nothing."""
    deadline = time.monotonic() + CLOSING_SECONDS
    run.left_open = run.asked
    while run.left_open and time.monotonic() < deadline:
        run.left_open = (await _streams(session, emulator))["in_flight"]
        await asyncio.sleep(GAUGE_SECONDS)
    run.after = gauge(proxy, time.monotonic())


async def _streams(session: aiohttp.ClientSession, emulator: Server) -> dict[str, int]:
    async with session.get(f"{emulator.address}/_emulator/streams") as answer:
        counted: dict[str, int] = await answer.json()
        return counted


def problems(run: Run) -> list[str]:
    """What is not as it has to be, in sentences; none when all is well."""
    found = [f"{times} times: {what}" for what, times in run.wrong.most_common(10)]
    if run.whole + run.left != run.asked:
        found.append(f"{run.asked - run.whole - run.left} of {run.asked} streams neither came whole nor were left")
    if run.left_open:
        found.append(f"{run.left_open} requests are still open at the upstream")
    first, _, last = run.connections
    if last > first:
        found.append(f"{last - first} connections to the upstream are left")
    if run.status != 0:
        found.append(f"the proxy ended with status {run.status}")
    return found


def write(run: Run) -> str:
    """What is printed at the end."""
    before, most, after = run.before, run.most, run.after
    lines = [
        f"{run.asked:,} streams, {run.most_open:,} of them open at once, in {run.seconds:.0f} s",
        f"whole: {run.whole:,}; left by their clients: {run.left}; wrong: {sum(run.wrong.values())}",
    ]
    if before is not None and most is not None and after is not None:
        each = (most.rss - before.rss) * 1024 / max(run.most_open, 1)
        lines += [
            f"memory in MiB: {before.rss:.1f} before, {most.rss:.1f} at most, {after.rss:.1f} after",
            f"  of it for each stream: {each:.0f} KiB",
            f"the proxy's sockets: {before.sockets} before, {most.sockets} at most, {after.sockets} after",
        ]
    for when, lags in (("from the first request to the last byte", run.lags), ("while all were open", run.lags_open)):
        shown = ", ".join(f"p{part * 100:g} {weighed(lags, part) * 1000:.1f}" for part in PARTS)
        lines.append(f"the event loop's lag in ms, {when}: {shown} ({lags.total():,} ticks)")
    shown = ", ".join(f"p{part * 100:g} {percentile(run.pings, part) * 1000:.1f}" for part in PARTS)
    lines.append(f"/healthz in ms over {len(run.pings):,} pings: {shown}")
    first, over, last = run.connections
    lines.append(
        f"the upstream's connections: {first} before, {over} after (kept for more), {last} when the proxy ended"
    )
    lines.append(f"left open at the upstream: {run.left_open}; exit status {run.status}")
    found = problems(run)
    lines += ["all is well"] if not found else ["PROBLEMS", *(f"  {problem}" for problem in found)]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
