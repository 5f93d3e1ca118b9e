"""``/metrics`` of a running server: who may read it, and what real requests leave there."""

import contextlib
import re

import httpx
import pytest

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving, until
from tests.telemetry.test_metrics import named, samples_in

MODEL = "@cf/openai/gpt-oss-20b"
HELLO = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Write 20 words."}]}
KEY, ADMIN, SCRAPER = "sk-one-0123456789abcdef", "admin-0123456789abcdefghij", "metrics-0123456789abcdefghij"


@contextlib.contextmanager
def client(emulator, **more):
    with (
        serving(create_app(settings_for(emulator, **more))) as address,
        httpx.Client(base_url=address, timeout=30, trust_env=False) as http,
    ):
        yield http


def scrape(http, key=None):
    answer = http.get("/metrics", headers={"authorization": f"Bearer {key}"} if key else {})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples_in(answer.text)


EVERYBODY = {None: 200, KEY: 200, ADMIN: 200, SCRAPER: 200}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, EVERYBODY),
        ({"metrics_key": SCRAPER}, {None: 401, KEY: 403, SCRAPER: 200}),
        ({"api_keys": KEY}, {None: 401, KEY: 403, SCRAPER: 401, ADMIN: 401}),
        ({"api_keys": KEY, "metrics_key": SCRAPER}, {None: 401, KEY: 403, SCRAPER: 200, "sk-nobody": 401}),
        ({"api_keys": KEY, "admin_key": ADMIN}, {None: 401, KEY: 403, ADMIN: 200, SCRAPER: 401}),
        (
            {"api_keys": KEY, "admin_key": ADMIN, "metrics_key": SCRAPER},
            {None: 401, KEY: 403, ADMIN: 200, SCRAPER: 200},
        ),
        ({"api_keys": KEY, "metrics_public": True}, EVERYBODY),
        ({"metrics": False}, {None: 404, KEY: 404}),
        ({"api_keys": KEY, "metrics": False, "metrics_key": SCRAPER}, {None: 401, KEY: 403, SCRAPER: 404}),
    ],
)
def test_who_may_read_the_metrics(emulator, settings, expected):
    with client(emulator, **settings) as http:
        found = {
            key: http.get("/metrics", headers={"authorization": f"Bearer {key}"} if key else {}).status_code
            for key in expected
        }
    assert found == expected


def test_the_metrics_key_opens_nothing_else(emulator):
    with client(emulator, api_keys=KEY, metrics_key=SCRAPER, admin_key=ADMIN) as http:
        headers = {"authorization": f"Bearer {SCRAPER}"}
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/admin/keys")):
            assert http.request(method, path, headers=headers).status_code == 401
        assert http.post("/metrics", headers=headers).status_code == 405


def test_real_requests_leave_their_times_calls_and_costs(emulator):
    with client(emulator, requests_per_minute=100) as http:
        for stream in (True, False, True):
            assert http.post("/v1/chat/completions", json={**HELLO, "stream": stream}).status_code == 200
        assert http.post("/v1/chat/completions", json={**HELLO, "model": "no-such-model"}).status_code == 404
        assert (
            http.post("/v1/chat/completions", json={**HELLO, "model": "@cf/emulator/rate-limited"}).status_code == 429
        )
        found = scrape(http)
    model = f'model="{MODEL}"'
    for stream, number in (("true", 2), ("false", 1)):
        labels = f'surface="chat",{model},status="200",ending="completed",stream="{stream}"'
        assert found[f"flarelay_requests_total{{{labels}}}"] == number
        around = f'surface="chat",stream="{stream}"'
        own = found[f"flarelay_overhead_seconds_sum{{{around}}}"]
        assert found[f"flarelay_overhead_seconds_count{{{around}}}"] == number
        whole = found[f'flarelay_request_duration_seconds_sum{{surface="chat",{model},stream="{stream}"}}']
        assert 0 < own < whole
    assert found[f"flarelay_upstream_seconds_count{{{model}}}"] == 3
    calls = f'{model},dialect="chat",account="account-1",status="200"'
    assert found[f"flarelay_upstream_attempts_total{{{calls}}}"] == 3
    assert sum(named(found, "flarelay_output_tokens_total").values()) > 3
    assert sum(named(found, "flarelay_neurons_total").values()) > 0
    codes = {re.search('code="([^"]*)"', key)[1] for key in named(found, "flarelay_errors_total")}
    assert codes == {"model_not_found", "rate_limit_exceeded"}
    assert found['flarelay_http_responses_total{status="200"}'] == 3
    assert found['flarelay_limiter_decisions_total{decision="admitted"}'] >= 3
    assert found["flarelay_store_up"] == 1
    assert found["flarelay_catalogue_models"] > 20


def test_what_is_open_is_counted_while_it_is(emulator):
    with client(emulator) as http:
        long = {"model": "gpt-oss-20b", "stream": True, "messages": [{"role": "user", "content": "Write 30000 words."}]}
        with http.stream("POST", "/v1/chat/completions", json=long) as answer:
            pieces = answer.iter_bytes()
            assert next(pieces)
            during = scrape(http)
            pieces.close()
        assert during["flarelay_streams_open"] == 1
        # The one that asks is open too.
        assert during["flarelay_http_requests_open"] == 2
        until(lambda: scrape(http)["flarelay_streams_open"] == 0)
        assert scrape(http)["flarelay_http_requests_open"] == 1


def test_the_catalogue_tells_when_it_was_read(emulator):
    with client(emulator) as http:
        until(lambda: scrape(http)["flarelay_catalogue_refreshed_timestamp_seconds"] > 1_600_000_000)
    with client(emulator, catalogue_refresh_seconds=0) as http:
        assert scrape(http)["flarelay_catalogue_refreshed_timestamp_seconds"] == 0


def test_callers_are_told_apart_only_where_that_is_set(emulator):
    for callers, expected in ((0, set()), (5, {"flarelay_caller_requests_total"})):
        with client(emulator, api_keys=KEY, admin_key=ADMIN, metrics_callers=callers) as http:
            headers = {"authorization": f"Bearer {KEY}"}
            assert http.post("/v1/chat/completions", json=HELLO, headers=headers).status_code == 200
            found = named(scrape(http, ADMIN), "flarelay_caller_requests_total")
        assert {key.partition("{")[0] for key in found} == expected
        assert KEY not in str(found)


def test_without_a_store_nothing_is_said_of_it(emulator):
    with client(emulator, store=False) as http:
        assert "flarelay_store_up" not in scrape(http)
