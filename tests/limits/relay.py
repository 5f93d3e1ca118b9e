"""A relay before Redis, which can be made to fail in the ways in which networks do."""

import asyncio
from typing import Literal, Self
from urllib.parse import urlsplit

Way = Literal["open", "refuse", "stall", "mute"]


class Relay:
    """Relays to Redis. ``way`` says how: ``stall`` takes what is sent and passes nothing on, ``mute`` loses answers."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._path = parts.path
        self.way: Way = "open"
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        while self._tasks:
            self.cut()
            await asyncio.sleep(0)

    def become(self, way: Way) -> None:
        self.way = way

    def cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        writers = {writer}
        try:
            if self.way != "refuse":
                there, out = await asyncio.open_connection(*self._target)
                writers.add(out)
                self._writers |= writers
                await asyncio.gather(self._copy(reader, out, ("stall",)), self._copy(there, writer, ("stall", "mute")))
        except OSError:
            pass
        finally:
            self._writers -= writers
            for one in writers:
                one.transport.abort()
            self._tasks.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: tuple[str, ...]) -> None:
        while block := await reader.read(65_536):
            if self.way not in lost:
                writer.write(block)
        writer.transport.abort()
