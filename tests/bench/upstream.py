"""The benchmark's upstream: prepared bytes behind a bare protocol, so that it costs next to nothing.

``python -m tests.bench.upstream [PORT]`` prints the port that it listens on and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Final, cast

from tests.bench import answers
from tests.bench.loops import allow_many_files, new_loop

_FIRST_PAGE: Final = answers.catalogue(empty=False)
_LAST_PAGE: Final = answers.catalogue(empty=True)
_NOT_FOUND: Final = answers.as_json({"error": {"message": "no such path"}}, b"404 Not Found")
_GOLDEN: Final = 0.6180339887

_stream = functools.cache(answers.stream)
_whole = functools.cache(answers.whole)


class Upstream(asyncio.Protocol):
    """One connection: reads requests one after the other and answers each from prepared bytes."""

    _opened = 0

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's, in name only.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            head, body_begin = buffer[:end], end + 4
            body_end = body_begin + _content_length(head)
            if len(buffer) < body_end:
                break
            self._answer(head, buffer[body_begin:body_end])
            buffer = buffer[body_end:]
        self._buffer = buffer

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"GET "):
            self._transport.write(_read(head.split(b" ", 2)[1]))
            return
        wanted = answers.read_wanted(body)
        if b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(_whole(wanted.pieces))
            return
        stream = _stream(wanted.pieces)
        if not wanted.pause_ms:
            self._transport.write(stream.burst)
            return
        self._transport.write(stream.begin)
        pause = wanted.pause_ms / 1000
        # Streams that begin together must not beat together: each gets its own place within the pause.
        Upstream._opened += 1
        began = self._loop.time() + pause * (Upstream._opened * _GOLDEN % 1)
        self._pace(stream, began, pause, 0)

    def _pace(self, stream: answers.Stream, began: float, pause: float, number: int) -> None:
        if number:
            assert self._transport is not None
            self._transport.write(stream.chunks[number - 1])
        if number == len(stream.chunks):
            assert self._transport is not None
            self._timer = None
            self._transport.write(stream.end)
            return
        self._timer = self._loop.call_at(began + number * pause, self._pace, stream, began, pause, number + 1)


def _read(target: bytes) -> bytes:
    path, _, query = target.partition(b"?")
    if not path.endswith(b"/ai/models/search"):
        return _NOT_FOUND
    return _FIRST_PAGE if b"page=1" in query.split(b"&") else _LAST_PAGE


def _content_length(head: bytes) -> int:
    lower = head.lower()
    begin = lower.find(b"\r\ncontent-length:")
    if begin < 0:
        return 0
    return int(lower[begin + 17 :].split(b"\r\n", 1)[0])


async def serve(port: int) -> None:
    """Listen until standard input ends, which it does when the one who started us ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    allow_many_files()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
