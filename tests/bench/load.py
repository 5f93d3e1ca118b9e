"""The load: many connections, each sending one prepared request after the other and checking every answer.

``python -m tests.bench.load`` reads one ``Load`` as JSON per line and prints one ``Report`` per line. A load with
``hold`` prints ``held`` when every answer has begun, and gives them all up at the next line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools

from tests.bench import answers
from tests.bench.loops import allow_many_files, new_loop

READ_WHOLE = 3
"""How many answers of a load are parsed and compared; of the others only the signs of completeness are looked for."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Attributes:
        host: Where to.
        port: Where to.
        path: The request's path.
        body: The request's body.
        pieces: How many pieces of text a complete answer has.
        requests: How many requests in all.
        connections: How many of them at a time.
        key: The API key.
        stream: The answer is one; its end has to hold ``last``.
        last: What a complete stream's last bytes hold.
        hold: Only begin the answers, one on every connection.
        rate: Requests a second, sent when their time has come, whether others are answered or not; 0 sends each as
            soon as a connection is free. With it latencies count from when a request was due.
        seconds: When to give up.
    """

    host: str
    port: int
    path: str
    body: str
    pieces: int
    requests: int
    connections: int
    key: str = ""
    stream: bool = False
    last: str = ""
    hold: bool = False
    rate: float = 0.0
    seconds: float = 60.0


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        complete: How many answers were.
        problems: The first few reasons why others were not.
        seconds: From the first byte sent to the last received.
        latencies: Seconds from request to the answer's end, one for each.
        first_bytes: Seconds from request to the first byte of the answer's body, one for each.
    """

    complete: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_bytes: list[float] = field(default_factory=list)


