"""The connection to one account: each way of failing has its own error, and a gateway its own address."""

import asyncio
import gzip
import zlib

import httpx
import pytest

from app.cloudflare import client as module
from app.cloudflare.client import CloudflareClient, Gateway, Timeouts
from app.cloudflare.transport import Transport
from app.core.errors import ApiError
from app.core.upstream import UpstreamRequest

CHAT = UpstreamRequest("/v1/chat/completions", {"model": "m"}, stream=True, headers={"x-session-affinity": "a"})
RUN = UpstreamRequest("/run/@cf/acme/model", {"prompt": "x"}, stream=False)


class Body(httpx.AsyncByteStream):
    def __init__(self, *blocks):
        self.blocks = blocks
        self.closed = False

    async def __aiter__(self):
        for block in self.blocks:
            if isinstance(block, asyncio.Event):
                await block.wait()
            elif isinstance(block, Exception):
                raise block
            else:
                yield block

    async def aclose(self):
        self.closed = True


class Carrier(httpx.AsyncBaseTransport):
    """Gives one answer, or raises, or waits for ever."""

    def __init__(self, answer=b"{}", status=200, headers=None):
        self.answer, self.status, self.headers = answer, status, headers or {}
        self.requests = []

    async def handle_async_request(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
        body = self.answer if isinstance(self.answer, Body) else Body(self.answer)
        return httpx.Response(self.status, headers=self.headers, stream=body)


def client(carrier, *, gateway=None, **timeouts):
    return CloudflareClient(
        carrier,
        base_url="https://api.test/client/v4",
        account_id="account",
        token="secret",
        timeouts=Timeouts(**timeouts),
        user_agent="test",
        clock=lambda: 0.0,
        gateway=gateway,
    )


async def failure(carrier, *, deadline=None, **timeouts):
    with pytest.raises(ApiError) as caught:
        answer = await client(carrier, **timeouts).open(CHAT, deadline)
        while await answer.read():
            pass
    return caught.value


async def test_no_connection_in_time():
    error = await failure(Carrier(httpx.ConnectTimeout("x")))
    assert (error.status, error.code) == (504, "upstream_unreachable")


async def test_no_connection_at_all():
    error = await failure(Carrier(httpx.ConnectError("x")))
    assert (error.status, error.code) == (502, "upstream_unreachable")


async def test_no_connection_on_a_real_socket():
    async with client(Transport(max_connections=1)) as real:
        real._base = "http://127.0.0.1:9"
        with pytest.raises(ApiError) as caught:
            await real.open(CHAT)
    assert caught.value.code == "upstream_unreachable"


async def test_a_connection_that_breaks_before_the_answer():
    for error in (httpx.ReadError("x"), httpx.RemoteProtocolError("x"), httpx.WriteError("x")):
        told = await failure(Carrier(error))
        assert (told.status, told.code) == (502, "upstream_error")


async def test_no_first_byte_in_time():
    error = await failure(Carrier(asyncio.Event()), first_byte=0.01)
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert error.message == "Workers AI did not answer in time."


async def test_silence_in_the_middle():
    error = await failure(Carrier(Body(b"some", asyncio.Event())), idle=0.01)
    assert (error.status, error.code) == (504, "upstream_timeout")
    assert error.message == "Workers AI stopped sending in the middle of its answer."


async def test_a_cut_in_the_middle():
    error = await failure(Carrier(Body(b"some", httpx.ReadError("x"))))
    assert (error.status, error.code) == (502, "upstream_truncated")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP"])
async def test_an_answer_is_read_though_it_is_compressed(encoding):
    whole = gzip.compress(b"all of it") if "z" in encoding.lower() else zlib.compress(b"all of it")
    carrier = Carrier(Body(whole[:9], whole[9:]), headers={"content-encoding": encoding})
    answer = await client(carrier).open(CHAT)
    assert await answer.read_all() == b"all of it"


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"all of it")[:-9]])
async def test_a_compressed_answer_that_cannot_be_read_is_no_answer(body):
    error = await failure(Carrier(body, headers={"content-encoding": "gzip"}))
    assert (error.status, error.code) == (502, "upstream_error")


