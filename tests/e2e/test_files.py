"""Files, by the official SDK against a real proxy."""

import io
import time

import httpx
import openai
import pytest
from openai import OpenAI

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving

KEYS = ("key-of-one-caller-0123456789", "key-of-another-caller-012345")
MAX_BYTES = 1_000_000
SECONDS = 3_600


@pytest.fixture(scope="module")
def address(emulator):
    settings = settings_for(emulator, api_keys=",".join(KEYS), max_file_bytes=MAX_BYTES)
    with serving(create_app(settings)) as address:
        yield address


@pytest.fixture(scope="module")
def clients(address):
    def client(key):
        return OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, _strict_response_validation=True)

    with client(KEYS[0]) as mine, client(KEYS[1]) as other:
        yield mine, other


@pytest.fixture
def client(clients):
    yield clients[0]
    for file in clients[0].files.list():
        clients[0].files.delete(file.id)


@pytest.fixture(scope="module")
def http(address):
    headers = {"authorization": f"Bearer {KEYS[0]}"}
    with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as client:
        yield client


def upload(client, data=b"{}\n", name="batch.jsonl", purpose="batch", **more):
    return client.files.create(file=(name, io.BytesIO(data)), purpose=purpose, **more)


def test_a_file_comes_and_goes(client):
    data = bytes(range(256)) * 3_000
    file = upload(client, data, "größe.bin", purpose="user_data")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(data), "größe.bin", "user_data")
    assert (file.status, file.expires_at) == ("processed", None)
    assert abs(file.created_at - time.time()) < 60
    assert client.files.retrieve(file.id) == file
    content = client.files.content(file.id)
    assert content.read() == data
    assert content.response.headers["content-type"] == "application/octet-stream"
    assert client.files.delete(file.id).deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(file.id)


async def test_the_asynchronous_client_as_well(address, client):
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEYS[0], max_retries=0) as own:
        file = await own.files.create(file=("a.jsonl", b"{}"), purpose="batch")
        assert (await own.files.content(file.id)).content == b"{}"


def test_files_are_their_owners_alone(clients, client):
    other = clients[1]
    file = upload(client)
    assert other.files.list().data == []
    for hidden in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            hidden(file.id)
        assert caught.value.body["message"] == f"No such File object: {file.id}"
    assert client.files.retrieve(file.id) == file


def test_lists_are_paged_and_filtered(client):
    made = [upload(client, name=f"{number}.jsonl").id for number in range(5)]
    other = upload(client, purpose="vision").id
    assert [file.id for file in client.files.list(limit=2)] == [other, *made[::-1]]
    assert [file.id for file in client.files.list(order="asc", purpose="batch", limit=2)] == made
    page = client.files.list(limit=2, after=made[4])
    assert ([file.id for file in page.data], page.has_more) == ([made[3], made[2]], True)


def test_expiry(client):
    kept = upload(client, expires_after={"anchor": "created_at", "seconds": SECONDS})
    assert kept.expires_at == kept.created_at + SECONDS
    assert upload(client).expires_at is not None, "a file for a batch expires after 30 days"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "fun"}, "purpose"),
        ({"purpose": "batch", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, "expires_after.seconds"),
        (
            {"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "3600"},
            "expires_after.anchor",
        ),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "59"},
            "expires_after.seconds",
        ),
        (
            {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1e4"},
            "expires_after.seconds",
        ),
    ],
)
def test_wrong_fields_are_named(http, client, fields, param):
    answer = http.post("/v1/files", data=fields, files={"file": b"x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert client.files.list().data == []


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"purpose": "batch"}},
        {"data": {"purpose": "batch"}},
        {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"data": {"purpose": "batch"}, "files": {"document": b"x"}},
        {"data": {"purpose": "batch"}, "files": [("file", b"x"), ("file", b"y")]},
    ],
)
def test_other_forms_are_refused(http, client, request_):
    answer = http.post("/v1/files", **request_)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert client.files.list().data == []


def test_a_file_past_the_bound_is_refused(http, client):
    assert upload(client, b"x" * MAX_BYTES).bytes == MAX_BYTES
    answer = http.post("/v1/files", data={"purpose": "batch"}, files={"file": b"x" * (MAX_BYTES + 1)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "file")
    assert len(client.files.list().data) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=up", "after=file-none"])
def test_wrong_lists_are_refused(http, query):
    assert http.get(f"/v1/files?{query}").status_code == 400
