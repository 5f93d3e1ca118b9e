"""What holds for every request that a model answers in one piece: keys, limits, the ledger, leaving, ending, routes."""

import asyncio
import json
import signal
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from openai import RateLimitError

from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.e2e.test_limits import NO_TLS, running
from tests.server.processes import clients, ended, logged
from tests.server.processes import proxy as proxy_process
from tests.serving import serving, until

BODIES = {
    "/embeddings": {"model": "bge-m3", "input": ["one text", "another text"]},
    "/moderations": {"model": "llama-guard-3-8b", "input": ["one text", "another text"]},
    "/rerank": {"model": "bge-reranker-base", "query": "text", "documents": ["one text", "another text"]},
}
NAMES = {path: path.removeprefix("/") for path in BODIES}
CALLS = {"/embeddings": 1, "/moderations": 2, "/rerank": 1}
EVERY = pytest.mark.parametrize("path", BODIES)


@pytest.fixture(scope="module")
def upstream():
    emulator = create_emulator(account_id=ACCOUNT, token=TOKEN)
    with serving(emulator) as address:
        yield emulator.state.emulator, address


@pytest.fixture(scope="module")
def proxy(upstream):
    with running(upstream[1], retries=0) as made:
        yield made


@pytest.fixture
def control(upstream):
    with httpx.Client(base_url=f"{upstream[1]}/_emulator", timeout=30, trust_env=False, verify=NO_TLS) as client:
        client.delete("/requests").raise_for_status()
        yield client
        client.delete("/faults").raise_for_status()


def calls(control):
    """What models were asked."""
    return [record for record in control.get("/requests").json() if record["method"] == "POST"]


def post(proxy, key, path, **more):
    return proxy.admin.post(f"/v1{path}", json={**BODIES[path], **more}, headers=key.header)


@EVERY
def test_it_is_served_without_the_version_too(proxy, path):
    answer = proxy.admin.post(path, json=BODIES[path], headers=proxy.key().header)
    assert answer.status_code == 200, answer.text


@EVERY
def test_another_method_is_refused_in_openais_form(proxy, path):
    answer = proxy.admin.get(f"/v1{path}", headers=proxy.key().header)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_supported")


@EVERY
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(proxy, path, content):
    headers = {**proxy.key().header, "content-type": "application/json"}
    answer = proxy.admin.post(f"/v1{path}", content=content, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@EVERY
def test_every_request_counts_once_and_the_headers_tell_how_the_key_stands(proxy, path):
    key = proxy.key(requests_per_day=2, tokens_per_minute=100_000)
    first, second, third = (post(proxy, key, path) for _ in range(3))
    assert first.status_code == second.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100_000
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_tokens_are_settled_with_what_was_used(proxy):
    key = proxy.key(tokens_per_day=3_000)
    used = post(proxy, key, "/embeddings", input="word " * 2_000).json()["usage"]["total_tokens"]
    headers = post(proxy, key, "/embeddings", input="x").headers
    assert int(headers["x-ratelimit-remaining-tokens"]) == pytest.approx(3_000 - used, abs=5)
    refused = post(proxy, key, "/embeddings", input="word " * 5_000)
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "tokens")


def test_a_budget_refuses_what_costs_more_than_is_left(proxy, control):
    # A hundred thousand words cost a hundred neurons or so.
    key = proxy.key(neurons_per_day=2)
    assert post(proxy, key, "/embeddings").status_code == 200
    refused = post(proxy, key, "/embeddings", input=["word " * 10_000] * 20)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    with pytest.raises(RateLimitError):
        proxy.sdk(key).embeddings.create(model="bge-m3", input=["word " * 10_000] * 20)
    assert len(calls(control)) == 1


