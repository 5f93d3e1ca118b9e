"""Kills the proxy while it does batches: ``python -m tests.e2e.batch_crash --kills 50 [--lines 1000] [--seed N]``.

One large batch is made. In each round the real proxy is started on the same data directory, is given a small batch on
top, and is killed with SIGKILL at a random moment: so kills fall into the checking of files, the asking of lines and
the writing of results. In the end every line of every batch is in its output or error file exactly once, with its own
answer, and nothing that had been counted was ever uncounted.
"""

import argparse
import contextlib
import json
import random
import signal
import tempfile
import time
from pathlib import Path

from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.e2e.crash import proxy as crash_proxy
from tests.serving import serving, until

ROOT = Path(__file__).resolve().parents[2]
MODEL = "@cf/openai/gpt-oss-20b"
ENDPOINT = "/v1/chat/completions"
SMALL = 5
ENDED = {"completed", "failed", "expired", "cancelled"}


def serve(lease):
    """The child: the command as people start it, with leases that need not be waited for so long."""
    from app.cli import main  # noqa: PLC0415 - only the child needs it
    from app.exchange import batch_care, batch_lines, batch_packs  # noqa: PLC0415

    for module in (batch_care, batch_lines, batch_packs):
        module.LEASE_SECONDS = lease
        module.RENEW_SECONDS = lease / 4
        module.POLL_SECONDS = min(lease, 0.5)
    main(["serve", "--port", "0"])


def proxy(upstream, folder, lease, places, *, queue=True):
    """A running proxy that does batches: its process and a client for it."""
    batches = {"FLARELAY_BATCH_PLACES": str(places), "FLARELAY_BATCH_QUEUE": str(queue).lower()}
    return crash_proxy(upstream, folder, lease, "tests.e2e.batch_crash", 30, **batches)


def lines(name, count, model=MODEL):
    """The lines of a batch: each has an answer of its own, and every tenth is one that cannot be asked."""
    made = {}
    for number in range(count):
        body = {"model": model, "messages": [{"role": "user", "content": f"Say exactly: {name} {number}"}]}
        if number % 10 == 9:
            body["temperature"] = "hot"
        made[f"{name}-{number}"] = {"custom_id": f"{name}-{number}", "method": "POST", "url": ENDPOINT, "body": body}
    return made


def begin(http, asked):
    data = "".join(json.dumps(line) + "\n" for line in asked.values()).encode()
    file = http.post("/v1/files", data={"purpose": "batch"}, files={"file": data}).raise_for_status().json()
    body = {"input_file_id": file["id"], "endpoint": ENDPOINT, "completion_window": "24h"}
    return http.post("/v1/batches", json=body).raise_for_status().json()["id"]


def done(batch):
    return batch["request_counts"]["completed"] + batch["request_counts"]["failed"]


def results(http, batch):
    """All lines of both files, and the custom ids of each."""
    found = {}
    for kind in ("output_file_id", "error_file_id"):
        text = http.get(f"/v1/files/{batch[kind]}/content").raise_for_status().text if batch[kind] else ""
        found[kind] = [json.loads(line) for line in text.splitlines()]
    return found["output_file_id"], found["error_file_id"]


def judge(http, batch, asked):
    """Every line is there once, where it belongs, with its own answer."""
    output, errors = results(http, batch)
    names = [line["custom_id"] for line in (*output, *errors)]
    assert sorted(names) == sorted(asked), f"{batch['id']}: {len(names)} results, {len(set(names))} of them different"
    assert {line["custom_id"] for line in errors} == {one for one in asked if "temperature" in asked[one]["body"]}
    for line in output:
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        wanted = asked[line["custom_id"]]["body"]["messages"][0]["content"].removeprefix("Say exactly: ")
        assert said.endswith(wanted), f"{line['custom_id']} has the answer {said}"
    counts = batch["request_counts"]
    assert (counts["total"], counts["completed"], counts["failed"]) == (len(asked), len(output), len(errors))
    usage = [line["response"]["body"]["usage"]["total_tokens"] for line in output]
    assert batch["usage"]["total_tokens"] == sum(usage)


def crash(kills, count, seed, lease, *, model=MODEL, places=4, seconds=0.5):
    """Returns how many lines were answered, and how often the upstream was asked for them."""
    chance = random.Random(seed)
    # Without the queue each request of the upstream is one line.
    queue = model != MODEL
    batches = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        emulator = create_emulator(account_id=ACCOUNT, token=TOKEN, token_delay=0.004)
        upstream = stack.enter_context(serving(emulator))
        large, counted = None, 0
        for number in range(kills):
            with proxy(upstream, folder, lease, places, queue=queue) as (process, http):
                if large is None:
                    asked = lines("large", count, model)
                    large = begin(http, asked)
                    batches[large] = asked
                before, counted = counted, done(http.get(f"/v1/batches/{large}").json())
                assert counted >= before, f"seed {seed}, round {number}: {before} lines were counted, now {counted}"
                asked = lines(f"small{number}", SMALL, model)
                batches[begin(http, asked)] = asked
                time.sleep(chance.random() * seconds)
                process.send_signal(signal.SIGKILL)
        assert counted < count, "it was over before the last kill"
        with proxy(upstream, folder, lease, places, queue=queue) as (_, http):
            for batch_id, asked in batches.items():
                found = {}

                def is_done(batch_id=batch_id, found=found):
                    found.update(http.get(f"/v1/batches/{batch_id}").json())
                    time.sleep(0.05)
                    return found["status"] in ENDED

                until(is_done, seconds=120)
                assert found["status"] == "completed", found
                judge(http, found, asked)
    answered = sum("temperature" not in line["body"] for asked in batches.values() for line in asked.values())
    return sum(len(asked) for asked in batches.values()), answered, emulator.state.emulator.next_serial() - 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=MODEL, help="one whose requests can be queued has packs under way as well")
    parser.add_argument("--lease", type=float, default=3.0)
    parser.add_argument("--serve", type=float)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    began = time.perf_counter()
    total, answered, asked = crash(options.kills, options.lines, options.seed, options.lease, model=options.model)
    seconds = time.perf_counter() - began
    print(
        f"{options.kills} kills, {total} lines, each in its output or error file exactly once; "
        f"{answered} answers, the upstream was asked {asked} times; {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
