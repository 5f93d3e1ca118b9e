"""Limits as a client meets them: exact, told in OpenAI's headers and words, and settled however a request ends.

What the other tests of keys and limits share is here too: a proxy with its administration and its log, and one way to
ask on every surface.
"""

import asyncio
import contextlib
import io
import json
import math
import re
import secrets
import socket
import ssl
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx
import openai
import pytest
import redis
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.limits.backend import REDIS_URL, need_redis
from tests.serving import serving, until

ADMIN = "admin-0123456789abcdefghij"
MODEL = "@cf/openai/gpt-oss-20b"
CHAT = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hello"}]}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and so need not read the system's certificates, which takes longer than most tests."""

SURFACES = ["chat", "responses", "completions"]
MINUTE, DAY = 60, 86_400


OURS = {"admin_key": ADMIN, "remember_failures": False}
"""What is set for every proxy here: what one test makes fail, the next one asks for again."""


class Log(io.StringIO):
    """What a proxy writes to standard output."""

    def lines(self, **wanted):
        """The lines of exchanges with these values."""
        found = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in found if all(line.get(name) == value for name, value in wanted.items())]


class Key(NamedTuple):
    id: str
    secret: str

    @property
    def header(self):
        return {"authorization": f"Bearer {self.secret}"}


class Seen:
    """An application, and the headers of every request that has come to it."""

    def __init__(self, app):
        self.app = app
        self.headers = []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.headers.append(httpx.Headers(scope["headers"]))
        await self.app(scope, receive, send)


class Proxy:
    """A proxy that runs, with everything that is needed to ask it and to see what it did."""

    def __init__(self, address, log, seen, admin, client):
        self.address, self.log, self.seen, self.admin, self.client = address, log, seen, admin, client

    def key(self, **fields):
        """A new key."""
        answer = self.admin.post("/admin/keys", json={"name": "test", **fields})
        assert answer.status_code == 201, answer.text
        return Key(answer.json()["id"], answer.json()["key"])

    def sdk(self, key, retries=0):
        """The SDK with a key; all share the connections."""
        return self.client.with_options(api_key=key.secret, max_retries=retries)

    def post(self, key, surface, **more):
        """One request without the SDK; its answer is read to the end."""
        body = {"model": MODEL, **asking(surface), **more}
        return self.admin.post(f"/v1{PATHS[surface]}", json=body, headers=key.header)

    def line(self, answer):
        """The log's line of an answer."""
        request_id = answer.headers["x-request-id"]
        until(lambda: self.log.lines(request_id=request_id))
        (line,) = self.log.lines(request_id=request_id)
        return line

    def attempts(self, key):
        """The SDK's count of retries on each request that has come with a key."""
        mine = [headers for headers in self.seen.headers if headers.get("authorization") == f"Bearer {key.secret}"]
        return [int(headers["x-stainless-retry-count"]) for headers in mine]

    def told(self, path, **query):
        """What the administration says."""
        answer = self.admin.get(f"/admin/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()


PATHS = {"chat": "/chat/completions", "responses": "/responses", "completions": "/completions"}
_LIMIT_NAMES = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "completions": "max_tokens"}


def asking(surface, text="Hello", limit=None):
    """The fields of a request that say what is asked, and how much may come."""
    said = {
        "chat": {"messages": [{"role": "user", "content": text}]},
        "responses": {"input": text},
        "completions": {"prompt": text},
    }[surface]
    return said if limit is None else {**said, _LIMIT_NAMES[surface]: limit}


def of(client, surface):
    """The SDK's part for a surface."""
    return {"chat": client.chat.completions, "responses": client.responses, "completions": client.completions}[surface]


def ask(client, surface, stream=False, text="Hello", limit=None, **more):
    """One request by the SDK; its raw answer, which has come to its end."""
    body = {"model": MODEL, **asking(surface, text, limit), "stream": stream, **more}
    raw = of(client, surface).with_raw_response.create(**body)
    raw.http_response.read()
    return raw


