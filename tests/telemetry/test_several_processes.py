"""Several workers on one port: whichever is asked shows what all have counted, also of those that are gone."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import httpx
import pytest

from tests.server.processes import children, ended, process, proxy, said
from tests.serving import until
from tests.telemetry.test_metrics import named, samples_in

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

WORKERS = 3
HELLO = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Write 5 words."}]}
SEVERAL = {"FLARELAY_WORKERS": str(WORKERS), "FLARELAY_STORE": "false"}


def counted_in(pid):
    """The folder in which a worker counts."""
    (folder,) = set(re.findall(r"/\S*flarelay-metrics-[^/]+", Path(f"/proc/{pid}/maps").read_text()))
    return Path(folder)


async def scrape(port):
    """The metrics over a connection of its own, which any worker may get."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
        answer = await http.get("/metrics")
        assert answer.status_code == 200
        return samples_in(answer.text)


async def ask(port, times):
    for _ in range(times):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
            assert (await http.post("/v1/chat/completions", json=HELLO)).status_code == 200


def requests(found):
    return sum(named(found, "flarelay_requests_total").values())


async def test_any_worker_shows_what_all_have_counted(emulator):
    async with proxy(emulator, **SEVERAL) as (running, port), asyncio.timeout(60):
        until(lambda: len(children(running.pid)) == WORKERS)
        while (await scrape(port))["flarelay_processes"] < WORKERS:
            await asyncio.sleep(0.05)
        await ask(port, 20)
        folder = counted_in(children(running.pid)[0])
        assert folder.is_dir()
        found = [await scrape(port) for _ in range(12)]
        assert {requests(one) for one in found} == {20}
        assert {one["flarelay_processes"] for one in found} == {WORKERS}
        # A worker that is killed takes nothing with it, and its successor goes on.
        os.kill(children(running.pid)[0], signal.SIGKILL)
        until(lambda: "killed by SIGKILL" in said(running))
        until(lambda: len(children(running.pid)) == WORKERS)
        while (await scrape(port))["flarelay_processes"] != WORKERS:
            await asyncio.sleep(0.05)
        await ask(port, 5)
        assert {requests(await scrape(port)) for _ in range(6)} == {25}
        running.send_signal(signal.SIGTERM)
        assert await ended(running, 20) == 0
        assert not folder.exists()


async def test_a_defect_of_a_worker_is_told_without_its_text(tmp_path):
    async with asyncio.timeout(60):
        with process("tests.telemetry.dying", PROMPT="canary-4711") as running:
            assert await ended(running, 30) == 1
            told = said(running)
    assert "a defect of this program" in told
    assert "RuntimeError" in told
    assert "canary" not in told
