"""Batches as one process does them, and as several do: with asks that are scripted, and time that is set."""

import asyncio
import contextlib
import itertools
import json

import pytest

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.caller import Caller
from app.core.errors import (
    ApiError,
    BadRequest,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.exchange import batch_care, batch_lines
from app.exchange.batch_lines import MAX_ATTEMPTS, MOST_REST, REST, Batching, rest_after
from app.exchange.batches import BatchWork
from app.exchange.memory import Memory
from app.files.opening import open_local
from app.store.batching import StoredBatch
from app.store.opening import open_store
from app.wire.codec import encode
from tests.store import databases

ENDPOINT = "/v1/chat/completions"
ENDED = {"completed", "failed", "expired", "cancelled"}
ME = Caller("key-me", "me")
DAY = 86_400.0
ANSWER = {"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}


@pytest.fixture(scope="module", params=databases.KINDS)
def template(request, tmp_path_factory):
    with databases.template(request.param, tmp_path_factory.mktemp("template")) as source:
        yield request.param, source


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module in (batch_care, batch_lines):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(batch_lines, "BUSY_SECONDS", 0.01)


class House:
    """A database, files, and what the processes on them share."""

    def __init__(self, url, folder):
        self.url = url
        self.now = 1_000.0
        self.numbers = itertools.count()
        self.callers = {ME.id: ME}
        self.blobs = open_local(folder, lambda prefix: f"{prefix}{next(self.numbers):04x}", lambda: self.now)
        self.catalogue = build(bundled(), ())
        self.busy = False
        self.asked = []
        self.script = {}

    def new_id(self, prefix):
        return f"{prefix}{next(self.numbers):032x}"

    async def ask(self, worker, raw):
        """Answer a line: as its script says, or well."""
        name = json.loads(raw)["messages"][0]["content"]
        self.asked.append((worker, name))
        await asyncio.sleep(0)
        # Time goes by with every request, as otherwise nobody would ever have waited.
        self.now += 0.001
        script = self.script.get(name, [])
        step = script.pop(0) if script else None
        if isinstance(step, ApiError):
            raise step
        if step is not None:
            await step()
        return encode({"answer": name, **ANSWER})

    @contextlib.asynccontextmanager
    async def process(self, worker="w", places=3):
        """A process that does batches."""
        store = await open_store(self.url)
        memory = Memory(store, lambda: None, self.new_id, lambda: self.now, None)
        batching = Batching(
            memory,
            lambda: self.blobs,
            lambda: self.catalogue,
            self.callers.get,
            {ENDPOINT: lambda raw, _caller, _request_id: self.ask(worker, raw)},
            self.new_id,
            lambda: self.now,
            worker,
        )
        work = BatchWork(batching, None, places=places, busy=lambda: self.busy, max_lines=1000, max_line_bytes=10_000)
        tasks = [asyncio.create_task(job) for job in work.jobs()]
        try:
            yield store
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await store.close()

    async def begin(self, store, names):
        """A batch with a line for each name."""
        body = {"model": "gpt-oss-20b"}
        lines = [
            {
                "custom_id": name,
                "method": "POST",
                "url": ENDPOINT,
                "body": {**body, "messages": [{"role": "user", "content": name}]},
            }
            for name in names
        ]
        file_id = self.new_id("file-")
        writer = await self.blobs.writer(file_id)
        await writer.write(b"".join(encode(line) + b"\n" for line in lines))
        await writer.finish()
        planned = {"output": self.new_id("file-"), "error": self.new_id("file-")}
        batch = StoredBatch(
            self.new_id("batch_"),
            ME.id,
            self.now,
            "validating",
            ENDPOINT,
            file_id,
            self.now + DAY,
            {"planned": planned},
        )
        await store.batches.create(batch)
        return batch.id

    async def ended(self, store, batch_id):
        async with asyncio.timeout(30):
            while (batch := await store.batches.get(ME.id, batch_id)).status not in ENDED:
                await asyncio.sleep(0.01)
        return batch

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)

    async def results(self, file_id):
        if file_id is None:
            return {}
        data = b"".join([piece async for piece in self.blobs.read(file_id)])
        lines = [json.loads(line) for line in data.splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        return {line["custom_id"]: line for line in lines}

    async def files(self, batch):
        return [await self.results(batch.details[name]) for name in ("output_file_id", "error_file_id")]


@pytest.fixture
async def house(template, tmp_path):
    kind, source = template
    return House(await databases.fresh(kind, source, tmp_path), tmp_path / "files")


async def test_a_line_that_a_limit_refuses_waits_and_its_batch_with_it(house):
    house.script["b"] = [RateLimited(retry_after=60.0)]
    async with house.process(places=1) as store:
        batch_id = await house.begin(store, ["a", "b", "c"])
        await house.until(lambda: ("w", "b") in house.asked)
        await asyncio.sleep(0.1)
        assert ("w", "c") not in house.asked, "the whole batch rests"
        house.now += 61
        batch = await house.ended(store, batch_id)
    assert (batch.status, batch.completed, batch.failed) == ("completed", 3, 0)
    assert sorted(name for _, name in house.asked) == ["a", "b", "b", "c"]
    assert batch.usage.input_tokens == 9


async def test_a_failing_upstream_is_asked_again_but_not_for_ever(house):
    house.script["a"] = [UpstreamBroken()]
    house.script["b"] = [UpstreamTimeout()] * MAX_ATTEMPTS
    house.script["c"] = [BadRequest("no", param="temperature")]
    async with house.process() as store:
        batch_id = await house.begin(store, ["a", "b", "c"])

        async def hurry():
            while True:
                await asyncio.sleep(0.01)
                house.now += 1

        task = asyncio.create_task(hurry())
        batch = await house.ended(store, batch_id)
        task.cancel()
    output, errors = await house.files(batch)
    assert set(output) == {"a"}
    assert {name: line["response"]["status_code"] for name, line in errors.items()} == {"b": 504, "c": 400}
    assert [name for _, name in house.asked].count("b") == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "rest"),
    [
        (RateLimited(retry_after=7.0), 7.0),
        (RateLimited(retry_after=0.0), 1.0),
        (RateLimited(), REST),
        (RateLimited(should_retry=False), None),
        (QuotaExhausted(), MOST_REST),
        (QuotaExhausted(retry_after=50_000), MOST_REST),
        (Overloaded(), REST),
        (UpstreamRefused(), MOST_REST),
        (UpstreamBroken(), None),
        (BadRequest("no"), None),
    ],
)
def test_what_a_batch_waits_for(error, rest):
    assert rest_after(error) == rest


