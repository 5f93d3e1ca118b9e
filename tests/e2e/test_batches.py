"""Batches, by the official SDK against a real proxy."""

import json
import time
from collections import Counter

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.files import s3_server
from tests.serving import serving

KEYS = ("key-of-one-caller-0123456789", "key-of-another-caller-012345")
MODEL = "@cf/openai/gpt-oss-20b"
CHAT = "/v1/chat/completions"
ENDED = {"completed", "failed", "expired", "cancelled"}
MAX_LINES = 1_000


@pytest.fixture(scope="module")
def address(emulator):
    settings = settings_for(
        emulator, api_keys=",".join(KEYS), max_batch_lines=MAX_LINES, batch_places=8, remember_failures=False
    )
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def clients(address):
    def client(key):
        return OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, _strict_response_validation=True)

    with client(KEYS[0]) as mine, client(KEYS[1]) as other:
        yield mine, other


@pytest.fixture
def client(clients, control):
    return clients[0]


def chat(custom_id, text="Say exactly: hi", url=CHAT, **body):
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def upload(client, lines, purpose="batch"):
    data = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    return client.files.create(file=("lines.jsonl", data.encode()), purpose=purpose).id


def begin(client, lines, endpoint=CHAT, **more):
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h", **more
    )


def ended(client, batch, seconds=120):
    deadline = time.monotonic() + seconds
    while batch.status not in ENDED:
        assert time.monotonic() < deadline, batch
        time.sleep(0.05)
        batch = client.batches.retrieve(batch.id)
    return batch


def read(client, file_id):
    """The lines of a file of results, by their custom ids."""
    lines = [json.loads(line) for line in client.files.content(file_id).text.splitlines()]
    found = {line["custom_id"]: line for line in lines}
    assert len(found) == len(lines), "a line is there twice"
    return found


def test_a_thousand_lines_some_of_them_broken(client):
    lines = [chat(f"line-{number}", f"Say exactly: {number}") for number in range(980)]
    broken = [chat(f"bad-{number}", temperature="hot") for number in range(10)]
    broken += [chat(f"streamed-{number}", stream=True) for number in range(10)]
    batch = begin(client, [*lines, *broken], metadata={"of": "me"})
    assert (batch.status, batch.object, batch.endpoint) == ("validating", "batch", CHAT)
    assert batch.expires_at == batch.created_at + 86_400
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert (batch.model, batch.metadata, batch.errors) == (MODEL, {"of": "me"}, None)
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (1000, 980, 20)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert (batch.failed_at, batch.expired_at, batch.cancelling_at, batch.cancelled_at) == (None,) * 4
    output, errors = read(client, batch.output_file_id), read(client, batch.error_file_id)
    assert set(output) == {line["custom_id"] for line in lines}
    assert set(errors) == {line["custom_id"] for line in broken}
    tokens = Counter()
    for number in range(980):
        line = output[f"line-{number}"]
        assert (line["error"], line["response"]["status_code"]) == (None, 200)
        body = line["response"]["body"]
        assert body["choices"][0]["message"]["content"] == str(number)
        tokens += Counter(prompt=body["usage"]["prompt_tokens"], completion=body["usage"]["completion_tokens"])
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == (tokens["prompt"], tokens["completion"])
    for name, line in errors.items():
        assert (line["error"], line["response"]["status_code"]) == (None, 400)
        param = "temperature" if name.startswith("bad") else "stream"
        assert line["response"]["body"]["error"]["param"] == param
    every = [*output.values(), *errors.values()]
    assert len({line["id"] for line in every}) == len({line["response"]["request_id"] for line in every}) == 1000
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert file.bytes == len(client.files.content(file.id).content)


def test_a_file_with_broken_lines_is_refused_with_all_of_them(client):
    lines = [chat(f"line-{number}") for number in range(100)]
    lines[10] = "{not json"
    lines[20] = chat("line-19")
    lines[30] = chat("x", url="/v1/completions")
    lines[40] = chat("y", model="@cf/openai/gpt-oss-120b")
    batch = ended(client, begin(client, lines))
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.failed_at is not None
    assert [(error.code, error.line, error.param) for error in batch.errors.data] == [
        ("invalid_json_line", 11, None),
        ("duplicate_custom_id", 21, "custom_id"),
        ("url_mismatch", 31, "url"),
        ("model_mismatch", 41, "body.model"),
    ]


def test_files_that_cannot_be_batches(client):
    nothing = client.files.create(file=("x", b"\n"), purpose="batch").id
    made = client.batches.create(input_file_id=nothing, endpoint=CHAT, completion_window="24h")
    assert ended(client, made).errors.data[0].code == "empty_file"
    unknown = begin(client, [chat("a", model="no-such-model")])
    assert ended(client, unknown).errors.data[0].code == "model_not_found"
    many = begin(client, [chat(str(number)) for number in range(MAX_LINES + 1)])
    assert ended(client, many).errors.data[0].code == "too_many_tasks"


@pytest.mark.parametrize(
    ("endpoint", "body", "text"),
    [
        ("/v1/completions", {"prompt": "Say exactly: hi", "max_tokens": 500}, lambda body: body["choices"][0]["text"]),
        ("/v1/responses", {"input": "Say exactly: hi"}, lambda body: body["output"][-1]["content"][0]["text"]),
    ],
)
def test_the_other_endpoints(client, endpoint, body, text):
    line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": MODEL, **body}}
    batch = ended(client, begin(client, [line], endpoint))
    assert batch.error_file_id is None
    (line,) = read(client, batch.output_file_id).values()
    assert text(line["response"]["body"]).strip() == "hi"
    assert batch.usage.total_tokens == line["response"]["body"]["usage"]["total_tokens"]


