"""The proxy as a process of its own, and clients that look at the bytes on their connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "0123456789abcdef0123456789abcdef"
ANSWER_SECONDS = 20
TOKEN = "token-of-the-emulator-0123456789abcdefgh"


@contextlib.contextmanager
def process(*command, **environ):
    """Run a Python module; what it prints is kept in files, so that it never waits for us."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FLARELAY_", "CLOUDFLARE_"))}
    with tempfile.TemporaryDirectory(prefix="flarelay-test-") as folder:
        with Path(folder, "out").open("wb") as out, Path(folder, "err").open("wb") as err:
            running = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env={**clean, "FLARELAY_DATA_DIR": folder, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        running.folder = Path(folder)
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def said(running):
    """What a process has printed to standard error."""
    return (running.folder / "err").read_text()


def logged(running):
    """The canonical lines of a process."""
    return [json.loads(line) for line in (running.folder / "out").read_text().splitlines()]


async def port_of(running):
    """The port that a process says it listens on."""
    while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", said(running))):
        assert running.poll() is None, said(running)
        await asyncio.sleep(0.01)
    return int(found[1])


async def ended(running, seconds):
    """Wait for the end of a process; its exit status."""
    async with asyncio.timeout(seconds):
        while running.poll() is None:
            await asyncio.sleep(0.005)
    return running.returncode


@contextlib.asynccontextmanager
async def proxy(upstream, **environ):
    """Run the proxy in front of an upstream; yields its process and port once it is ready."""
    settings = {
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": TOKEN,
        "FLARELAY_UPSTREAM_URL": f"{upstream}/client/v4",
        "FLARELAY_CATALOGUE_REFRESH_SECONDS": "0",
        "FLARELAY_LOG_FORMAT": "json",
        **environ,
    }
    with process("app", "serve", "--port", "0", **settings) as running:
        port = await port_of(running)
        await ready(port)
        yield running, port


async def ready(port, seconds=20):
    """Wait until a server says that it is ready."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with clients(port) as connect:
                    if (await (await connect()).get("/readyz")).status == 200:
                        return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def clients(port):
    """What makes connections, all of which are closed in the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect():
            client = Client(*await asyncio.open_connection("127.0.0.1", port))
            stack.push_async_callback(client.aclose)
            return client

        yield connect


def request(path, body=None, method="POST", headers=()):
    """The bytes of a request."""
    raw = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(raw)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


class Answer:
    """The head of an answer."""

    def __init__(self, head):
        line, *headers = head.decode("latin-1").split("\r\n")
        self.status = int(line.split()[1])
        self.headers = dict(header.split(": ", 1) for header in headers if header)
        self.body = b""

    @property
    def error(self):
        return json.loads(self.body)["error"]


class Client:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def aclose(self):
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def send(self, method, path, body=None, headers=()):
        """Send a request; the answer's head."""
        self.writer.write(request(path, body, method, headers))
        return await self.head()

    async def head(self):
        async with asyncio.timeout(ANSWER_SECONDS):
            return Answer(await self.reader.readuntil(b"\r\n\r\n"))

    async def whole(self, answer):
        answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        return answer

    async def get(self, path):
        return await self.whole(await self.send("GET", path))

    async def post(self, path, body, headers=()):
        return await self.whole(await self.send("POST", path, body, headers))

    async def stream(self, path, body):
        """Begin a stream; its first bytes."""
        answer = await self.send("POST", path, {**body, "stream": True})
        assert answer.status == 200, answer.headers
        return await self.reader.readuntil(b"\n\n")

    async def rest(self):
        """Everything until the server closes the connection; its body must be whole."""
        rest = await self.reader.read()
        assert rest.endswith(b"\r\n0\r\n\r\n"), rest[-300:]
        return rest


def children(pid):
    """The processes that a process has started."""
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def exists(pid):
    return Path(f"/proc/{pid}").exists()
