"""Redis goes away and comes back: what clients see of it, what is logged, and that nothing has to be done."""

import asyncio
import contextlib
import threading
import time
from concurrent.futures import Future

import openai
import pytest

from tests.e2e.test_limits import SURFACES, ask, forgotten, running
from tests.limits.backend import need_redis
from tests.limits.relay import Relay
from tests.serving import until

QUICKLY = 3.0
"""Seconds until an answer: it waits a quarter of one for Redis, and the rest is for a busy machine."""


class Cable:
    """A relay before Redis, in a thread of its own."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._relay = Relay(url)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._run(self._relay.__aenter__())
        return self

    def __exit__(self, *_):
        self._run(self._relay.__aexit__(None, None, None))
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self):
        return self._relay.url

    def become(self, way):
        self._do(lambda: self._relay.become(way))

    def cut(self):
        self._do(lambda: (self._relay.become("refuse"), self._relay.cut()))

    def _do(self, work):
        async def go():
            work()

        self._run(go())

    def _run(self, work):
        result: Future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return result.result(10)

    @staticmethod
    async def _end():
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="module")
def cable():
    with Cable(need_redis()) as made:
        yield made


@contextlib.contextmanager
def limited(emulator, cable, when, **limits):
    """A proxy whose limits are at the end of the cable, and a key that it has served."""
    cable.become("open")
    with running(emulator, redis_url=cable.url, when_redis_is_away=when) as proxy:
        key = proxy.key(requests_per_day=50, concurrency=20, neurons_per_day=500, **limits)
        with forgotten(key.id):
            until(lambda: proxy.post(key, "chat").status_code == 200)
            yield proxy, key


def limiter(proxy):
    return proxy.told("limits")["limiter"]


def grown(before, after):
    return {name: after[name] - before[name] for name in ("unavailable", "outages", "degraded")}


def remaining(proxy, key):
    return int(proxy.post(key, "chat").headers["x-ratelimit-remaining-requests"])


def said(caplog):
    """What was logged of Redis."""
    return [record.message for record in caplog.records if "Redis" in record.message]


def test_it_refuses_quickly_and_heals(emulator, cable, caplog):
    with limited(emulator, cable, "refuse") as (proxy, key):
        left = remaining(proxy, key)
        before = limiter(proxy)
        assert before["away"] is False
        caplog.clear()
        cable.cut()
        for number in range(12):
            surface, stream = SURFACES[number % 3], number % 2 == 0
            began = time.monotonic()
            with pytest.raises(openai.InternalServerError) as caught:
                ask(proxy.sdk(key), surface, stream)
            assert time.monotonic() - began < QUICKLY
            error = caught.value
            assert (error.status_code, error.type, error.code) == (
                503,
                "service_unavailable_error",
                "server_is_overloaded",
            )
            assert "within your limits" in error.message
            assert error.response.headers["retry-after"] == "1"
            assert error.response.headers["retry-after-ms"] == "1000"
        # Who has no limits does not need Redis, and neither does looking around.
        assert proxy.post(proxy.key(), "chat").status_code == 200
        assert proxy.sdk(key).models.list().data
        during = limiter(proxy)
        assert during["away"] is True
        assert grown(before, during) == {"unavailable": 12, "outages": 1, "degraded": 0}
        cable.become("open")
        until(lambda: not limiter(proxy)["away"])
        # What was refused has taken nothing.
        assert remaining(proxy, key) == left - 1
        after = limiter(proxy)
        assert grown(before, after) == {"unavailable": 12, "outages": 1, "degraded": 0}
        assert 0 < after["away_seconds"] - before["away_seconds"] < 30
        assert [line["status"] for line in proxy.log.lines(caller=key.id)].count(503) == 12
    first, second = said(caplog)
    assert first.startswith("Redis does not answer (")
    assert second.startswith("Redis answers again after ")
    assert {record.levelname for record in caplog.records if "Redis" in record.message} == {"WARNING"}


def test_the_sdks_own_retry_bridges_a_short_outage(emulator, cable):
    with limited(emulator, cable, "refuse") as (proxy, key):
        cable.cut()
        proxy.seen.headers.clear()
        threading.Timer(0.3, cable.become, ["open"]).start()
        assert ask(proxy.sdk(key, retries=2), "chat").status_code == 200
        assert proxy.attempts(key)[:2] == [0, 1]


def test_silence_is_bounded_too(emulator, cable):
    with limited(emulator, cable, "refuse") as (proxy, key):
        cable.become("stall")
        for _ in range(3):
            began = time.monotonic()
            assert proxy.post(key, "chat").status_code == 503
            assert time.monotonic() - began < QUICKLY
        cable.become("open")
        until(lambda: proxy.post(key, "chat").status_code == 200)


def test_it_goes_on_alone_and_tells_afterwards(emulator, cable, caplog):
    with limited(emulator, cable, "degrade") as (proxy, key):
        left = remaining(proxy, key)
        before = limiter(proxy)
        caplog.clear()
        cable.cut()
        for surface in SURFACES:
            for stream in (False, True):
                began = time.monotonic()
                answer = ask(proxy.sdk(key), surface, stream)
                assert time.monotonic() - began < QUICKLY
                # It does not know what was used before, but limits what it sees.
                assert int(answer.headers["x-ratelimit-limit-requests"]) == 50
        during = limiter(proxy)
        assert during["away"] is True
        assert grown(before, during) == {"unavailable": 0, "outages": 1, "degraded": 6}
        small = proxy.key(requests_per_day=1)
        statuses = [proxy.post(small, "chat").status_code for _ in range(2)]
        assert statuses == [200, 429]
        cable.become("open")
        until(lambda: not limiter(proxy)["away"])
        # Redis counts on from where it was.
        assert remaining(proxy, key) == left - 1
        assert grown(before, limiter(proxy)) == {"unavailable": 0, "outages": 1, "degraded": 8}
    first, second = said(caplog)
    assert first.startswith("Redis does not answer (")
    assert second.startswith("Redis answers again after ")


def test_a_budget_is_one_through_all_outages(emulator, cable):
    cable.become("open")
    with running(emulator, redis_url=cable.url, when_redis_is_away="degrade") as proxy:
        key = proxy.key(neurons_per_day=30)

        def spend(times):
            for _ in range(times):
                assert ask(proxy.sdk(key), "chat", text="Write 60 words.", limit=300).status_code == 200

        def is_spent():
            with pytest.raises(openai.RateLimitError) as caught:
                spend(30)
            assert caught.value.code == "insufficient_quota"

        with forgotten(key.id):
            spend(1)
            cable.cut()
            spend(2)
            cable.become("open")
            until(lambda: not limiter(proxy)["away"])
            # Redis has been told of what was spent without it, and this process does not go by what it knew before.
            is_spent()
            cable.cut()
            is_spent()
            cable.become("open")
            until(lambda: not limiter(proxy)["away"])
            is_spent()
            spent = proxy.told("usage", key=key.id)["today"]["neurons"]
            # The last one found room for the 300 tokens that it might have cost, and cost less than three neurons.
            assert 30 - 9.5 < spent < 30 - 300 * 0.0272 + 3


def test_places_that_were_held_come_back(emulator, cable):
    with limited(emulator, cable, "refuse") as (proxy, key):
        one = proxy.key(concurrency=1)
        stalled = {"model": "@cf/emulator/stall", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        with forgotten(one.id):
            with proxy.sdk(one).chat.completions.create(**stalled) as stream:
                next(iter(stream))
                cable.cut()
                assert proxy.post(key, "chat").status_code == 503
            # Its client leaves while Redis cannot be told.
            until(lambda: proxy.log.lines(caller=one.id, ending="disconnected"))
            cable.become("open")
            until(lambda: not limiter(proxy)["away"])
            until(lambda: proxy.post(one, "chat").status_code == 200)
