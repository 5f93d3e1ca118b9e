"""Kills a writing process again and again: ``python -m tests.store.crash --rounds 200 [--url URL] [--seed N]``.

In each round a child process writes as fast as it can and tells each thing that it was told is kept; then it is
killed with SIGKILL at a random moment. The database is opened again, and everything that was told must be there, whole.
What was not told may be there or not, but never in part. Usage that is added up is what was told, or that and the one
batch that was under way.
"""

import argparse
import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from msgspec.structs import replace

from app.store.accounts import UsageRow
from app.store.contract import Context, Conversation, StoredResponse
from app.store.opening import open_store
from tests.store.records import ME, ids, item, made

WRITERS = 8
TODAY = "2026-11-21"
MODELS = 20


def talk_of(round_name):
    return f"talk_{round_name}"


def batch_of(round_name, number):
    """The usage of one batch: another one in each, so that a sum tells which have been added."""
    return [
        UsageRow(TODAY, f"key-{round_name}", f"@cf/{model:02}", "summed", 1, number, 0, 2 * number, number / 4)
        for model in range(MODELS)
    ]


def total_of(round_name, count):
    """What the first so many batches come to."""
    total = count * (count + 1) // 2
    return tuple(replace(row, requests=count) for row in batch_of(round_name, total)) if count else ()


def tell(*words):
    os.write(1, (" ".join(words) + "\n").encode())


async def write(url, round_name):
    """The child: several writers, each mixing all the ways in which an answer is kept."""
    store = await open_store(url)
    # One for each round, so that looking at it does not take longer and longer.
    talk = talk_of(round_name)
    await store.conversations.create(Conversation(talk, ME, 1.0))
    tell("ready")

    async def writer(number):
        previous = None
        for count in itertools.count():
            name = f"{round_name}.{number}.{count}"
            inputs, outputs = [item(f"{name}.in", "x" * 500)], [item(f"{name}.out", "y" * 2_000)]
            if count % 3 == 0:
                await store.responses.save(made(name, conversation_id=talk), inputs, outputs)
                tell("talk", name)
            elif count % 3 == 1:
                await store.responses.save(made(name, previous_response_id=previous), inputs, outputs)
                tell("response", name)
            else:
                await store.work.enqueue(made(name, "queued", background=True), inputs, b"{}")
                claim = await store.work.claim(f"{number}", 1.0, 1e9)
                assert claim is not None
                name = claim.response.id
                await store.work.append_events(claim, [(0, b"first")], 1.0)
                output = [item(f"{name}.out")]
                await store.work.finish(
                    claim, status="completed", body=b"{}", now=1.0, output_items=output, events=[(1, b"last")]
                )
                tell("work", name)
            previous = name

    async def ledger():
        for count in itertools.count(1):
            await store.usage.add(batch_of(round_name, count))
            tell("usage", str(count))

    await asyncio.gather(ledger(), *(writer(number) for number in range(WRITERS)))


def run_and_kill(url, round_name, chance):
    """Run the child, kill it after some of its lines and a moment more; returns what it told."""
    command = [sys.executable, "-m", "tests.store.crash", "--write", round_name, "--url", url]
    told = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        lines = iter(child.stdout.readline, b"")
        assert next(lines, b"") == b"ready\n", "the child did not start"
        told += itertools.islice(lines, chance.randrange(150))
        deadline = time.perf_counter() + chance.random() * 0.004
        while time.perf_counter() < deadline:
            pass
        child.send_signal(signal.SIGKILL)
        told += lines
        assert child.wait() == -signal.SIGKILL
    # A pipe keeps what was written before the kill; a line without its end was not told.
    return [line.decode().split() for line in told if line.endswith(b"\n")]


async def lost(url, round_name, told):
    """What was told and is not there, or not whole."""
    store = await open_store(url)
    missing = []
    try:
        talk = set(ids((await store.conversations.context(ME, talk_of(round_name))).items))
        added = max((int(name) for kind, name in told if kind == "usage"), default=0)
        usage = await store.usage.rows(TODAY, TODAY, caller=f"key-{round_name}")
        if usage not in {total_of(round_name, added), total_of(round_name, added + 1)}:
            missing.append(f"usage of {added} batches")
        for kind, name in told:
            if kind == "usage":
                continue
            response = await store.responses.get(ME, name)
            context = await store.responses.context(ME, name)
            own = [f"{name}.in", f"{name}.out"]
            whole = (
                isinstance(response, StoredResponse)
                and response.status == "completed"
                and isinstance(context, Context)
                and ids(context.items)[-2:] == own
                and (kind != "talk" or talk.issuperset(own))
            )
            if kind == "work" and whole:
                whole = (await store.work.events(ME, name)).frames == ((0, b"first"), (1, b"last"))
            if not whole:
                missing.append(name)
        # Also of what was not told, nothing is there in part.
        assert len(talk) % 2 == 0
    finally:
        await store.close()
    return missing


def crash(url, rounds, seed):
    """Returns how many were told; raises ``AssertionError`` when one of them is lost."""
    chance = random.Random(seed)
    count = 0
    for number in range(rounds):
        told = run_and_kill(url, f"r{number}", chance)
        missing = asyncio.run(lost(url, f"r{number}", told))
        assert not missing, f"seed {seed}, round {number}: lost {missing}"
        count += len(told)
    return count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url")
    parser.add_argument("--write")
    options = parser.parse_args()
    if options.write:
        asyncio.run(write(options.url, options.write))
        return
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        count = crash(options.url or f"sqlite:///{folder}/crash.db", options.rounds, options.seed)
        seconds = time.perf_counter() - started
    print(f"{options.rounds} rounds, {count} acknowledged, 0 lost, {seconds:.0f} s")


if __name__ == "__main__":
    main()
