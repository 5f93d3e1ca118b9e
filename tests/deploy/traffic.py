"""Clients for the topology: each request is counted by what became of it, and none is tried again."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

MODEL = "gpt-oss-20b"
END = b"data: [DONE]"


@dataclass
class Tally:
    """What became of requests.

    Attributes:
        kinds: How many of each kind: ``ok``, an HTTP status, or what broke.
        slowest: Seconds of the slowest answer.
        faults: The first few that were not answered whole, in words.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def add(self, kind: str, seconds: float, about: str = "") -> None:
        """Count one."""
        self.kinds[kind] += 1
        self.slowest = max(self.slowest, seconds)
        if kind != "ok" and len(self.faults) < 10:
            self.faults.append(f"{kind}: {about}")

    @property
    def failed(self) -> int:
        """Requests that were not answered whole."""
        return self.kinds.total() - self.kinds["ok"]


def client(url: str, key: str | None = None, connections: int = 100) -> aiohttp.ClientSession:
    """A client as programs have one: it keeps connections open."""
    return aiohttp.ClientSession(
        url,
        headers={"authorization": f"Bearer {key}"} if key else {},
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=60),
    )


async def chat(session: aiohttp.ClientSession, tally: Tally, body: dict[str, Any], padding: int = 0) -> None:
    """Send one request, and see whether it is answered whole.

    Args:
        session: Whose.
        tally: Where it is counted.
        body: What differs from the usual.
        padding: Bytes by which the request is longer than it need be.
    """
    text = "Write 40 words about the sea." + " " * padding
    request = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 60, **body}
    began = time.perf_counter()
    kind, about = "ok", ""
    try:
        async with session.post("/v1/chat/completions", json=request) as answer:
            content = await answer.read()
            if answer.status != 200:
                kind, about = str(answer.status), content[:200].decode("utf-8", "replace")
            elif request.get("stream"):
                if END not in content:
                    kind, about = "cut", content[-200:].decode("utf-8", "replace")
            elif not json.loads(content)["choices"]:
                kind, about = "empty", ""
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        kind, about = type(error).__name__, str(error)
    seconds = time.perf_counter() - began
    tally.add(kind, seconds, f"{about} (stream: {request.get('stream', False)}, after {seconds:.2f} s)")


LONG = {"stream": True, "max_tokens": 500, "messages": [{"role": "user", "content": "Write 450 words about the sea."}]}
"""Longer than a replica takes to start again."""


async def load(url: str, key: str, tally: Tally, stop: asyncio.Event, clients: int) -> None:
    """Keep as many clients busy until told to stop.

    Every other one streams, every eighth for some seconds; every fourth sends a long request.
    """

    async def one(number: int, session: aiohttp.ClientSession) -> None:
        body = LONG if number % 8 == 2 else {"stream": number % 2 == 0}
        while not stop.is_set():
            await chat(session, tally, body, 40_000 if number % 4 == 1 else 0)

    async with client(url, key, clients) as session:
        await asyncio.gather(*(one(number, session) for number in range(clients)))
