"""Clients that leave at every point of a request: how soon the upstream is let go, and what is left behind.

``python -m tests.e2e.disconnects``, from the repository's root, does each of them many times and prints the times. The
proxy and the upstream are real servers on loopback, in threads of this process.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock
from urllib.parse import urlsplit

import httpx

from app.emulator.server import create_emulator
from app.exchange.attempts import RetryBudget
from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving

ENDLESS = functools.partial(RetryBudget, most=1e9)
"""So many retries in so short a time are not the budget's everyday."""

KEY = "sk-leaving-0123456789abcdef"
ASKED = "Write 60 words."
TOOL = {
    "name": "write",
    "description": "Write it down.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string", "description": "What."}}},
}
PATHS = {
    "chat": "/v1/chat/completions",
    "choices": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "compact": "/v1/responses/compact",
    "socket": "/v1/responses",
    "background": "/v1/responses",
}


@dataclass(frozen=True)
class Point:
    """A point of a request at which its client leaves.

    Attributes:
        fault: What the upstream does.
        sees: What the client has seen when it leaves.
        stream: The client asked for a stream.
        tools: The client offered a tool.
        whole: The client sent the whole request.
        waits: Nothing is under way upstream: the proxy waits before it asks once more.
        produced: There is something to account for.
    """

    fault: str
    sees: bytes = b""
    stream: bool = True
    tools: bool = False
    whole: bool = True
    waits: bool = False
    produced: bool = False


POINTS = {
    "before it is sent": Point("plain", whole=False),
    "between two tries": Point("status", waits=True),
    "waiting for the first byte": Point("hang"),
    "in the text": Point("stall", b"delta", produced=True),
    "in a tool call": Point("stall", b"arguments", tools=True, produced=True),
    "unstreamed": Point("stall", stream=False, produced=True),
}