async def test_a_revoked_key_stops_its_batch(house):
    async def revoke():
        house.callers.clear()

    house.script["b"] = [revoke]
    async with house.process(places=1) as store:
        batch = await house.ended(store, await house.begin(store, list("abcdefgh")))
    assert batch.status == "cancelled"
    assert [error["code"] for error in batch.details["errors"]] == ["invalid_api_key"]
    output, errors = await house.files(batch)
    assert (set(output), set(errors)) == (set("ab"), set("cdefgh"))
    assert len(house.asked) == 2


async def test_a_key_that_is_revoked_before_has_its_batch_refused(house):
    house.callers.clear()
    async with house.process() as store:
        batch = await house.ended(store, await house.begin(store, ["a"]))
    assert (batch.status, house.asked) == ("failed", [])


async def test_what_is_not_answered_in_a_day_expires(house):
    async def late():
        house.now += DAY

    house.script["b"] = [late]
    async with house.process(places=1) as store:
        batch = await house.ended(store, await house.begin(store, list("abcdefgh")))
    assert (batch.status, batch.completed, batch.failed) == ("expired", 2, 6)
    output, errors = await house.files(batch)
    assert set(output) == set("ab"), "what was being asked is paid for, and kept"
    assert {line["error"]["code"] for line in errors.values()} == {"batch_expired"}
    assert batch.details["finalizing_at"] <= batch.details["expired_at"]


async def test_replicas_share_the_lines(house):
    names = [f"line {number}" for number in range(200)]
    async with house.process("one") as store, house.process("two"):
        batches = [await house.begin(store, names) for _ in range(2)]
        for batch_id in batches:
            batch = await house.ended(store, batch_id)
            assert (batch.status, batch.completed) == ("completed", 200)
            output, _ = await house.files(batch)
            assert {name: line["response"]["body"]["answer"] for name, line in output.items()} == {
                name: name for name in names
            }
    assert len(house.asked) == 400
    assert {worker for worker, _ in house.asked} == {"one", "two"}


async def test_a_process_that_ends_gives_its_lines_back_at_once(house):
    never = asyncio.Event()
    house.script["a"] = [never.wait]
    async with house.process("one", places=1) as store:
        batch_id = await house.begin(store, ["a", "b"])
        await house.until(lambda: house.asked)
    async with house.process("two", places=1) as store:
        batch = await house.ended(store, batch_id)
    assert (batch.status, batch.completed) == ("completed", 2)
    assert house.asked[0] == ("one", "a")
    assert set(house.asked[1:]) == {("two", "a"), ("two", "b")}


async def test_nothing_is_begun_while_others_wait(house):
    house.busy = True
    async with house.process() as store:
        batch_id = await house.begin(store, ["a"])
        async with asyncio.timeout(30):
            while (await store.batches.get(ME.id, batch_id)).status != "in_progress":
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert house.asked == []
        house.busy = False
        assert (await house.ended(store, batch_id)).completed == 1


async def test_a_defect_is_an_error_of_its_line_alone(house, caplog):
    async def broken():
        raise RuntimeError("a defect")

    house.script["a"] = [broken]
    async with house.process() as store:
        batch = await house.ended(store, await house.begin(store, ["a", "b"]))
    output, errors = await house.files(batch)
    assert (set(output), errors["a"]["response"]["status_code"]) == ({"b"}, 500)
    assert "defect" in caplog.text