@contextlib.contextmanager
def running(emulator, **settings):
    """A proxy that administers keys."""
    log = Log()
    # The application takes what is standard output at this moment for its log.
    with contextlib.redirect_stdout(log):
        app = create_app(settings_for(emulator, **OURS | settings))
    seen = Seen(app)
    own = {"authorization": f"Bearer {ADMIN}"}
    with (
        serving(seen) as address,
        httpx.Client(base_url=address, headers=own, timeout=30, trust_env=False, verify=NO_TLS) as admin,
        OpenAI(
            base_url=f"{address}/v1", api_key="none", max_retries=0, http_client=DefaultHttpxClient(verify=NO_TLS)
        ) as client,
    ):
        yield Proxy(address, log, seen, admin, client)


@contextlib.contextmanager
def forgotten(*owners):
    """Redis holds nothing of these owners afterwards."""
    try:
        yield
    finally:
        with redis.Redis.from_url(REDIS_URL) as client:
            for owner in owners:
                for name in client.scan_iter(match=f"flarelay:limits:{{{owner}*", count=1_000):
                    client.delete(name)


def seconds_of(duration):
    """A duration as Go writes it, in seconds."""
    assert re.fullmatch(r"\d+(\.\d+)?(ms|µs)|((\d+h)?\d+m)?\d+(\.\d+)?s", duration), duration
    units = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "µs": 1e-6}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|µs|h|m|s)", duration))


@pytest.fixture(scope="module")
def limited(emulator):
    with running(emulator) as proxy:
        yield proxy


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_every_answer_tells_how_the_key_stands(limited, surface, stream):
    client = limited.sdk(limited.key(requests_per_minute=60, tokens_per_minute=150_000))
    headers = ask(client, surface, stream, limit=1_000).headers
    told = {name: value for name, value in headers.items() if name.startswith("x-ratelimit")}
    assert set(told) == {f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in UNITS}
    assert told["x-ratelimit-limit-requests"] == "60"
    assert told["x-ratelimit-remaining-requests"] == "59"
    assert told["x-ratelimit-reset-requests"] == "1s"
    assert told["x-ratelimit-limit-tokens"] == "150000"
    reserved = 150_000 - int(told["x-ratelimit-remaining-tokens"])
    assert 1_000 < reserved < 1_050
    assert seconds_of(told["x-ratelimit-reset-tokens"]) == pytest.approx(reserved / 150_000 * MINUTE, abs=2e-3)
    assert "retry-after" not in headers
    again = ask(client, surface, stream, limit=1_000).headers
    assert 1 < seconds_of(again["x-ratelimit-reset-requests"]) <= 2


UNITS = ("requests", "tokens")


def test_of_a_limit_per_minute_and_per_day_the_one_that_leaves_less_is_told(limited):
    client = limited.sdk(limited.key(requests_per_minute=10, requests_per_day=3, tokens_per_day=100_000))
    headers = ask(client, "chat", limit=100).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("3", "2")
    assert headers["x-ratelimit-reset-requests"] == "8h0m0s"
    assert headers["x-ratelimit-limit-tokens"] == "100000"
    assert "m" in headers["x-ratelimit-reset-tokens"]


def test_who_has_no_limits_is_told_nothing_of_them(limited):
    for key in (limited.key(), limited.key(concurrency=3, usd_per_day=1)):
        headers = ask(limited.sdk(key), "chat", limit=100).headers
        assert not [name for name in headers if name.startswith("x-ratelimit")]


def test_looking_around_takes_nothing(limited):
    key = limited.key(requests_per_day=2)
    client = limited.sdk(key)
    for _ in range(3):
        assert client.models.list().data
        client.responses.input_tokens.count(model=MODEL, input="Hello")
    assert ask(client, "chat", limit=5).headers["x-ratelimit-remaining-requests"] == "1"


REFUSED = [
    ("requests_per_minute", 2, "requests per min (RPM)", "requests", MINUTE),
    ("requests_per_day", 2, "requests per day (RPD)", "requests", DAY),
    ("tokens_per_minute", 2_000, "tokens per min (TPM)", "tokens", MINUTE),
    ("tokens_per_day", 2_000, "tokens per day (TPD)", "tokens", DAY),
]


