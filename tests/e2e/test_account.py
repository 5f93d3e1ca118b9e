"""The account's own limits, which all keys share: never reached at Cloudflare, and shared fairly before they are."""

import asyncio
import contextlib
import hashlib
import itertools
import secrets
import time
from collections import Counter

import httpx
import openai
import pytest

from app.emulator.server import create_emulator
from tests.conftest import TOKEN
from tests.e2e.test_limits import CHAT, MODEL, NO_TLS, SURFACES, ask, async_sdk, forgotten, running
from tests.limits.backend import need_redis
from tests.serving import serving, until

BIG = "@cf/openai/gpt-oss-120b"
PAID = "@cf/zai-org/glm-5.2"
DAILY = 60
"""Neurons of the account's day: less than 1,000 tokens of the big model cost, and more than those of the small one."""


class Account:
    """Cloudflare, as one account meets it."""

    def __init__(self, address, control):
        self.address, self.control = address, control

    def shown(self):
        return self.control.get("/account").json()

    def models(self):
        """What was asked for, in order."""
        return [one["model"] for one in self.control.get("/requests").json() if one["method"] == "POST"]

    def texts(self):
        """What users said, in the order in which it came."""
        received = [one["body"] for one in self.control.get("/requests").json() if one["method"] == "POST"]
        return [body["messages"][-1]["content"] for body in received]


@contextlib.contextmanager
def account(**limits):
    with (
        serving(create_emulator(token=TOKEN, **limits)) as address,
        httpx.Client(base_url=f"{address}/_emulator", trust_env=False, verify=NO_TLS) as control,
    ):
        yield Account(address, control)


@pytest.fixture(scope="module")
def free_plan():
    with account(plan="free", neurons_per_day=DAILY) as made:
        yield made


@pytest.fixture
def free(free_plan):
    """The free plan, with all of its day before it."""
    free_plan.control.delete("/account")
    free_plan.control.delete("/requests")
    return free_plan


@contextlib.contextmanager
def proxy_before(upstream, **settings):
    with running(upstream.address, plan="free", account_neurons_per_day=DAILY, **settings) as proxy:
        yield proxy


def use_up(*proxies, surface="chat", stream=False, limit=300):
    """Ask one proxy after the other, each time with another key, until the account's day is over; the refusal."""
    for proxy in itertools.islice(itertools.cycle(proxies), 200):
        try:
            ask(proxy.sdk(proxy.key()), surface, stream, "Write 150 words.", limit)
        except openai.RateLimitError as error:
            return error
    pytest.fail("the day never ends")


async def fire(proxy, keys, count, model=MODEL, **body):
    """Send so many requests at once, with one key after the other; the answers' statuses, and the refusals."""
    async with async_sdk(proxy, keys[0]) as client:
        parts = [client.with_options(api_key=key.secret).chat.completions.with_raw_response for key in keys]
        sent = [parts[number % len(parts)].create(**CHAT | {"model": model}, **body) for number in range(count)]
        ends = await asyncio.gather(*sent, return_exceptions=True)
    refusals = [end for end in ends if isinstance(end, Exception)]
    assert all(isinstance(refusal, openai.RateLimitError) for refusal in refusals), refusals
    return count - len(refusals), refusals


@pytest.mark.parametrize(("surface", "stream"), [(surface, surface != "chat") for surface in SURFACES])
def test_the_free_plan_stops_before_cloudflare_does(free, surface, stream):
    with proxy_before(free) as proxy:
        error = use_up(proxy, surface=surface, stream=stream)
        assert (error.type, error.code) == ("insufficient_quota", "insufficient_quota")
        assert error.response.headers["x-should-retry"] == "false"
        assert "It is renewed at 00:00 UTC" in error.message
        shown = free.shown()
        assert sum(shown["refused"].values()) == 0
        # One more of 300 tokens might have passed it.
        assert DAILY - 300 * 0.0273 - 1 < shown["neurons"] <= DAILY
        today = proxy.told("usage")["today"]
        assert today["neurons"] == pytest.approx(shown["neurons"], abs=0.01)
        assert today["allocation"]["neurons"] == DAILY
        assert today["allocation"]["remaining"] == pytest.approx(DAILY - shown["neurons"], abs=0.01)
        # What still fits is still answered.
        assert ask(proxy.sdk(proxy.key()), "chat", text="Hi", limit=10).status_code == 200


async def test_many_at_once_do_not_pass_it(free):
    with proxy_before(free) as proxy:
        keys = [proxy.key() for _ in range(4)]
        stated = await fire(proxy, keys, 30, max_completion_tokens=300)
        unstated = await fire(proxy, keys, 10)
    assert stated[0] > 2
    assert stated[1]
    assert {error.code for error in (*stated[1], *unstated[1])} == {"insufficient_quota"}
    shown = free.shown()
    assert sum(shown["refused"].values()) == 0
    assert 0 < shown["neurons"] <= DAILY