def test_embeddings(client):
    model = "@cf/baai/bge-m3"
    lines = [
        {"custom_id": name, "method": "POST", "url": "/v1/embeddings", "body": {"model": model, "input": name}}
        for name in ("one", "two")
    ]
    batch = ended(client, begin(client, lines, "/v1/embeddings"))
    output = read(client, batch.output_file_id)
    direct = client.embeddings.create(model=model, input="one", encoding_format="float")
    assert output["one"]["response"]["body"]["data"][0]["embedding"] == direct.data[0].embedding


def test_batches_are_their_owners_alone(client, clients):
    other = clients[1]
    batch = ended(client, begin(client, [chat("a")]))
    assert other.batches.list().data == []
    for hidden in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            hidden(batch.id)
    with pytest.raises(openai.NotFoundError):
        other.batches.create(input_file_id=batch.input_file_id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        other.files.content(batch.output_file_id)


def test_lists_are_paged(client):
    made = [ended(client, begin(client, [chat("a")])).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list(limit=2)][:3] == made[::-1]


def test_cancelling_keeps_what_was_answered(client, control):
    control.post("/faults", json={"fault": "slow-first", "seconds": 0.2, "times": None}).raise_for_status()
    batch = begin(client, [chat(f"line-{number}") for number in range(200)])
    deadline = time.monotonic() + 60
    while not client.batches.retrieve(batch.id).request_counts.completed:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status == "cancelling"
    batch = ended(client, cancelled)
    assert batch.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    output, errors = read(client, batch.output_file_id), read(client, batch.error_file_id)
    assert len(output) == batch.request_counts.completed < 200
    assert set(output) | set(errors) == {f"line-{number}" for number in range(200)}
    assert {line["error"]["code"] for line in errors.values()} == {"batch_cancelled"}
    assert {line["response"] for line in errors.values()} == {None}
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(ended(client, begin(client, [chat("a")])).id)


def test_a_failing_upstream_is_asked_again(client, control):
    control.post("/faults", json={"fault": "status", "status": 500, "times": 1}).raise_for_status()
    batch = ended(client, begin(client, [chat("a")]))
    assert (batch.request_counts.completed, batch.error_file_id) == (1, None)


def test_the_input_file_may_be_deleted_meanwhile(client):
    batch = begin(client, [chat(str(number)) for number in range(50)])
    client.files.delete(batch.input_file_id)
    assert ended(client, batch).request_counts.completed == 50


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"endpoint": None}, "endpoint"),
        ({"endpoint": "/v1/moderations"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"completion_window": None}, "completion_window"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "output_expires_after.seconds"),
    ],
)
def test_wrong_fields_are_named(address, client, change, param):
    body = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h", **change}
    answer = httpx.post(f"{address}/v1/batches", json=body, headers={"authorization": f"Bearer {KEYS[0]}"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_only_files_for_batches_are_taken(client):
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")
    other = upload(client, [chat("a")], purpose="user_data")
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id=other, endpoint=CHAT, completion_window="24h")


async def test_the_asynchronous_client_as_well(address, client):
    async with AsyncOpenAI(
        base_url=f"{address}/v1", api_key=KEYS[0], max_retries=0, _strict_response_validation=True
    ) as own:
        expires = {"anchor": "created_at", "seconds": 3600}
        batch = ended(client, begin(client, [chat("a")], output_expires_after=expires))
        file = await own.files.retrieve(batch.output_file_id)
        assert file.expires_at == file.created_at + 3600
        assert (await own.batches.retrieve(batch.id)).status == "completed"


def test_a_batch_keeps_to_its_keys_limits(emulator):
    # With one request at a time, the batch's places and its owner's own requests stand in each other's way.
    settings = settings_for(emulator, api_keys=KEYS[0], concurrency=1, batch_places=8, requests_per_day=6)
    with (
        serving(create_app(settings)) as address,
        OpenAI(base_url=f"{address}/v1", api_key=KEYS[0], max_retries=0) as client,
    ):
        batch = begin(client, [chat(str(number), temperature=0) for number in range(10)])
        deadline = time.monotonic() + 60
        while (found := client.batches.retrieve(batch.id)).request_counts.completed < 6:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
        assert (found.status, found.request_counts.failed) == ("in_progress", 0)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
        cancelled = ended(client, client.batches.cancel(batch.id))
        assert (cancelled.request_counts.completed, cancelled.request_counts.failed) == (6, 4)


def test_everything_in_a_store_that_speaks_s3(emulator):
    bucket = s3_server.S3Server()
    with serving(bucket.app()) as store:
        settings = settings_for(
            emulator,
            files_url="s3://bucket/flarelay",
            files_endpoint=store,
            files_region=s3_server.REGION,
            files_access_key_id=s3_server.ACCESS_KEY,
            files_secret_access_key=s3_server.SECRET_KEY,
        )
        with (
            serving(create_app(settings)) as address,
            OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
        ):
            batch = ended(client, begin(client, [chat(f"line-{number}", temperature=0) for number in range(20)]))
            assert len(read(client, batch.output_file_id)) == 20
            assert len(bucket.objects) == 2
            bucket.failing = True
            with pytest.raises(openai.InternalServerError) as caught:
                client.files.content(batch.output_file_id)
            assert caught.value.status_code == 503