@pytest.mark.parametrize(("name", "limit", "label", "unit", "window"), REFUSED, ids=[row[0] for row in REFUSED])
@pytest.mark.parametrize("surface", SURFACES)
def test_what_a_refusal_says(limited, surface, name, limit, label, unit, window):
    key = limited.key(**{name: limit})
    client = limited.sdk(key)
    # Enough for the thoughts and the first words, of which a completion shows only the words.
    reserving = 1_900 if unit == "tokens" else 200
    with contextlib.ExitStack() as held:
        for _ in range(1 if unit == "tokens" else 2):
            # It holds what it has reserved as long as it is open.
            stall = {**asking(surface, limit=reserving), "model": "@cf/emulator/stall", "stream": True}
            next(iter(held.enter_context(of(client, surface).create(**stall))))
        for stream in (False, True):
            with pytest.raises(openai.RateLimitError) as caught:
                ask(client, surface, stream, limit=reserving)
            error, headers = caught.value, caught.value.response.headers
            assert headers["content-type"] == "application/json"
            assert set(error.response.json()["error"]) == {"message", "type", "param", "code"}
            assert (error.type, error.code, error.param) == (unit, "rate_limit_exceeded", None)
            found = re.fullmatch(
                rf"Rate limit reached for {MODEL} in organization {key.id} on {re.escape(label)}: "
                r"Limit (\d+), Used (\d+), Requested (\d+)\. Please try again in (\S+)\.",
                error.response.json()["error"]["message"],
            )
            assert found, error.message
            most, used, requested = map(int, found.groups()[:3])
            wait = seconds_of(found[4])
            assert most == limit
            # It is told in whole requests or tokens; one of them is regained in this time.
            assert wait == pytest.approx((used + requested - most) / most * window, abs=window / most + 0.002)
            assert wait > 0
            assert int(headers["retry-after-ms"]) == pytest.approx(wait * 1_000, abs=1)
            assert int(headers["retry-after"]) == math.ceil(wait)
            assert "x-should-retry" not in headers
            assert headers[f"x-ratelimit-limit-{unit}"] == str(limit)
            assert int(headers[f"x-ratelimit-remaining-{unit}"]) == max(most - used, 0)
            assert seconds_of(headers[f"x-ratelimit-reset-{unit}"]) > wait - window / most
            assert not [name for name in headers if name.startswith("x-flarelay-cost")]
    until(lambda: limited.log.lines(caller=key.id, status=429, ending="refused", error_code="rate_limit_exceeded"))


def test_the_very_words_of_openai(limited):
    client = limited.sdk(limited.key(requests_per_minute=3))
    for _ in range(3):
        ask(client, "chat", limit=5)
    with pytest.raises(openai.RateLimitError, match=r"Limit 3, Used 3, Requested 1\. Please try again in 1\d(\.\d+)?s"):
        ask(client, "chat", limit=5)


@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_larger_than_a_limit_alone_is_not_asked_for_again(limited, surface):
    key = limited.key(tokens_per_minute=500)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(limited.sdk(key), surface, limit=600)
    error, headers = caught.value, caught.value.response.headers
    assert (error.type, error.code) == ("tokens", "rate_limit_exceeded")
    assert f"Request too large for {MODEL} in organization {key.id} on tokens per min (TPM): Limit 500" in error.message
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
    assert ask(limited.sdk(key), surface, limit=50).headers["x-ratelimit-limit-tokens"] == "500"


def test_a_request_of_several_choices_is_one_and_reserves_for_all(limited):
    client = limited.sdk(limited.key(requests_per_minute=10, tokens_per_day=100_000))
    one = ask(client, "chat", limit=1_000)
    fresh = limited.sdk(limited.key(requests_per_minute=10, tokens_per_day=100_000))
    three = ask(fresh, "chat", limit=1_000, n=3)
    assert len(three.parse().choices) == 3
    assert three.headers["x-ratelimit-remaining-requests"] == "9"
    left = [int(answer.headers["x-ratelimit-remaining-tokens"]) for answer in (one, three)]
    assert 100_000 - left[1] == 3 * (100_000 - left[0])


