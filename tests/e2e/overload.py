"""Sends the proxy three times what it can do: ``python -m tests.e2e.overload [--stream] [--bound 100] [--rounds 15]``.

First as much as a few busy connections get through, which is its peak; then three times that rate, whether it is
answered or not. What has to hold: nearly as much is answered as at the peak, the rest is refused quickly and in
OpenAI's words, and the health endpoint goes on answering. The proxy has a core of its own, where there are two; how
much is answered is also told per CPU time, because others may use that core. Machines change from one second to the
next, so there are many short rounds, and their median is what counts.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.bench.account import cpu_seconds
from tests.bench.answers import MODEL, Wanted, prompt_for
from tests.bench.cores import pin_beside, pin_measured, unpin
from tests.bench.loops import new_loop
from tests.bench.processes import upstream
from tests.server.processes import ACCOUNT, ROOT, TOKEN, port_of, process, ready

PEAK_CONNECTIONS = 32
LEAST_ANSWERS = 200
PROBES = 20
PROBE_SECONDS = 0.02


class Load:
    """What was sent and what came of it.

    Attributes:
        seconds: From a request to the end of its answer, by status.
        problems: Requests without an answer.
        sent: How many requests there were.
        unsent: Requests for which no connection was free.
        refusal: The body of a refusal.
        again: Send the next request with every answer.
    """

    def __init__(self, port, request):
        self.port = port
        self.request = request
        self.seconds = collections.defaultdict(list)
        self.sent = 0
        self.problems = 0
        self.unsent = 0
        self.refusal = b""
        self.again = False
        self._idle = []
        self._all = []

    async def open(self, count):
        loop = asyncio.get_running_loop()
        for first in range(0, count, 100):
            made = (
                loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
                for _ in range(min(100, count - first))
            )
            self._all += [protocol for _, protocol in await asyncio.gather(*made)]
        self._idle = list(self._all)

    def send(self):
        """Send one request, if a connection is free."""
        self.sent += 1
        if self._idle:
            self._idle.pop().send()
        else:
            self.unsent += 1

    def answered(self, connection, status, body, seconds):
        self.seconds[status].append(seconds)
        if status == 503:
            self.refusal = body
        if self.again:
            connection.send()
        else:
            self._idle.append(connection)

    def close(self):
        for connection in self._all:
            connection.transport.abort()


class Connection(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, load):
        self.load = load
        self.transport = None
        self.buffer = b""
        self.began = 0.0

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        if self.began:
            self.load.problems += 1

    def send(self):
        self.began = time.perf_counter()
        self.transport.write(self.load.request)

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(length) if length else not body.endswith(b"\r\n0\r\n\r\n"):
            return
        self.buffer = b""
        seconds, self.began = time.perf_counter() - self.began, 0.0
        self.load.answered(self, int(head[9:12]), body, seconds)


async def peak(port, request, seconds):
    """As much as the proxy gets through; requests per second."""
    load = Load(port, request)
    await load.open(PEAK_CONNECTIONS)
    load.again = True
    for _ in range(PEAK_CONNECTIONS):
        load.send()
    await asyncio.sleep(seconds)
    load.again = False
    load.close()
    assert not load.problems
    # What the flood before has left behind may be in the way for a moment.
    assert len(load.seconds[503]) * 10 < len(load.seconds[200])
    return len(load.seconds[200]) / seconds


async def flood(load, rate, seconds):
    """Requests at a rate, come what may."""
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < seconds:
        while load.sent < now * rate:
            load.send()
        await asyncio.sleep(0.001)


async def probe(port):
    """One client that is not busy: how long a health check and a request take, until standard input ends."""
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    health = Load(port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    chat = Load(port, chat_request(Wanted(5)))
    for load in (health, chat):
        await load.open(PROBES)
        # Connections wait to be taken; that is not what is measured.
        for _ in range(PROBES):
            load.send()
        while sum(map(len, load.seconds.values())) < PROBES:
            await asyncio.sleep(PROBE_SECONDS)
        load.seconds.clear()
    print("ready", flush=True)
    while not end.done():
        health.send()
        chat.send()
        await asyncio.sleep(PROBE_SECONDS)
    print(json.dumps([health.seconds, chat.seconds]))


@contextlib.asynccontextmanager
async def probing(port):
    """Run ``probe`` in a process of its own; yields what it will have seen."""
    seen = []
    command = [sys.executable, "-m", "tests.e2e.overload", "--probe", str(port)]
    with subprocess.Popen(  # noqa: ASYNC220 - it is waited for in threads
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        try:
            await asyncio.to_thread(running.stdout.readline)
            yield seen
            seen += json.loads((await asyncio.to_thread(running.communicate, ""))[0])
        finally:
            running.kill()


@contextlib.asynccontextmanager
async def bounded(upstream_address, *, pinned=False, **arguments):
    """A proxy with bounds of its own; yields its process and port."""
    settings = {
        "cloudflare_account_id": ACCOUNT,
        "cloudflare_api_token": TOKEN,
        "upstream_url": f"{upstream_address}/client/v4",
        "catalogue_refresh_seconds": 0,
        "log_format": "json",
        **arguments.pop("settings", {}),
    }
    if pinned:
        pin_measured()
    with process("tests.server.child", json.dumps({"settings": settings, **arguments})) as running:
        if pinned:
            pin_beside(os.getpid())
        port = await port_of(running)
        await ready(port)
        yield running, port


def percentile(values, percent):
    """In milliseconds."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] * 1e3 if ordered else math.nan


