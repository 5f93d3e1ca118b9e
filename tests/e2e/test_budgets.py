"""Budgets as a client meets them: spent once, told apart from limits, and remembered by every replica and restart."""

import asyncio
import itertools
import re
from datetime import UTC, datetime, timedelta

import openai
import pytest
import redis

from tests.e2e.test_limits import MODEL, SURFACES, ask, asking, forgotten, running
from tests.limits.backend import REDIS_URL, need_redis
from tests.serving import until

USD_PER_NEURON = 0.000011
BUDGETS = {
    "neurons_per_day": (20.0, "20 neurons per day"),
    "neurons_per_month": (20.0, "20 neurons per month"),
    "usd_per_day": (0.00022, "0.00022 USD per day"),
    "usd_per_month": (0.00022, "0.00022 USD per month"),
}
"""Each of them is 20 neurons."""


@pytest.fixture(scope="module")
def proxy(emulator):
    with running(emulator) as made:
        yield made


def spend(key, *proxies, surface="chat", stream=False, limit=300):
    """Ask one proxy after the other until the budget refuses; what was spent in neurons, and the refusal."""
    spent = 0.0
    for proxy in itertools.islice(itertools.cycle(proxies), 100):
        try:
            spent += proxy.line(ask(proxy.sdk(key), surface, stream, "Write 60 words.", limit))["neurons"]
        except openai.RateLimitError as error:
            return spent, error
    pytest.fail("the budget never ends")


def renewal(name):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tomorrow = today + timedelta(days=1)
    return tomorrow if name.endswith("day") else (today.replace(day=1) + timedelta(days=32)).replace(day=1)


def figures(message):
    """What is left, and what the request may cost."""
    return re.findall(r"([\d.]+) (?:USD|neurons) are left", message) + re.findall(r"may cost ([\d.]+)", message)


@pytest.mark.parametrize("name", BUDGETS)
def test_a_spent_budget_is_told_as_one(proxy, name):
    amount, words = BUDGETS[name]
    key = proxy.key(**{name: amount})
    spent, error = spend(key, proxy)
    # It stops when what is left is less than the next request may cost, and not before.
    most = 300 * 27_273 / 1e6 + 1
    assert 20 - most < spent <= 20
    assert (error.status_code, error.type, error.code, error.param) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
        None,
    )
    headers = error.response.headers
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers
    message = error.response.json()["error"]["message"]
    assert message.startswith(f"You exceeded your current quota: of the budget of {words} ")
    assert f"it is renewed at {renewal(name):%Y-%m-%dT%H:%M:%SZ} (in " in message
    left, may = map(float, figures(message))
    unit = USD_PER_NEURON if name.startswith("usd") else 1
    assert left == pytest.approx((20 - spent) * unit, abs=1e-5)
    assert may > left
    # Less fits still.
    assert ask(proxy.sdk(key), "chat", text="Hi", limit=10).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_spends_and_is_refused_before_a_stream_begins(proxy, surface, stream):
    key = proxy.key(neurons_per_day=15)
    spent, error = spend(key, proxy, surface=surface, stream=stream)
    assert 0 < spent <= 15
    assert error.response.headers["content-type"] == "application/json"
    assert error.code == "insufficient_quota"
    until(lambda: proxy.log.lines(caller=key.id, ending="refused", error_code="insufficient_quota"))


def test_what_costs_more_than_the_whole_budget_is_refused_at_once(proxy):
    with pytest.raises(openai.RateLimitError, match="more than the whole budget of 5 neurons per day") as caught:
        ask(proxy.sdk(proxy.key(neurons_per_day=5)), "chat", limit=500)
    assert caught.value.code == "insufficient_quota"


def test_the_smaller_of_two_budgets_counts(proxy):
    _, error = spend(proxy.key(neurons_per_day=1_000, usd_per_day=0.00011, usd_per_month=1), proxy)
    assert "0.00011 USD per day" in error.message


def test_keys_do_not_pay_for_each_other(proxy):
    first, second = (proxy.key(neurons_per_day=20) for _ in range(2))
    spend(first, proxy)
    assert ask(proxy.sdk(second), "chat", limit=300).status_code == 200


