"""Kills the proxy again and again: ``python -m tests.e2e.crash --rounds 30 [--seed N] [--lease SECONDS]``.

In each round the real proxy is started on the same data directory, several clients create responses in every way in
which they can, and at a random moment the process is killed with SIGKILL. After the next start every response that a
client saw completed is there as the client saw it, and work that was left to the background ends: completed, or
failed with a reason, but never stuck.
"""

import argparse
import collections
import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.serving import serving, until

ROOT = Path(__file__).resolve().parents[2]
MODEL = "@cf/openai/gpt-oss-20b"
CLIENTS = 6
ENDED = {"completed", "incomplete", "failed", "cancelled"}


def serve(lease):
    """The child: the command as people start it, with leases that need not be waited for so long."""
    from app.cli import main  # noqa: PLC0415 - only the child needs it
    from app.exchange import background  # noqa: PLC0415

    background.LEASE_SECONDS = lease
    background.RENEW_SECONDS = lease / 4
    background.POLL_SECONDS = min(background.POLL_SECONDS, lease)
    main(["serve", "--port", "0"])


@contextlib.contextmanager
def proxy(upstream, folder, lease, module="tests.e2e.crash", seconds=10, **environ):
    """A running proxy: its process and a client for it.

    Args:
        upstream: The emulator's address.
        folder: Its data directory.
        lease: How long it holds work, in seconds.
        module: What ``--serve LEASE`` makes a proxy with such leases.
        seconds: How long it may take to be ready, and to answer.
        environ: Further environment variables.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--serve", str(lease)],
        cwd=ROOT,
        env={
            **clean,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": TOKEN,
            "FLARELAY_UPSTREAM_URL": f"{upstream}/client/v4",
            "FLARELAY_DATA_DIR": folder,
            "FLARELAY_CATALOGUE_REFRESH_SECONDS": "0",
            **environ,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        found = re.search(r"http://[0-9.]+:\d+", line)
        assert found, line + process.stderr.read()
        with httpx.Client(base_url=found[0], timeout=seconds, trust_env=False) as http:
            until(lambda: _is_ready(http), seconds)
            yield process, http
    finally:
        process.kill()
        process.communicate()


def _is_ready(http):
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


class Told:
    """What clients were told, by response id."""

    def __init__(self):
        self.ended = {}
        self.queued = set()
        self.talks = collections.defaultdict(list)


def ask(http, told, chance, count):
    """One client: a response in one of the ways in which there are, and what it said."""
    body = {"model": MODEL, "input": f"Write {chance.randrange(1, 60)} words about {count}."}
    way = count % 5
    if way == 0:
        final = http.post("/v1/responses", json=body).json()
        told.ended[final["id"]] = final
    elif way == 1:
        with http.stream("POST", "/v1/responses", json={**body, "stream": True}) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {") and '"type":"response.completed"' in line:
                    final = json.loads(line[6:])["response"]
                    told.ended[final["id"]] = final
    elif way == 2:
        made = http.post("/v1/responses", json={**body, "background": True}).json()
        told.queued.add(made["id"])
    elif way == 3:
        with http.stream("POST", "/v1/responses", json={**body, "background": True, "stream": True}) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if event["type"] == "response.created":
                    told.queued.add(event["response"]["id"])
                elif event["type"] == "response.completed":
                    told.ended[event["response"]["id"]] = event["response"]
    else:
        talk = http.post("/v1/conversations", json={}).json()["id"]
        final = http.post("/v1/responses", json={**body, "conversation": talk}).json()
        told.ended[final["id"]] = final
        told.talks[talk].append(final["output"][-1]["id"])


def write_until_killed(address, told, chance):
    with httpx.Client(base_url=address, timeout=10, trust_env=False) as http:
        for count in itertools.count(chance.randrange(5)):
            try:
                ask(http, told, chance, count)
            except (httpx.TransportError, httpx.StreamError):
                return


def missing(http, told):
    """What was told and is not there, or is otherwise."""
    lost = []
    for name, final in told.ended.items():
        answer = http.get(f"/v1/responses/{name}")
        if answer.status_code != 200 or answer.json() != final:
            lost.append(name)
    for talk, items in told.talks.items():
        listed = http.get(f"/v1/conversations/{talk}/items", params={"limit": 100}).json()
        if not set(items) <= {item["id"] for item in listed.get("data", ())}:
            lost.append(talk)
    return lost


def crash(rounds, seed, lease):
    """Returns how many responses were told completed, and how the background ones ended."""
    chance = random.Random(seed)
    told = Told()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        emulator = create_emulator(account_id=ACCOUNT, token=TOKEN, token_delay=0.002)
        upstream = stack.enter_context(serving(emulator))
        for number in range(rounds):
            with proxy(upstream, folder, lease) as (process, http):
                lost = missing(http, told)
                assert not lost, f"seed {seed}, round {number}: lost {lost}"
                clients = [
                    threading.Thread(
                        target=write_until_killed, args=(str(http.base_url), told, random.Random(chance.random()))
                    )
                    for _ in range(CLIENTS)
                ]
                before = len(told.ended)
                for client in clients:
                    client.start()
                # Each round is to have told something, and is then killed at a moment that nobody chose.
                until(lambda: len(told.ended) > before)  # noqa: B023 - called before the loop goes on
                time.sleep(chance.random() * 0.4)
                process.send_signal(signal.SIGKILL)
                for client in clients:
                    client.join()
        with proxy(upstream, folder, lease) as (_, http):
            lost = missing(http, told)
            assert not lost, f"seed {seed}, in the end: lost {lost}"
            statuses = {}

            def all_ended():
                for name in told.queued - statuses.keys():
                    answer = http.get(f"/v1/responses/{name}")
                    assert answer.status_code == 200, f"seed {seed}: lost {name}"
                    if answer.json()["status"] in ENDED:
                        statuses[name] = answer.json()
                return len(statuses) == len(told.queued)

            until(all_ended, seconds=3 * lease + 60)
            assert all(made["error"] for made in statuses.values() if made["status"] == "failed")
    return len(told.ended), collections.Counter(made["status"] for made in statuses.values())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--serve", type=float)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    began = time.perf_counter()
    ended, background = crash(options.rounds, options.seed, options.lease)
    seconds = time.perf_counter() - began
    print(f"{options.rounds} rounds, {ended} seen completed, 0 lost, background {dict(background)}, {seconds:.0f} s")


if __name__ == "__main__":
    main()