def chat_request(wanted, *, stream=False):
    asking = {"model": MODEL, "messages": [{"role": "user", "content": prompt_for(wanted)}], "stream": stream}
    body = json.dumps(asking, separators=(",", ":")).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Round:
    """One peak and one flood.

    Attributes:
        peak: Answers per second at the peak.
        offered: Requests per second of the flood.
        answered: Answers per second of the flood.
        share: The same, as a share of what the CPU time of the flood would have answered at the peak.
        load: The flood.
        healthy: Seconds of the health checks that were answered, from a client that is not busy.
        refused: Seconds of the refusals, likewise.
    """

    peak: float
    offered: float
    answered: float
    share: float
    load: Load
    healthy: list[float]
    refused: list[float]

    def __str__(self):
        return (
            f"peak {self.peak:.0f}/s, offered {self.offered:.0f}/s: answered {self.answered:.0f}/s "
            f"({self.answered / self.peak:.0%}; {self.share:.0%} for its CPU time), "
            f"p99 {percentile(self.load.seconds[200], 99):.0f} ms; "
            f"refused in {percentile(self.refused, 50):.0f} ms, p99 {percentile(self.refused, 99):.0f} ms; "
            f"health p99 {percentile(self.healthy, 99):.0f} ms; {self.load.problems} without an answer"
        )


async def overload(running, port, request, seconds, times=3.0, connections=2_000):
    """Find the peak, and send so many times as much."""
    before = cpu_seconds([running.pid])
    best = await peak(port, request, seconds)
    each = (cpu_seconds([running.pid]) - before) / (best * seconds)
    load = Load(port, request)
    await load.open(connections)
    flooding = asyncio.create_task(flood(load, best * times, math.inf))
    await asyncio.sleep(0.5)
    async with probing(port) as seen:
        sent, answered, before = load.sent, len(load.seconds[200]), cpu_seconds([running.pid])
        began = time.perf_counter()
        # Long enough to tell, also where the machine is slow.
        while len(load.seconds[200]) < answered + LEAST_ANSWERS or time.perf_counter() < began + seconds:
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - began
        sent, answered = load.sent - sent, len(load.seconds[200]) - answered
        spent = cpu_seconds([running.pid]) - before
    flooding.cancel()
    load.close()
    healthy, probed = seen
    share = answered * each / spent
    return Round(best, sent / seconds, answered / seconds, share, load, healthy["200"], probed.get("503", []))


async def insist(port, request, seconds, connections):
    """So many clients that ask again as soon as they are refused, whatever they were told."""
    best = await peak(port, request, seconds)
    load = Load(port, request)
    await load.open(connections)
    load.again = True
    for _ in range(connections):
        load.send()
    await asyncio.sleep(0.5)
    before = {status: len(each) for status, each in load.seconds.items()}
    await asyncio.sleep(seconds)
    answered, refused = (len(load.seconds[status]) - before.get(status, 0) for status in (200, 503))
    load.close()
    half, most = (percentile(load.seconds[503], percent) for percent in (50, 99))
    share = answered / seconds / best
    return (
        f"{connections} that insist: answered {answered / seconds:.0f}/s ({share:.0%} of the peak), "
        f"refused {refused / seconds:.0f}/s, in {half:.0f} ms, p99 {most:.0f} ms"
    )


async def run(upstream_port, options):
    request = chat_request(Wanted(100 if options.stream else 5), stream=options.stream)
    bounds = {"in_flight": options.bound}
    async with bounded(f"http://127.0.0.1:{upstream_port}", pinned=True, bounds=bounds) as (running, port):
        await peak(port, request, 0.5)
        rounds = []
        for _ in range(options.rounds):
            rounds.append(await overload(running, port, request, options.seconds, options.times))
            print(rounds[-1], flush=True)
        shares = [round_.answered / round_.peak for round_ in rounds]
        print(f"of the peak: {statistics.median(shares):.0%} in the median, {statistics.mean(shares):.0%} in the mean")
        print(await insist(port, request, options.seconds, round(options.times * options.bound)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--bound", type=int, default=100)
    parser.add_argument("--times", type=float, default=3.0)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--probe", type=int)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        if options.probe:
            runner.run(probe(options.probe))
            return
        try:
            with upstream() as port:
                runner.run(run(port, options))
        finally:
            unpin()


if __name__ == "__main__":
    main()