UPGRADE = (
    "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)

EVERYWHERE = tuple(POINTS)
ROUTES: dict[str, tuple[str, ...]] = {
    "chat": EVERYWHERE,
    "choices": ("waiting for the first byte", "in the text", "in a tool call", "unstreamed"),
    "completions": tuple(name for name in EVERYWHERE if name != "in a tool call"),
    "responses": EVERYWHERE,
    "compact": ("before it is sent", "between two tries", "waiting for the first byte", "unstreamed"),
    "socket": ("between two tries", "waiting for the first byte", "in the text", "in a tool call"),
    "background": ("between two tries", "waiting for the first byte", "in the text", "in a tool call", "unstreamed"),
}
CALLS = {"choices": 2}
"""How many calls of the upstream a request takes, where it is not one."""

CASES = [(route, name) for route, names in ROUTES.items() for name in names]


class Log(io.StringIO):
    """What the proxy logs of exchanges that have ended.

    Attributes:
        lines: One for each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def write(self, text: str) -> int:
        """Take one line."""
        line = json.loads(text)
        if line.get("event") == "exchange" and line["ending"] != "queued":
            self.lines.append(line)
        return len(text)


class World:
    """A proxy for one request at a time, and its upstream."""

    def __init__(self, emulator_state, address: str, log: Log, control: httpx.Client) -> None:
        self.state = emulator_state
        self.address = address
        self.log = log
        self.control = control
        self.client = httpx.Client(
            base_url=address, headers={"authorization": f"Bearer {KEY}"}, timeout=30, trust_env=False
        )

    def calls(self) -> int:
        """How many times a model was called."""
        return sum(request.method == "POST" for request in self.state.received)

    def leave(self, route: str, name: str) -> tuple[float, dict]:
        """Let one client leave; returns the seconds until the upstream is let go, and what was logged."""
        point = POINTS[name]
        self.forget()
        if point.waits:
            fault = {"fault": "status", "status": 503, "headers": {"retry-after": "5"}, "times": None}
        else:
            fault = {"fault": point.fault, "times": None}
        self.control.post("/faults", json=fault).raise_for_status()
        before = len(self.log.lines)
        leave = self._enter_background(point) if route == "background" else self._enter(route, point)
        began = time.perf_counter()
        leave()
        if not point.whole or point.waits:
            self._until(lambda: len(self.log.lines) > before)
        self._until(lambda: self.state.in_flight == 0)
        seconds = time.perf_counter() - began
        self._until(lambda: len(self.log.lines) > before)
        assert self.calls() == (CALLS.get(route, 1) if point.whole else 0), "the upstream was asked again"
        return seconds, self.log.lines[before]

    def forget(self) -> None:
        """Make the upstream well again, and forget what it got."""
        self.control.delete("/faults").raise_for_status()
        self.control.delete("/requests").raise_for_status()

    def is_free(self) -> bool:
        """Another request is let in."""
        self.forget()
        answer = self.client.post(PATHS["chat"], json={**body("chat", Point("plain", stream=False)), "max_tokens": 5})
        return answer.status_code == 200

    def _reached(self, route: str, point: Point) -> None:
        """Wait until the upstream, or the proxy, is where the client is to leave."""
        if point.whole:
            calls = CALLS.get(route, 1)
            self._until(lambda: self.calls() == calls)
            self._until(lambda: self.state.in_flight == (0 if point.waits else calls))
            self._until(lambda: self.state.open_streams == (calls if point.produced else 0))
        if not point.whole or (point.produced and not point.sees):
            # What the proxy has read by now can be seen from nowhere.
            time.sleep(0.05)

    def _enter(self, route: str, point: Point) -> Callable[[], None]:
        url = urlsplit(self.address)
        client = socket.create_connection((url.hostname, url.port), timeout=10)
        method = "GET" if route == "socket" else "POST"
        head = f"{method} {PATHS[route]} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
        if route == "socket":
            content = json.dumps({"type": "response.create", **body("responses", point)}).encode()
            client.sendall(f"{head}{UPGRADE}\r\n".encode())
            _read_until(client, b"\r\n\r\n")
            # One text frame, masked with zeros.
            client.sendall(b"\x81\xfe" + len(content).to_bytes(2, "big") + bytes(4) + content)
        else:
            content = json.dumps(body(route, point)).encode()
            head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            client.sendall(head.encode() + (content if point.whole else content[: len(content) // 2]))
        if point.sees:
            _read_until(client, b'"text"' if route == "completions" else point.sees)
        self._reached(route, point)
        return client.close

    def _enter_background(self, point: Point) -> Callable[[], None]:
        asked = {**body("responses", point), "background": True, "store": True, "stream": False}
        answer = self.client.post(PATHS["responses"], json=asked)
        self._reached("background", point)

        def leave() -> None:
            stopped = self.client.post(f"{PATHS['responses']}/{answer.json()['id']}/cancel")
            assert stopped.json().get("status") == "cancelled", stopped.text

        return leave

    @staticmethod
    def _until(condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.perf_counter() + seconds
        while not condition():
            assert time.perf_counter() < deadline, "it did not happen in time"
            time.sleep(0.0005)


def _read_until(client: socket.socket, mark: bytes) -> None:
    seen = b""
    while mark not in seen:
        block = client.recv(65_536)
        assert block, f"the answer ended: {seen!r}"
        seen += block


def body(route: str, point: Point) -> dict:
    """A request."""
    asked: dict = {"model": "@cf/openai/gpt-oss-120b"}
    chat = route in {"chat", "choices"}
    if chat:
        asked |= {"messages": [{"role": "user", "content": ASKED}], "n": CALLS.get(route, 1)}
    elif route == "completions":
        # Its default leaves no room beside the thinking.
        asked |= {"prompt": ASKED, "max_tokens": 500}
    else:
        asked["input"] = ASKED
    if point.tools:
        asked["tools"] = [{"type": "function", "function": TOOL} if chat else {"type": "function", **TOOL}]
    return asked if route == "compact" else {**asked, "stream": point.stream}


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Start the servers."""
    emulator, log = create_emulator(), Log()
    with serving(emulator) as upstream:
        # The application takes what is standard output at this moment for its log.
        with contextlib.redirect_stdout(log), mock.patch("app.exchange.upstream.RetryBudget", ENDLESS):
            app = create_app(
                settings_for(
                    upstream,
                    api_keys=KEY,
                    concurrency=1,
                    retries=2,
                    remember_failures=False,
                    catalogue_refresh_seconds=0,
                )
            )
        with serving(app) as address, httpx.Client(base_url=f"{upstream}/_emulator", trust_env=False) as control:
            made = World(emulator.state.emulator, address, log, control)
            try:
                yield made
            finally:
                made.client.close()


def main() -> None:
    """Print how soon the upstream is let go."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.disconnects", description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50, help="how often each is done (default: %(default)s)")
    times = parser.parse_args().times
    every: list[float] = []
    print(f"{'route':<12} {'point':<28} {'p50 ms':>8} {'p99 ms':>8} {'most ms':>8}")
    with world() as made:
        for route, name in CASES:
            seconds = []
            for _ in range(times):
                seconds.append(made.leave(route, name)[0])
                made._until(made.is_free)
            every += seconds
            print(f"{route:<12} {name:<28} {_figures(seconds)}", flush=True)
    print(f"{'all':<41} {_figures(every)}")


def _figures(seconds: list[float]) -> str:
    p99 = statistics.quantiles(seconds, n=100, method="inclusive")[98] if len(seconds) > 1 else seconds[0]
    return " ".join(f"{value * 1000:8.1f}" for value in (statistics.median(seconds), p99, max(seconds)))


if __name__ == "__main__":
    main()