def test_a_restart_does_not_give_the_day_again(free, tmp_path):
    with proxy_before(free, data_dir=tmp_path) as proxy:
        use_up(proxy)
    with proxy_before(free, data_dir=tmp_path) as proxy, pytest.raises(openai.RateLimitError) as caught:
        ask(proxy.sdk(proxy.key()), "chat", limit=300)
    assert caught.value.code == "insufficient_quota"
    assert free.shown()["refused"]["3036"] == 0


def test_replicas_share_the_accounts_day(free):
    own = {"cloudflare_account_id": secrets.token_hex(16), "redis_url": need_redis()}
    owner = f"account:{hashlib.sha256(own['cloudflare_account_id'].encode()).hexdigest()[:16]}"
    with forgotten(owner), proxy_before(free, **own) as one, proxy_before(free, **own) as other:
        error = use_up(one, other)
        assert error.code == "insufficient_quota"
        for proxy in (one, other):
            with pytest.raises(openai.RateLimitError):
                ask(proxy.sdk(proxy.key()), "chat", limit=300)
    shown = free.shown()
    assert sum(shown["refused"].values()) == 0
    assert DAILY - 300 * 0.0273 - 1 < shown["neurons"] <= DAILY


def test_what_cloudflare_says_is_believed_until_midnight(free):
    with running(free.address, remember_failures=True, plan="free") as proxy:
        free.control.post("/faults", json={"fault": "quota", "model": MODEL})
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as caught:
                ask(proxy.sdk(proxy.key()), "chat")
            assert (caught.value.code, caught.value.response.headers["x-should-retry"]) == (
                "insufficient_quota",
                "false",
            )
    # It is not asked again.
    assert len(free.models()) == 1


@pytest.mark.parametrize(("surface", "stream"), [(surface, surface != "responses") for surface in SURFACES])
def test_a_cheaper_model_goes_on(free, surface, stream):
    with proxy_before(free, fallback_models="gpt-oss-120b=gpt-oss-20b") as proxy:
        key = proxy.key()
        client = proxy.sdk(key)
        answer = ask(client, surface, stream, limit=1_000, model=BIG)
        assert answer.headers["x-flarelay-model"] == MODEL
        assert free.models() == [MODEL]
        line = proxy.line(answer)
        assert (line["model"], line["upstream_model"]) == (BIG, MODEL)
        assert [row["model"] for row in proxy.told("usage", key=key.id)["today"]["by_model"]] == [MODEL]
        # What the day has room for is answered by the model that was asked for.
        assert ask(client, surface, stream, limit=200, model=BIG).headers["x-flarelay-model"] == BIG
    assert sum(free.shown()["refused"].values()) == 0


def test_nobody_gets_a_fallback_that_is_not_allowed(free):
    with proxy_before(free, fallback_models="gpt-oss-120b=gpt-oss-20b|llama-3.2-1b-instruct") as proxy:

        def served(**key):
            return ask(proxy.sdk(proxy.key(**key)), "chat", limit=1_000, model=BIG).headers["x-flarelay-model"]

        with pytest.raises(openai.RateLimitError) as caught:
            served(models=["gpt-oss-120b"])
        assert caught.value.code == "insufficient_quota"
        assert free.models() == []
        assert served(models=["gpt-oss-120b", "@cf/meta/*"]) == "@cf/meta/llama-3.2-1b-instruct"
        assert served(models=["gpt-oss-*"]) == MODEL


def test_a_dearer_model_never_goes_on(free):
    with proxy_before(free, fallback_models=f"*={BIG}|{PAID}") as proxy:
        with pytest.raises(openai.RateLimitError):
            ask(proxy.sdk(proxy.key()), "chat", limit=3_000)
        assert free.models() == []


def test_a_budget_of_all_keys_on_the_paid_plan(free):
    with running(free.address, account_neurons_per_day=20) as proxy:
        error = use_up(proxy)
        assert "budget, which all keys share, of 20 neurons a day" in error.message
        assert free.shown()["neurons"] <= 20


@pytest.fixture(scope="module")
def limited():
    """An account that takes ten requests a minute to the small model, and as many as Cloudflare says to others."""
    with account(rate_limits={MODEL: 10}) as made:
        yield made


GUARDED = {"account_guard": "on", "account_requests_per_minute": "gpt-oss-20b=10", "queue_seconds": 0.3}


