"""Batches in Cloudflare's own queue, against the emulator's."""

import json
import signal

import pytest
from openai import OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.e2e.batch_crash import proxy as killable
from tests.e2e.test_batches import begin, ended, read
from tests.serving import serving, until

QWEN = "@cf/qwen/qwen3-30b-a3b-fp8"
LLAMA = "@cf/meta/llama-3.3-70b-instruct-fp8-fast"
GPT = "@cf/openai/gpt-oss-20b"
BGE = "@cf/baai/bge-m3"
CHAT, RESPONSES, EMBEDDINGS = "/v1/chat/completions", "/v1/responses", "/v1/embeddings"


@pytest.fixture(scope="module")
def client(emulator):
    # One place of its own, which the queue is not to need.
    settings = settings_for(emulator, batch_places=1, remember_failures=False)
    with (
        serving(create_app(settings)) as address,
        OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0, _strict_response_validation=True) as client,
    ):
        yield client


def line(name, url, **body):
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def chat(name, model, **more):
    return line(name, CHAT, model=model, messages=[{"role": "user", "content": f"Say exactly: {name}"}], **more)


def queued(control):
    """The bodies of what was queued: polls are not among them."""
    bodies = [one["body"] for one in control.get("/requests").json() if "queueRequest" in str(one)]
    bodies = [json.loads(body) if isinstance(body, str) else body for body in bodies]
    return [body["requests"] for body in bodies if "requests" in body]


@pytest.mark.parametrize("model", [QWEN, LLAMA])
def test_most_lines_go_through_the_queue(client, control, model):
    # Slow enough that not all lines are answered one by one before the first pack is made.
    control.post(
        "/faults", json={"fault": "slow-first", "seconds": 0.1, "times": 60, "model": model}
    ).raise_for_status()
    lines = [chat(f"line-{number}", model) for number in range(150)]
    batch = ended(client, begin(client, lines))
    assert (batch.request_counts.completed, batch.error_file_id) == (150, None)
    output = read(client, batch.output_file_id)
    for name, found in output.items():
        assert name in found["response"]["body"]["choices"][0]["message"]["content"]
        assert found["response"]["body"]["usage"]["total_tokens"] > 0
    assert sum(map(len, queued(control))) > 0
    assert all("max_tokens" in one for pack in queued(control) for one in pack)


def test_embeddings_are_the_same_as_asked_directly(client, control):
    # Slow enough that not all lines are answered one by one before the first pack is made.
    control.post("/faults", json={"fault": "slow-first", "seconds": 0.1, "times": 60, "model": BGE}).raise_for_status()
    lines = [line(f"text {number}", EMBEDDINGS, model=BGE, input=f"text {number}") for number in range(60)]
    output = read(client, ended(client, begin(client, lines, EMBEDDINGS)).output_file_id)
    assert queued(control)
    direct = client.embeddings.create(
        model=BGE, input=[f"text {number}" for number in range(60)], encoding_format="float"
    )
    for number, one in enumerate(direct.data):
        assert output[f"text {number}"]["response"]["body"]["data"][0]["embedding"] == one.embedding


def test_gpt_oss_is_queued_in_its_own_form_and_never_mixed_up(client, control):
    # Slow enough that the first pack comes back while most lines are still to be asked.
    fault = {"fault": "slow-first", "seconds": 0.1, "times": None, "path": "/v1/chat/completions"}
    control.post("/faults", json=fault).raise_for_status()
    lines = [
        line(f"line-{number}", RESPONSES, model=GPT, input=f"Say exactly: line-{number}", reasoning={"effort": "low"})
        for number in range(60)
    ]
    output = read(client, ended(client, begin(client, lines, RESPONSES)).output_file_id)
    assert len(output) == 60
    for name, found in output.items():
        assert found["response"]["body"]["output"][-1]["content"][0]["text"] == name
    packs = queued(control)
    assert packs
    for pack in packs:
        assert [set(one) for one in pack] == [{"input", "reasoning", "external_reference"}], "its answers name nothing"


def test_what_would_lose_something_is_not_queued(client, control):
    lines = [chat(f"line-{number}", GPT, max_tokens=400, temperature=0) for number in range(5)]
    assert ended(client, begin(client, lines)).request_counts.completed == 5
    assert queued(control) == []


def test_a_pack_outlives_the_process_that_queued_it(emulator, control, tmp_path):
    lines = [chat(f"line-{number:03}", QWEN) for number in range(120)]
    with killable(emulator, str(tmp_path), 1.0, 1) as (process, http):
        client = OpenAI(base_url=f"{http.base_url}/v1", api_key="any", max_retries=0)
        batch = begin(client, lines)
        # It is asked after only when what the queue calls it is kept.
        until(lambda: "'request_id'" in str(control.get("/requests").json()), seconds=30)
        packed = queued(control)[0][0]
        process.send_signal(signal.SIGKILL)
    with killable(emulator, str(tmp_path), 1.0, 1) as (_, http):
        client = OpenAI(base_url=f"{http.base_url}/v1", api_key="any", max_retries=0)
        batch = ended(client, client.batches.retrieve(batch.id))
        assert set(read(client, batch.output_file_id)) == {one["custom_id"] for one in lines}
    name = lines[int(packed["external_reference"]) - 1]["custom_id"]
    asked = [one for one in control.get("/requests").json() if name in str(one["body"])]
    assert len(asked) == 1, "its answer was fetched, not asked for again"