def test_where_no_limit_is_stated_a_small_bucket_is_not_emptied(limited):
    client = limited.sdk(limited.key(tokens_per_minute=10_000))
    reserved = 10_000 - int(ask(client, "chat").headers["x-ratelimit-remaining-tokens"])
    assert 2_048 < reserved < 2_100


def test_requests_under_way(limited):
    key = limited.key(concurrency=2)
    client = limited.sdk(key)
    stalled = {**asking("chat"), "model": "@cf/emulator/stall", "stream": True}
    with client.chat.completions.create(**stalled) as first, client.chat.completions.create(**stalled) as second:
        next(iter(first)), next(iter(second))
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, "chat")
        error = caught.value
        assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
        assert "on concurrent requests: Limit 2, Used 2, Requested 1. Please try again in 1s." in error.message
        assert error.response.headers["retry-after-ms"] == "1000"
        assert ask(limited.sdk(limited.key(concurrency=2)), "chat").status_code == 200
    until(lambda: len(limited.log.lines(caller=key.id, ending="disconnected")) == 2)
    assert ask(client, "chat").status_code == 200


def hang_up(proxy, control, key, surface, stream, frames):
    """Leave after so many frames of a stream, or while nothing has come yet; the log's line of that."""
    body = json.dumps({"model": MODEL, **asking(surface, "Write 60 words.", 500), "stream": stream}).encode()
    name = f"left-{secrets.token_hex(4)}"
    head = f"POST /v1{PATHS[surface]} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key.secret}\r\n"
    head += f"x-request-id: {name}\r\ncontent-length: {len(body)}\r\n\r\n"
    address = urlsplit(proxy.address)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode() + body)
        got = b""
        while got.count(b"\ndata: ") < frames:
            piece = connection.recv(4096)
            assert piece, got
            got += piece
        if not frames:
            until(lambda: control.get("/streams").json()["in_flight"] == 1)
    until(lambda: proxy.log.lines(request_id=name))
    return proxy.log.lines(request_id=name)[0]


ENDINGS = {
    # fault, stream, frames before the client leaves (or None: it stays), ending, whether anything was used
    "whole": (None, False, None, "completed", True),
    "streamed": (None, True, None, "completed", True),
    "refused upstream": ("html-502", True, None, "failed", False),
    "broken off": ("cut", False, None, "failed", True),
    "broken off in a stream": ("cut", True, None, "failed", True),
    "left in a stream": ("stall", True, 3, "disconnected", True),
    "left while waiting": ("hang", False, 0, "disconnected", False),
}