@pytest.mark.parametrize(("model", "limit"), [(MODEL, 10), (PAID, 20)])
async def test_a_burst_of_several_keys_never_meets_cloudflares_limit(limited, model, limit):
    limited.control.delete("/account")
    with running(limited.address, **GUARDED) as proxy:
        served, refusals = await fire(proxy, [proxy.key() for _ in range(4)], 30, model)
        assert served == limit
        assert limited.shown()["refused"]["3021"] == 0
        for error in refusals:
            assert (error.type, error.code) == ("requests", "rate_limit_exceeded")
            assert f"of the upstream account: Limit {limit}, which all keys share" in error.message
            wait = int(error.response.headers["retry-after-ms"]) / 1_000
            # Its turn is a minute after one of those that were let through just now, or after one that waits for it.
            assert 55 < wait < 130
            assert "x-should-retry" not in error.response.headers
        told = proxy.told("limits")["account_guard"]
        assert told["refused"] == 30 - limit
        assert told["waiting"] == 0
        # Another model has a minute of its own.
        assert ask(proxy.sdk(proxy.key()), "chat", model=BIG).status_code == 200


async def test_without_the_guard_it_is_met(limited):
    limited.control.delete("/account")
    with running(limited.address, **GUARDED | {"account_guard": "off"}) as proxy:
        await fire(proxy, [proxy.key()], 15)
    assert limited.shown()["refused"]["3021"] >= 5


def test_replicas_share_the_accounts_minute(limited):
    limited.control.delete("/account")
    own = {**GUARDED, "cloudflare_account_id": secrets.token_hex(16), "redis_url": need_redis()}
    with running(limited.address, **own) as one, running(limited.address, **own) as other:
        clients = [proxy.sdk(proxy.key()) for proxy in (one, other)]
        for number in range(10):
            assert ask(clients[number % 2], "chat", limit=10).status_code == 200
        for client in clients:
            with pytest.raises(openai.RateLimitError, match="of the upstream account: Limit 10"):
                ask(client, "chat", limit=10)
    assert limited.shown()["refused"]["3021"] == 0


@pytest.fixture
def short_minutes(monkeypatch):
    """A minute lasts two seconds, here and at Cloudflare, and a little longer for the guard, as it does otherwise."""
    for module in ("turns", "guard"):
        monkeypatch.setattr(f"app.limits.{module}.WINDOW", 2_200_000)
    began = time.time()
    with account(rate_limits={MODEL: 5, BIG: 1}, clock=lambda: began + (time.time() - began) * 30) as made:
        yield made


async def test_requests_wait_their_turn_and_a_busy_key_does_not_starve_the_others(short_minutes):
    limits = {"account_requests_per_minute": "gpt-oss-20b=5,gpt-oss-120b=1", "queue_seconds": 3}
    with running(short_minutes.address, account_guard="on", **limits) as proxy:
        busy, polite = proxy.key(), proxy.key()
        async with async_sdk(proxy, busy) as client:

            def send(key, text):
                messages = [{"role": "user", "content": text}]
                chat = client.with_options(api_key=key.secret).chat.completions
                return asyncio.create_task(chat.create(model=MODEL, messages=messages))

            def waiting(count):
                return proxy.told("limits")["account_guard"]["waiting"] == count

            began = time.monotonic()
            sent = [send(busy, "busy") for _ in range(9)]
            await asyncio.to_thread(until, lambda: waiting(4))
            sent.append(send(polite, "polite"))
            await asyncio.to_thread(until, lambda: waiting(5))
            # All ten places of the next minutes are taken: who comes now would wait too long.
            with pytest.raises(openai.RateLimitError) as caught:
                await send(busy, "late")
            wait = float(caught.value.response.headers["retry-after-ms"]) / 1_000
            assert 2.2 < wait <= 4.4
            answers = await asyncio.gather(*sent)
            assert all(answer.choices for answer in answers)
            assert 2 <= time.monotonic() - began < 6
        texts = short_minutes.texts()
        assert Counter(texts) == {"busy": 9, "polite": 1}
        assert texts.index("polite") <= 6
        assert short_minutes.shown()["refused"]["3021"] == 0
        assert proxy.told("limits")["account_guard"]["waited"] == 5


def test_the_wait_that_is_told_is_right(short_minutes):
    limits = {"account_requests_per_minute": "gpt-oss-120b=1", "queue_seconds": 0}
    with running(short_minutes.address, account_guard="on", **limits) as proxy:
        client = proxy.sdk(proxy.key())
        ask(client, "chat", model=BIG)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(client, "chat", model=BIG)
        wait = float(caught.value.response.headers["retry-after-ms"]) / 1_000
        assert 1 < wait <= 2.2
        # The SDK waits so long, and then it is let through.
        again = proxy.sdk(proxy.key(), retries=1)
        proxy.seen.headers.clear()
        assert ask(again, "chat", model=BIG).status_code == 200
        assert [headers["x-stainless-retry-count"] for headers in proxy.seen.headers] == ["0", "1"]
        assert short_minutes.shown()["refused"]["3021"] == 0