async def test_many_at_once_do_not_pass_a_budget(proxy):
    key = proxy.key(neurons_per_day=40)
    client = proxy.sdk(key)

    def one():
        try:
            return ask(client, "chat", text="Write 60 words.", limit=300).status_code
        except openai.RateLimitError as error:
            return error.code

    ends = await asyncio.gather(*(asyncio.to_thread(one) for _ in range(20)))
    assert set(ends) == {200, "insufficient_quota"}
    until(lambda: len(proxy.log.lines(caller=key.id)) == 20)
    spent = sum(line.get("neurons", 0) for line in proxy.log.lines(caller=key.id))
    assert 0 < spent <= 40


def test_a_client_that_leaves_pays_for_what_it_got(proxy, control):
    control.post("/faults", json={"fault": "stall", "model": MODEL}).raise_for_status()
    key = proxy.key(neurons_per_day=20)
    stream = proxy.sdk(key).chat.completions.create(**asking("chat", "Hello", 300), model=MODEL, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    with pytest.raises(openai.RateLimitError):
        ask(proxy.sdk(key), "chat", limit=600)
    stream.close()
    until(lambda: proxy.log.lines(caller=key.id, ending="disconnected"))
    (line,) = proxy.log.lines(caller=key.id, ending="disconnected")
    assert 0 < line["neurons"] < 5
    # What it had reserved beyond that is free again.
    assert ask(proxy.sdk(key), "chat", limit=600).status_code == 200


def test_a_budget_outlives_the_proxy(emulator, tmp_path):
    with running(emulator, data_dir=tmp_path) as proxy:
        keys = {name: proxy.key(**{name: amount}) for name, (amount, _) in BUDGETS.items()}
        spent = {name: spend(key, proxy)[0] for name, key in keys.items()}
    with running(emulator, data_dir=tmp_path) as proxy:
        for name, key in keys.items():
            with pytest.raises(openai.RateLimitError) as caught:
                ask(proxy.sdk(key), "chat", text="Write 60 words.", limit=300)
            assert caught.value.code == "insufficient_quota"
            left = float(figures(caught.value.message)[0])
            unit = USD_PER_NEURON if name.startswith("usd") else 1
            assert left == pytest.approx((20 - spent[name]) * unit, abs=1e-5)


@pytest.fixture(scope="module")
def replicas(emulator, tmp_path_factory):
    """Two proxies with one store and one Redis, and accounts of their own."""
    need_redis()
    shared = {"redis_url": REDIS_URL, "data_dir": tmp_path_factory.mktemp("shared")}
    with running(emulator, **shared) as one, running(emulator, **shared) as other:
        yield one, other


def test_replicas_share_budgets(replicas):
    one, other = replicas
    key = one.key(neurons_per_day=40, usd_per_month=1)
    with forgotten(key.id):
        until(lambda: other.post(key, "chat", model="no such model").status_code == 404)
        spent, error = spend(key, *replicas)
        assert error.code == "insufficient_quota"
        assert 40 - 9.5 < spent <= 40
        for proxy in replicas:
            with pytest.raises(openai.RateLimitError, match="budget of 40 neurons per day"):
                ask(proxy.sdk(key), "chat", text="Write 60 words.", limit=300)


def test_a_redis_that_has_lost_its_memory_learns_it_from_the_ledger(replicas):
    one, other = replicas
    key = one.key(neurons_per_day=20)
    with forgotten(key.id):
        spent, _ = spend(key, one)
        # The other replica knows of it when it is in the ledger.
        until(lambda: other.told("usage", key=key.id)["today"]["neurons"] == pytest.approx(spent, abs=1e-6))
        with redis.Redis.from_url(REDIS_URL) as client:
            names = list(client.scan_iter(match=f"flarelay:limits:{{{key.id}*", count=1_000))
            assert names
            client.delete(*names)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(other.sdk(key), "chat", text="Write 60 words.", limit=300)
        assert float(figures(caught.value.message)[0]) == pytest.approx(20 - spent, abs=1e-5)