@pytest.mark.parametrize(("fault", "stream", "frames", "ending", "used"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("surface", SURFACES)
def test_however_it_ends_the_place_is_free_and_what_was_used_is_counted(
    limited, control, surface, fault, stream, frames, ending, used
):
    def left_after(key):
        """What is left after one more small request."""
        return int(limited.post(key, "chat", max_tokens=1).headers["x-ratelimit-remaining-tokens"])

    limits = {"tokens_per_day": 100_000, "concurrency": 1}
    small = 100_000 - left_after(limited.key(**limits))
    key = limited.key(**limits)
    if fault is not None:
        # Retries of the upstream's failures meet it again.
        control.post("/faults", json={"fault": fault, "model": MODEL, "times": None}).raise_for_status()
    began = time.monotonic()
    if frames is None:
        line = limited.line(limited.post(key, surface, stream=stream, **{_LIMIT_NAMES[surface]: 500}))
    else:
        line = hang_up(limited, control, key, surface, stream, frames)
    control.delete("/faults").raise_for_status()
    assert line["ending"] == ending
    tokens = line.get("prompt_tokens", 0) + line.get("completion_tokens", 0)
    assert (tokens > 0) == used
    left = left_after(key)
    regained = (time.monotonic() - began) * 100_000 / DAY
    assert -1 <= left - (100_000 - tokens - small) <= regained + 1


def test_background_work_that_is_cancelled_gives_its_place_back(limited, control):
    key = limited.key(concurrency=1)
    client = limited.sdk(key)
    work = client.responses.create(model="@cf/emulator/hang", input="Hello", background=True)
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    assert limited.post(key, "chat").status_code == 429
    client.responses.cancel(work.id)
    until(lambda: limited.post(key, "chat").status_code == 200)


def test_requests_on_a_websocket_are_limited_like_others(limited):
    key = limited.key(requests_per_minute=1, concurrency=1)
    with limited.sdk(key).responses.connect() as connection:
        ends = []
        for _ in range(2):
            connection.response.create(model=MODEL, input="Hello", store=False)
            ends.append(next(event for event in connection if event.type in {"response.completed", "error"}).to_dict())
    assert [end["type"] for end in ends] == ["response.completed", "error"]
    assert ends[1]["status"] == 429
    assert ends[1]["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(ends[1]["error"]["headers"]["retry-after-ms"]) <= 60_000
    held = limited.key(concurrency=1)
    # Without a bound, what is not looked at does not hold up the end of the connection.
    with limited.sdk(held).responses.connect(websocket_connection_options={"max_queue": None}) as connection:
        connection.response.create(model="@cf/emulator/stall", input="Hello", store=False)
        next(iter(connection))
        assert limited.post(held, "chat").status_code == 429
    until(lambda: limited.post(held, "chat").status_code == 200)


def async_sdk(proxy, key, retries=0):
    """The asynchronous SDK with a key."""
    transport = DefaultAsyncHttpxClient(verify=NO_TLS)
    return AsyncOpenAI(base_url=f"{proxy.address}/v1", api_key=key.secret, max_retries=retries, http_client=transport)


async def fire(proxies, key, count, **body):
    """Send so many requests at once, to each proxy in turn; the statuses."""

    async def one(client):
        answer = await client.chat.completions.with_raw_response.create(**{**CHAT, **body})
        return answer.status_code

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(async_sdk(proxy, key)) for proxy in proxies]
        ends = await asyncio.gather(
            *(one(clients[number % len(clients)]) for number in range(count)), return_exceptions=True
        )
    refusals = [end for end in ends if isinstance(end, Exception)]
    assert all(isinstance(refusal, openai.RateLimitError) for refusal in refusals), refusals
    return ends.count(200)


async def test_a_burst_gets_exactly_what_the_limit_allows(limited):
    assert await fire([limited], limited.key(requests_per_day=10), 40) == 10
    # 400 tokens and the prompt are reserved for each. None gives any of them back before all have asked.
    slow = {"model": "@cf/emulator/slow-first", "max_completion_tokens": 400}
    assert await fire([limited], limited.key(tokens_per_day=4_500), 20, **slow) in {10, 11}


@pytest.fixture(scope="module")
def replicas(emulator, tmp_path_factory):
    """Two proxies with one store and one Redis, to which both are connected."""
    shared = {"redis_url": need_redis(), "data_dir": tmp_path_factory.mktemp("shared")}
    with running(emulator, **shared) as one, running(emulator, **shared) as other:
        first = one.key(concurrency=1)
        with forgotten(first.id):
            for proxy in (one, other):
                until(lambda proxy=proxy: proxy.post(first, "chat").status_code == 200)
        yield one, other


async def test_replicas_share_limits(replicas):
    key = replicas[0].key(requests_per_day=10, concurrency=30)
    with forgotten(key.id):
        until(lambda: replicas[1].post(key, "chat", model="no such model").status_code == 404)
        assert sum([await fire(replicas, key, 6) for _ in range(3)]) == 10
        left = [proxy.post(key, "chat").headers["x-ratelimit-remaining-requests"] for proxy in replicas]
        assert left == ["0", "0"]


def test_a_place_in_one_replica_is_taken_in_the_other(replicas):
    key = replicas[0].key(concurrency=1)
    with forgotten(key.id):
        until(lambda: replicas[1].post(key, "chat").status_code == 200)
        with replicas[0].sdk(key).chat.completions.create(**CHAT | {"model": "@cf/emulator/stall"}, stream=True) as it:
            next(iter(it))
            assert replicas[1].post(key, "chat").status_code == 429
        until(lambda: replicas[1].post(key, "chat").status_code == 200)