class _Run:
    """One load under way."""

    def __init__(self, load: Load, loop: asyncio.AbstractEventLoop) -> None:
        self.load = load
        self.report = Report()
        self.unsent = load.requests
        self.unanswered = load.requests
        self.unread = READ_WHOLE
        self.begun = 0
        self.loop = loop
        self.done: asyncio.Future[None] = loop.create_future()
        body = load.body.encode()
        self.idle: list[_Connection] = []
        self.due: deque[float] = deque()
        self._scheduled = 0
        self.request = (
            f"POST {load.path} HTTP/1.1\r\nhost: {load.host}:{load.port}\r\nauthorization: Bearer {load.key}\r\n"
            f"content-type: application/json\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        self.text = answers.text_of(load.pieces)
        self.last = load.last.encode()

    def schedule(self) -> None:
        """Begin to send requests at their times."""
        self._started = time.perf_counter()
        self._send_due()

    def _send_due(self) -> None:
        now = time.perf_counter()
        load = self.load
        while self._scheduled < load.requests and self._started + self._scheduled / load.rate <= now:
            self._scheduled += 1
            if self.idle:
                self.idle.pop().send(now)
            else:
                self.due.append(now)
        if self._scheduled < load.requests and not self.done.done():
            self.loop.call_later(0.001, self._send_due)

    def begin(self) -> None:
        """Note that an answer has begun."""
        self.begun += 1
        if self.load.hold and self.begun == self.load.requests:
            self._finish()

    def end(self, problem: str | None) -> None:
        """Note that an answer has ended."""
        self.unanswered -= 1
        if problem is None:
            self.report.complete += 1
        elif len(self.report.problems) < 5:
            self.report.problems.append(problem)
        if not self.unanswered or (problem is not None and self.load.hold):
            self._finish()

    def problem(self, status: int, body: bytes) -> str | None:
        """What is wrong with an answer."""
        load = self.load
        if status != 200:
            return f"status {status}: {body[:300]!r}"
        if body.count(answers.WORD) < load.pieces:
            return f"{body.count(answers.WORD)} of {load.pieces} pieces: {body[-300:]!r}"
        if self.last not in body[-max(4096, 80 * load.pieces) :]:
            return f"no {load.last} at the end: {body[-300:]!r}"
        if not self.unread:
            return None
        self.unread -= 1
        try:
            text = _text(body, stream=load.stream)
        except (ValueError, LookupError, TypeError) as error:
            return f"{type(error).__name__} {error} in {body[:300]!r}"
        return None if text == self.text else f"the text is {text[:100]!r}…"

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection of a load; after a server has closed it, the next request opens another."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._waiting = False
        self._opening: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's, in name only.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self in self._run.idle:
            self._run.idle.remove(self)
        if self._waiting:
            self._waiting = False
            self._run.end(f"the connection was closed: {exc}")
        if self._run.unsent and not self._run.done.done():
            self._opening = self._run.loop.create_task(self.open())

    async def open(self) -> None:
        """Connect, and send the first request."""
        run = self._run
        try:
            await run.loop.create_connection(lambda: self, run.load.host, run.load.port)
        except OSError as error:
            if run.unsent:
                run.unsent -= 1
                run.end(f"no connection: {error}")

    def abort(self) -> None:
        """Leave, whatever is under way."""
        self._waiting = False
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._waiting = False
            self._run.end(f"no HTTP: {error}")
            self.abort()

    def on_body(self, block: bytes) -> None:
        """Hear a part of the body, from the parser."""
        if not self._blocks:
            self._first = time.perf_counter()
            self._run.begin()
        self._blocks.append(block)

    def on_message_complete(self) -> None:
        """Hear the end of the answer, from the parser."""
        now = time.perf_counter()
        run, report = self._run, self._run.report
        self._waiting = False
        report.latencies.append(now - self._began)
        report.first_bytes.append(self._first - self._began)
        run.end(run.problem(self._parser.get_status_code(), b"".join(self._blocks)))
        if self._transport is None:
            return
        if not run.unsent or not self._parser.should_keep_alive():
            self._transport.close()
            return
        # Not from within the parser's own callback.
        run.loop.call_soon(self._next)

    def _next(self) -> None:
        if self._transport is None:
            return
        self._parser = httptools.HttpResponseParser(self)
        run = self._run
        if not run.unsent:
            self._transport.close()
        elif not run.load.rate:
            self.send(time.perf_counter())
        elif run.due:
            self.send(run.due.popleft())
        else:
            run.idle.append(self)

    def send(self, due: float) -> None:
        """Send the next request."""
        assert self._transport is not None
        self._run.unsent -= 1
        self._waiting = True
        self._blocks: list[bytes] = []
        self._began = self._first = due
        self._transport.write(self._run.request)


def _text(body: bytes, *, stream: bool) -> str:
    """The text of an answer in either API, streamed or not."""
    if not stream:
        whole = json.loads(body)
        if "choices" in whole:
            return str(whole["choices"][0]["message"]["content"])
        return "".join(part["text"] for item in whole["output"] for part in item.get("content", ()) if "text" in part)
    pieces = []
    for line in body.split(b"\n"):
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        frame = json.loads(line[5:])
        if frame.get("type") == "response.output_text.delta":
            pieces.append(frame["delta"])
        for choice in frame.get("choices", ()):
            pieces.append(choice["delta"].get("content") or "")
    return "".join(pieces)


async def carry_out(load: Load) -> None:
    """Send a load and print what came of it."""
    loop = asyncio.get_running_loop()
    run = _Run(load, loop)
    connections = [_Connection(run) for _ in range(min(load.connections, load.requests))]
    began = time.perf_counter()
    try:
        async with asyncio.timeout(load.seconds):
            # Not all at once: a queue of connections is another subject.
            for first in range(0, len(connections), 100):
                await asyncio.gather(*(connection.open() for connection in connections[first : first + 100]))
            if load.rate:
                run.schedule()
            await run.done
    except TimeoutError:
        run.report.problems.append(f"{run.unanswered} of {load.requests} unanswered after {load.seconds} s")
    run.report.seconds = time.perf_counter() - began
    if load.hold and not run.report.problems:
        print("held", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        run.report.complete = run.begun
    for connection in connections:
        connection.abort()
    await asyncio.sleep(0)
    print(json.dumps(asdict(run.report)), flush=True)


async def serve() -> None:
    """Carry out loads until standard input ends."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await carry_out(Load(**json.loads(line)))


if __name__ == "__main__":
    allow_many_files()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve())