async def test_a_failure_is_read_though_it_is_compressed():
    refusal = gzip.compress(b'{"errors":[{"code":3040,"message":"busy"}]}')
    error = await failure(Carrier(refusal, 429, {"content-encoding": "gzip"}))
    assert (error.status, error.upstream_code) == (429, 3040)


@pytest.mark.parametrize("answer", [asyncio.Event, lambda: Body(b"some", asyncio.Event())])
async def test_the_deadline_of_the_whole_answer(answer):
    deadline = asyncio.get_running_loop().time() + 0.01
    error = await failure(Carrier(answer()), deadline=deadline)
    assert (error.status, error.code, error.should_retry) == (504, "total_timeout", False)


async def test_the_deadline_ends_an_answer_that_never_pauses():
    class Endless(Body):
        async def __aiter__(self):
            while True:
                yield b"more"

    deadline = asyncio.get_running_loop().time() + 0.01
    assert (await failure(Carrier(Endless()), deadline=deadline)).code == "total_timeout"


async def test_a_far_deadline_leaves_the_other_bounds():
    deadline = asyncio.get_running_loop().time() + 1000
    error = await failure(Carrier(Body(b"some", asyncio.Event())), deadline=deadline, idle=0.01)
    assert error.code == "upstream_timeout"


async def test_a_failure_whose_body_never_ends_is_told_by_its_status(monkeypatch):
    monkeypatch.setattr(module, "FAILURE_SECONDS", 0.01)
    body = Body(b'{"errors":[', asyncio.Event())
    error = await failure(Carrier(body, 503))
    assert (error.status, error.upstream_status) == (503, 503)
    assert body.closed


def sent(carrier):
    (request,) = carrier.requests
    return str(request.url), request.headers


async def test_without_a_gateway_models_are_called_directly():
    carrier = Carrier(headers={"cf-aig-log-id": "not ours"})
    answer = await client(carrier).open(CHAT)
    url, headers = sent(carrier)
    assert url == "https://api.test/client/v4/accounts/account/ai/v1/chat/completions"
    assert headers["authorization"] == "Bearer secret"
    assert headers["x-session-affinity"] == "a"
    assert "cf-aig-authorization" not in headers
    assert answer.gateway == {}


@pytest.mark.parametrize(
    ("request_", "path"), [(CHAT, "v1/chat/completions"), (RUN, "run/@cf/acme/model")], ids=["chat", "native"]
)
async def test_through_a_gateway(request_, path):
    carrier = Carrier(headers={"cf-aig-log-id": "log", "cf-aig-cache-status": "HIT", "cf-aig-other": "x"})
    answer = await client(carrier, gateway=Gateway("mine", "key")).open(request_)
    url, headers = sent(carrier)
    assert url == f"https://gateway.ai.cloudflare.com/v1/account/mine/workers-ai/{path}"
    assert headers["authorization"] == "Bearer secret"
    assert headers["cf-aig-authorization"] == "Bearer key"
    assert answer.gateway == {"cf-aig-log-id": "log", "cf-aig-cache-status": "HIT"}


async def test_a_gateway_that_asks_for_nothing_gets_nothing():
    carrier = Carrier()
    await client(carrier, gateway=Gateway("open", url="http://gate.test")).open(CHAT)
    url, headers = sent(carrier)
    assert url == "http://gate.test/account/open/workers-ai/v1/chat/completions"
    assert "cf-aig-authorization" not in headers


async def test_what_is_no_call_of_a_model_goes_past_the_gateway():
    for call in (
        lambda one: one.get("/models/search", {"page": "1"}),
        lambda one: one.post_files("/tomarkdown", [("a.pdf", b"%PDF-", "application/pdf")]),
    ):
        carrier = Carrier()
        await call(client(carrier, gateway=Gateway("mine", "key")))
        url, headers = sent(carrier)
        assert url.startswith("https://api.test/client/v4/accounts/account/ai/")
        assert "cf-aig-authorization" not in headers


async def test_a_refusal_tells_the_gateways_log_too():
    with pytest.raises(ApiError) as caught:
        await client(Carrier(status=429, headers={"cf-aig-log-id": "log"}), gateway=Gateway("mine")).open(CHAT)
    assert caught.value.headers == {"cf-aig-log-id": "log"}


def test_a_gateways_token_is_not_shown():
    assert "key" not in repr(Gateway("mine", "key"))
