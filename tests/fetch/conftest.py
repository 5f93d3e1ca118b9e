"""Image hosts on loopback, scripted byte by byte, and a name service that is a dictionary."""

import asyncio
import contextlib

import pytest

from app.fetch.images import ImageFetcher

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


class Host:
    """A server that answers each request by its path; ``connections`` counts who came."""

    def __init__(self, answers):
        self.answers = answers
        self.connections = 0
        self.requests = []
        self.at_once = 0
        self.most_at_once = 0
        self.gone = asyncio.Event()
        self.port = 0

    async def __call__(self, reader, writer):
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.decode("latin-1"))
            answer = self.answers[head.split(b" ")[1].decode()]
            for step in [answer] if isinstance(answer, bytes) else answer:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif step is None:
                    # Until the other side has had enough.
                    while await reader.read(1024):
                        pass
                else:
                    writer.write(step)
                    await writer.drain()
        self.at_once -= 1
        self.gone.set()
        writer.close()


def ok(body=PNG, *fields, status="200 OK"):
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(location, status=302):
    return ok(b"", f"location: {location}", status=f"{status} Moved")


@pytest.fixture
def png():
    return PNG


@pytest.fixture
def answers():
    """Makers of answers: a good one, and a redirect."""
    return ok, moved


@pytest.fixture
async def host():
    """Start hosts: ``await host({path: answer}, address="127.0.0.1")``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(answers, address="127.0.0.1", port=0):
            made = Host(answers)
            server = await asyncio.start_server(made, address, port)
            made.port = server.sockets[0].getsockname()[1]
            stack.callback(server.close)
            return made

        yield start


class Names:
    """A name service; a list of lists is answered one after the other."""

    def __init__(self, **known):
        self.known = {name.replace("_", "."): answer for name, answer in known.items()}
        self.asked = []

    async def __call__(self, name, port):
        self.asked.append(name)
        found = self.known.get(name)
        if found is None:
            raise OSError("no such name")
        if found and isinstance(found[0], list):
            return found.pop(0)
        return found


@pytest.fixture
def names():
    return Names


@pytest.fixture
def fetcher():
    """Make a fetcher for which 127.0.0.1 is public and the rest of loopback is not, on any port."""

    def make(resolve=None, **options):
        options.setdefault("allow", lambda address: str(address) == "127.0.0.1")
        return ImageFetcher(resolve=resolve or Names(img_test=["127.0.0.1"]), ports=None, **options)

    return make
