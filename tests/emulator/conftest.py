"""An emulator in memory for plain answers, and one behind a real socket for broken ones."""

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from app.emulator.server import create_emulator

ACCOUNT = "0123456789abcdef0123456789abcdef"
AI = f"/client/v4/accounts/{ACCOUNT}/ai"


class Client(httpx.AsyncClient):
    """A client whose base is the account's `/ai`."""

    async def run(self, model: str, body: Any, **options: Any) -> httpx.Response:
        return await self.post(f"{AI}/run/{model}", json=body, **options)

    async def chat(self, model: str, body: Any, **options: Any) -> httpx.Response:
        return await self.post(f"{AI}/v1/chat/completions", json={"model": model, **body}, **options)

    async def say(self, model: str, text: str, **options: Any) -> httpx.Response:
        return await self.chat(model, {"messages": [{"role": "user", "content": text}], **options})

    async def fault(self, name: str, **options: Any) -> None:
        answer = await self.post("/_emulator/faults", json={"fault": name, **options})
        assert answer.status_code == 200, answer.text

    async def received(self) -> list[dict[str, Any]]:
        return (await self.get("/_emulator/requests")).json()


def _frames(answer: httpx.Response) -> list[Any]:
    """Parse a plain event stream, and insist on its framing; the terminator stays a string."""
    assert answer.headers["content-type"] == "text/event-stream", answer.text
    *frames, rest = answer.text.split("\n\n")
    assert rest == ""
    assert all(frame.startswith("data: ") for frame in frames)
    data = [frame.removeprefix("data: ") for frame in frames]
    return [one if one == "[DONE]" else orjson.loads(one) for one in data]


@pytest.fixture
def frames() -> Callable[[httpx.Response], list[Any]]:
    return _frames


@pytest.fixture
def ai() -> str:
    return AI


@pytest.fixture
def account() -> str:
    return ACCOUNT


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(create_emulator())
    async with Client(
        transport=transport, base_url="http://emulator", headers={"authorization": "Bearer secret"}
    ) as made:
        yield made


@dataclass
class Live:
    """A listening emulator."""

    url: str
    port: int


@pytest.fixture(scope="session")
def _server() -> Iterator[Live]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_emulator(), log_level="critical", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    yield Live(f"http://127.0.0.1:{port}", port)
    server.should_exit = True
    thread.join(5)
    listener.close()


@pytest.fixture
async def live(_server: Live) -> AsyncIterator[Client]:
    async with Client(base_url=_server.url, headers={"authorization": "Bearer secret"}, timeout=5) as made:
        await made.delete("/_emulator/requests")
        await made.delete("/_emulator/faults")
        yield made


@pytest.fixture
def raw_stream(_server: Live) -> Callable[[str, str], "contextlib.AbstractContextManager[socket.socket]"]:
    """Open a socket with one chat request already sent on it."""

    @contextlib.contextmanager
    def opened(model: str, text: str) -> Iterator[socket.socket]:
        body = orjson.dumps(
            {"model": model, "stream": True, "messages": [{"role": "user", "content": text}], "max_tokens": 5000}
        )
        head = (
            f"POST {AI}/v1/chat/completions HTTP/1.1\r\nHost: emulator\r\nAuthorization: Bearer secret\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", _server.port), timeout=5) as sock:
            sock.sendall(head.encode() + body)
            yield sock

    return opened
