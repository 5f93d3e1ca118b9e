"""How often the official SDK asks when it is refused: again after a moment where that helps, and never where not."""

import asyncio
import itertools
import time

import openai
import pytest

from tests.e2e.test_limits import DAY, MODEL, SURFACES, ask, asking, async_sdk, of, running
from tests.serving import until

WAIT = 1
"""Seconds until the next request of a key that is used up."""


@pytest.fixture(scope="module")
def proxy(emulator):
    with running(emulator) as made:
        yield made


def used_up(proxy):
    """A key that may send its next request in ``WAIT``: what was used stays used when a key gets other limits."""
    key = proxy.key(requests_per_minute=1)
    assert proxy.post(key, "chat").status_code == 200
    changed = proxy.admin.patch(f"/admin/keys/{key.id}", json={"requests_per_minute": 60 // WAIT})
    assert changed.status_code == 200
    # The requests of httpx do not count.
    proxy.seen.headers.clear()
    return key


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_request_succeeds_when_it_comes_again(proxy, stream):
    key = used_up(proxy)
    began = time.monotonic()
    answer = ask(proxy.sdk(key, retries=2), "chat", stream)
    # The SDK waits as long as it was told, and is then let in at once.
    assert WAIT / 2 < time.monotonic() - began < 5
    assert answer.status_code == 200
    assert proxy.attempts(key) == [0, 1]
    lines = proxy.log.lines
    until(lambda: [line["status"] for line in lines(caller=key.id, stream=stream)][-2:] == [429, 200])


async def test_it_does_so_everywhere(proxy):
    cases = list(itertools.product(SURFACES, [False, True]))
    keys = [proxy.key(requests_per_minute=1) for _ in cases]
    for key in keys:
        assert proxy.post(key, "chat").status_code == 200
        proxy.admin.patch(f"/admin/keys/{key.id}", json={"requests_per_minute": 60 // WAIT}).raise_for_status()
    proxy.seen.headers.clear()

    async def one(client, surface, stream, key):
        endpoint = of(client.with_options(api_key=key.secret), surface)
        answer = await endpoint.create(model=MODEL, **asking(surface, "Say exactly: here", 200), stream=stream)
        pieces = [piece.to_json() async for piece in answer] if stream else [answer.to_json()]
        assert "here" in "".join(pieces)

    async with async_sdk(proxy, keys[0], retries=2) as client:
        await asyncio.gather(*(one(client, *case, key) for case, key in zip(cases, keys, strict=True)))
    assert [proxy.attempts(key) for key in keys] == [[0, 1]] * len(keys)


def test_it_waits_for_tokens_too(proxy):
    key = proxy.key(tokens_per_minute=120_000)
    client = proxy.sdk(key, retries=2)
    stalled = {"model": "@cf/emulator/stall", **asking("chat", limit=119_000), "stream": True}
    with client.chat.completions.create(**stalled) as stream:
        next(iter(stream))
        # 2,000 tokens are regained in a second.
        assert ask(client, "chat", limit=2_000).status_code == 200
    assert proxy.attempts(key) == [0, 0, 1]


def test_it_gives_up_after_two_retries(proxy):
    key = proxy.key(concurrency=1)
    stalled = {"model": "@cf/emulator/stall", **asking("chat"), "stream": True}
    with proxy.sdk(key).chat.completions.create(**stalled) as stream:
        next(iter(stream))
        proxy.seen.headers.clear()
        with pytest.raises(openai.RateLimitError):
            ask(proxy.sdk(key, retries=1), "chat")
    assert proxy.attempts(key) == [0, 1]


NEVER = {
    "a budget of the day": {"neurons_per_day": 0.001},
    "a budget of the month": {"usd_per_month": 0.0001},
    "too large for the limit": {"tokens_per_minute": 100},
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("limits", NEVER.values(), ids=NEVER)
def test_what_waiting_does_not_mend_is_asked_once(proxy, control, limits, surface, stream):
    key = proxy.key(**limits)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(proxy.sdk(key, retries=2), surface, stream, limit=600)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert proxy.attempts(key) == [0]
    assert not [request for request in control.get("/requests").json() if request["method"] == "POST"]


def test_a_wait_of_hours_is_told_and_not_waited_for(proxy):
    key = proxy.key(requests_per_day=1)
    ask(proxy.sdk(key), "chat", limit=10)
    proxy.seen.headers.clear()
    with pytest.raises(openai.RateLimitError) as caught:
        ask(proxy.sdk(key, retries=2), "chat", limit=10)
    assert DAY - 60 < int(caught.value.response.headers["retry-after"]) <= DAY
    assert proxy.attempts(key) == [0]


def test_the_accounts_own_quota_is_asked_once_of_proxy_and_upstream(proxy, control):
    control.post("/faults", json={"fault": "quota", "model": MODEL, "times": None}).raise_for_status()
    key = proxy.key()
    with pytest.raises(openai.RateLimitError) as caught:
        ask(proxy.sdk(key, retries=2), "responses")
    assert (caught.value.code, caught.value.response.headers["x-should-retry"]) == ("insufficient_quota", "false")
    assert proxy.attempts(key) == [0]
    assert len([request for request in control.get("/requests").json() if request["method"] == "POST"]) == 1