@EVERY
def test_the_ledger_the_log_and_the_headers_tell_the_same_cost(proxy, control, path):
    key = proxy.key()
    answer = post(proxy, key, path)
    line = proxy.line(answer)
    assert (line["surface"], line["status"], line["ending"]) == (NAMES[path], 200, "completed")
    assert line["upstream_attempts"] == ",".join(["200"] * CALLS[path])
    assert line["prompt_tokens"] > 0
    assert answer.headers["x-flarelay-neurons"] == f"{line['neurons']:.6f}"
    assert line["neurons"] > 0

    (row,) = proxy.told("usage", key=key.id, by="model", days=1)["today"]["by_model"]
    assert (row["model"], row["requests"]) == (line["upstream_model"], 1)
    assert row["prompt_tokens"] == line["prompt_tokens"]
    assert row["neurons"] == pytest.approx(line["neurons"], abs=1e-5)


@EVERY
def test_a_key_uses_its_own_models_only(proxy, control, path):
    refused = post(proxy, proxy.key(models=["gpt-oss-*"]), path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_found")
    assert post(proxy, proxy.key(models=[BODIES[path]["model"]]), path).status_code == 200
    assert len(calls(control)) == CALLS[path]


@EVERY
def test_a_client_that_leaves_closes_the_upstream_at_once_and_frees_its_place(upstream, proxy, control, path):
    state, _ = upstream
    key = proxy.key(concurrency=1)
    control.post("/faults", json={"fault": "hang", "times": None}).raise_for_status()
    url = urlsplit(proxy.address)
    content = json.dumps(BODIES[path]).encode()
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        head = f"POST /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key.secret}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content)
        until(lambda: state.in_flight == CALLS[path])
    until(lambda: state.in_flight == 0, seconds=2)
    until(lambda: proxy.log.lines(caller=key.id))
    (line,) = proxy.log.lines(caller=key.id)
    assert (line["status"], line["ending"]) == (499, "disconnected")
    # The calls may run on at the upstream, so they are charged as estimated.
    assert (line["usage_source"], line["prompt_tokens"] > 0) == ("estimated", True)
    assert all(record["closed_early"] for record in calls(control))
    control.delete("/faults").raise_for_status()
    until(lambda: post(proxy, key, path).status_code == 200)


@EVERY
def test_a_client_that_leaves_in_the_middle_of_its_body_is_only_noted(proxy, control, path):
    key = proxy.key()
    url = urlsplit(proxy.address)
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        head = f"POST /v1{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key.secret}\r\ncontent-length: 90\r\n\r\n"
        client.sendall(head.encode() + b'{"model": ')
    until(lambda: proxy.log.lines(caller=key.id))
    assert proxy.log.lines(caller=key.id)[0]["ending"] == "disconnected"
    assert calls(control) == []


async def test_the_servers_end_is_told(upstream, control):
    state, address = upstream
    control.post("/faults", json={"fault": "hang", "times": None}).raise_for_status()
    async with proxy_process(address, FLARELAY_DRAIN_SECONDS="0.2") as (process, port), clients(port) as connect:
        waiting = [asyncio.create_task((await connect()).post(f"/v1{path}", body)) for path, body in BODIES.items()]
        async with asyncio.timeout(20):
            while state.in_flight < sum(CALLS.values()):
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            answers = await asyncio.gather(*waiting)
            assert await ended(process, 10) == 0
        lines = logged(process)
    for answer in answers:
        assert (answer.status, answer.error["code"]) == (503, "server_is_overloaded")
        assert answer.headers["retry-after"] == "1"
    assert [line["ending"] for line in lines] == ["failed"] * len(BODIES)
    until(lambda: state.in_flight == 0)


def test_a_body_past_the_bound_is_refused(upstream):
    with running(upstream[1], max_body_bytes=1024) as made:
        answer = post(made, made.key(), "/embeddings", input="word " * 1024)
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_free_allocation_of_the_account_is_kept(upstream, control):
    with running(upstream[1], plan="free", account_neurons_per_day=1) as made:
        key = made.key()
        assert post(made, key, "/embeddings").status_code == 200
        answer = post(made, key, "/embeddings", input=["word " * 10_000] * 10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert "account" in answer.json()["error"]["message"]
    assert len(calls(control)) == 1
