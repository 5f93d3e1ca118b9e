"""Bodies of requests that a model answers in one piece: JSON, and forms with files."""

from dataclasses import dataclass

import httpx
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette

from app.api.drain import Drain
from app.api.reply import Replies
from app.api.running import Running, routes
from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.caller import ANONYMOUS
from app.core.errors import BadRequest
from app.core.task import Call, TaskReply, Understood, Upload
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage
from app.exchange.run import Service
from app.limits.admission import NoLimits
from tests.exchange.scripted import Stream, World

MOST = 64 * 1024
CATALOGUE = build(bundled())


@dataclass
class Asked:
    model: str
    body: dict
    dropped: tuple = ()


class Echo:
    """A surface that keeps what it was given, and a dialect that sends it on."""

    name, main_field, verb, fields = "echo", "input", "echo", {}
    task = "Text Embeddings"

    def __init__(self, form):
        self.form = form
        self.seen = None

    def stand_in(self, name):
        return None

    def read(self, body):
        if body.get("wrong"):
            raise BadRequest("It is wrong.", param="wrong")
        self.seen = dict(body)
        return Asked("bge-m3", body)

    def serves(self, model):
        return True

    def write(self, request, model):
        sent = UpstreamRequest("/run/x", {}, stream=False, content=b"\x00\x01", headers={"content-type": "audio/wav"})
        return [Call(sent, Usage(1, 0, source="estimated"))]

    def answer(self, request, result, model, new_id, now):
        return TaskReply(result, "audio/mpeg")


class Dialect(Echo):
    def read(self, request, model, answers):
        return Understood(answers[0].body, Usage(0, 0, neurons=2.0, source="estimated"))


def form_of(fields, files):
    return {**dict(fields), "files": [file for _, file in files]}


@dataclass
class Desk:
    client: httpx.AsyncClient
    surface: Echo
    script: object
    outcomes: list

    async def post(self, **more):
        return await self.client.post("/v1/echo", **more)


@pytest.fixture
async def desks():
    opened = []

    def make(form=form_of):
        world = World(Stream([b"ID3", b"sound"], kind="audio/mpeg"))
        outcomes, surface = [], Echo(form)
        wiring = replace(world.wiring, limits=NoLimits(), report=outcomes.append, catalogue=lambda: CATALOGUE)
        drain = Drain()
        replies = Replies(max_body_bytes=MOST, keep_alive_seconds=0, drain=drain)
        app = Starlette(
            routes=routes(
                "/echo", Service(surface, Dialect(form)), wiring, Running(replies, drain), max_upload_bytes=MOST
            )
        )

        async def gate(scope, receive, send):
            headers = dict(scope["headers"])
            state = {"caller": ANONYMOUS, "request_id": "req_1", "headers": headers}
            await app({**scope, "state": state}, receive, send)

        client = httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://proxy.test")
        opened.append(client)
        return Desk(client, surface, world.script, outcomes)

    yield make
    for client in opened:
        await client.aclose()


async def test_json_is_read_and_bytes_are_answered(desks):
    desk = desks()
    answer = await desk.post(json={"a": 1})
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "audio/mpeg", b"ID3sound")
    assert desk.surface.seen == {"a": 1}
    assert answer.headers["content-length"] == "8"
    assert answer.headers["x-flarelay-neurons"] == "2.000000"
    ((_, _, sent),) = desk.script.sent
    assert (sent.read(), sent.headers["content-type"]) == (b"\x00\x01", "audio/wav")


async def test_a_form_is_read_with_its_files(desks):
    desk = desks()
    files = [("file", ("a.wav", b"RIFF", "audio/wav")), ("more[]", ("b", b"\xff" * 30_000, None))]
    answer = await desk.post(data={"model": "x", "n": "2"}, files=files)
    assert answer.status_code == 200, answer.text
    assert desk.surface.seen["model"] == "x"
    assert desk.surface.seen["n"] == "2"
    first, second = desk.surface.seen["files"]
    assert first == Upload("a.wav", "audio/wav", b"RIFF")
    assert len(second.data) == 30_000
    assert "RIFF" not in repr(first)


async def test_files_past_the_bound_are_refused_while_they_come(desks):
    desk = desks()
    files = [("file", ("a", b"x" * (MOST // 2))), ("file", ("b", b"x" * (MOST // 2 + 1)))]
    answer = await desk.post(files=files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "file")
    assert desk.script.sent == []
    assert desk.outcomes[0].status == 413


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--y\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--y--\r\n"),
        ("Multipart/Form-Data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("application/json", b"--x--"),
        ("text/plain", b"hello"),
        ("", b""),
    ],
)
async def test_what_is_neither_json_nor_a_whole_form_is_refused(desks, content_type, content):
    desk = desks()
    answer = await desk.post(content=content, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert desk.script.sent == []


async def test_an_endpoint_without_forms_says_so(desks):
    answer = await desks(form=None).post(files={"file": b"x"})
    assert answer.status_code == 400
    assert "takes JSON" in answer.json()["error"]["message"]


async def test_a_compressed_body_is_refused(desks):
    answer = await desks().post(content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 400


async def test_what_is_only_to_be_explained_is_not_sent(desks):
    desk = desks()
    answer = await desk.post(json={}, headers={"x-flarelay-explain": "true"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-flarelay-explain")
    assert desk.script.sent == []
    assert (await desk.post(json={}, headers={"x-flarelay-explain": "false"})).status_code == 200


async def test_a_refusal_of_the_surface_is_told_and_reported(desks):
    desk = desks()
    answer = await desk.post(json={"wrong": True})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "wrong")
    (outcome,) = desk.outcomes
    assert (outcome.status, outcome.ending, outcome.error_code) == (400, "refused", "invalid_request_error")


async def test_a_defect_is_reported_as_our_own(desks):
    desk = desks()
    desk.surface.answer = None
    with pytest.raises(TypeError):
        await desk.post(json={})
    assert (desk.outcomes[0].status, desk.outcomes[0].ending) == (500, "failed")
