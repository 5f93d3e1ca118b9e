"""The Responses API over a WebSocket: the official SDK and a bare client."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack, closing

import pytest
import websockets.sync.client
from openai import AsyncOpenAI, OpenAI
from openai.types.responses.responses_server_event import ResponsesServerEvent
from pydantic import TypeAdapter
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.api.socket import MAX_WAITING, Sockets
from app.main import create_app
from tests.conftest import settings_for
from tests.e2e.test_sdk import MODELS, SAID, SAYING, asked
from tests.serving import serving, until
from tests.surfaces.responses.stream_rules import check

MODEL = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"
KEYS = {"one": "sk-one-0123456789abcdef", "two": "sk-two-0123456789abcdef"}
STREAM_ENDS = {"response.completed", "response.incomplete", "response.failed"}

# The SDK builds socket events without checking them, so they are checked here.
EVENT = TypeAdapter(ResponsesServerEvent)


def connect(address, path="/v1/responses", key="any", **options):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    headers |= options.pop("headers", {})
    url = address.replace("http", "ws", 1) + path
    return websockets.sync.client.connect(url, additional_headers=headers, proxy=None, **options)


def refusal(address, *arguments, **options):
    """The answer to an upgrade that is refused."""
    with pytest.raises(InvalidStatus) as caught, connect(address, *arguments, **options):
        pytest.fail("it was not refused")
    return caught.value.response


class Client:
    """A bare client that checks everything it gets."""

    def __init__(self, address, **options):
        # Without a bound its own thread reads on, as a program does that is not a test.
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(connect(address, max_queue=None, **options))

    def close(self):
        self._stack.close()

    def say(self, **event):
        self.socket.send(json.dumps(event))

    def hear(self):
        event = json.loads(self.socket.recv(timeout=10))
        EVENT.validate_python(event)
        return event

    def create(self, **body):
        self.say(type="response.create", **{"model": MODEL, "store": False, **body})

    def answer(self):
        """All events up to the end of one response, or one error."""
        events = [self.hear()]
        while events[-1]["type"] not in STREAM_ENDS and "status" not in events[-1]:
            events.append(self.hear())
        return events

    def ask(self, **body):
        self.create(**body)
        return self.answer()[-1]


@pytest.fixture
def client(proxy):
    with closing(Client(proxy)) as made:
        yield made


def text_of(event):
    assert event["type"] == "response.completed", event
    return "".join(
        part["text"] for item in event["response"]["output"] if item["type"] == "message" for part in item["content"]
    )


def sent(control):
    return [[message["content"] for message in request["messages"]] for request in asked(control)]


@pytest.mark.parametrize("model", MODELS)
def test_the_sdk_connects(sdk, model):
    with sdk.responses.connect() as connection:
        texts = []
        previous = {}
        for said in (SAYING, "Say exactly: two"):
            connection.response.create(model=model, input=said, store=False, **previous)
            deltas = []
            for event in connection:
                EVENT.validate_python(event.to_dict())
                if event.type == "response.output_text.delta":
                    deltas.append(event.delta)
                if event.type == "response.completed":
                    break
            previous = {"previous_response_id": event.response.id}
            texts.append((event.response.output_text, "".join(deltas)))
    assert texts == [(SAID, SAID), ("two", "two")]


async def test_the_async_sdk_connects(async_sdk: AsyncOpenAI):
    async with async_sdk.responses.connect() as connection:
        await connection.response.create(model=MODEL, input=SAYING)
        kinds = []
        async for event in connection:
            kinds.append(event.type)
            if event.type == "response.completed":
                break
    assert event.response.output_text == SAID
    assert kinds[:2] == ["response.created", "response.in_progress"]
    stored = await async_sdk.responses.retrieve(event.response.id)
    assert stored.output_text == SAID


def test_the_events_are_those_of_the_stream(client):
    client.create(input=SAYING, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"})
    events = client.answer()
    assert events[0].pop("headers")["x-flarelay-model"] == MODEL
    assert not any("headers" in event for event in events)
    frames = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    final, _ = check(frames.encode() + b"data: [DONE]\n\n")
    assert final["status"] == "completed"
    assert final["store"] is False


def test_what_is_not_stored_is_continued_on_the_same_connection(client, proxy, sdk, control):
    first = client.ask(input="Say exactly: one", instructions="Be terse.", model=LEGACY)
    second = client.ask(input="Say exactly: two", previous_response_id=first["response"]["id"], model=LEGACY)
    third = client.ask(input="Say exactly: three", previous_response_id=second["response"]["id"], model=LEGACY)
    assert text_of(third) == "three"
    assert sent(control)[-1] == ["Say exactly: one", "one", "Say exactly: two", "two", "Say exactly: three"]
    references = [{"type": "item_reference", "id": item["id"]} for item in second["response"]["output"]]
    client.ask(input=[*references, {"role": "user", "content": "more"}], model=LEGACY)
    assert sent(control)[-1] == ["two", "more"]
    with closing(Client(proxy)) as other:
        refused = other.ask(input="x", previous_response_id=third["response"]["id"])
    assert (refused["status"], refused["error"]["code"]) == (400, "previous_response_not_found")
    assert refused["error"]["param"] == "previous_response_id"
    # What is stored after all can be continued everywhere, with all that came before.
    kept = client.ask(input="Say exactly: four", previous_response_id=third["response"]["id"], store=True, model=LEGACY)
    after = sdk.responses.create(model=LEGACY, input="Say exactly: five", previous_response_id=kept["response"]["id"])
    assert after.output_text == "five"
    assert sent(control)[-1][-4:] == ["three", "Say exactly: four", "four", "Say exactly: five"]
    assert len(sent(control)[-1]) == 9


def test_what_is_stored_is_continued_over_a_connection(client, sdk, control):
    first = sdk.responses.create(model=LEGACY, input="Say exactly: one")
    answer = client.ask(input="Say exactly: two", previous_response_id=first.id, model=LEGACY)
    assert text_of(answer) == "two"
    assert sent(control)[-1] == ["Say exactly: one", "one", "Say exactly: two"]


def test_tools_over_three_turns(client, control):
    tools = [
        {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "shell"},
    ]
    call = client.ask(input='Call get_weather({"city": "Oslo"})', tools=tools)["response"]
    item = call["output"][-1]
    assert (item["type"], json.loads(item["arguments"])) == ("function_call", {"city": "Oslo"})
    outputs = [{"type": "function_call_output", "call_id": item["call_id"], "output": "rain"}]
    reply = client.ask(input=outputs, tools=tools, previous_response_id=call["id"])
    last = client.ask(input="Use the shell", tools=tools, previous_response_id=reply["response"]["id"])["response"]
    assert last["output"][-1]["type"] == "custom_tool_call"
    assert [message["role"] for message in asked(control)[-1]["messages"]] == [
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]


def test_a_failed_continuation_is_forgotten(client):
    first = client.ask(input="Say exactly: one")["response"]["id"]
    assert client.ask(input="x", previous_response_id=first, temperature=9)["status"] == 400
    refused = client.ask(input="x", previous_response_id=first)
    assert refused["error"]["code"] == "previous_response_not_found"
    second = client.ask(input="Say exactly: two")["response"]["id"]
    assert client.ask(input="x", previous_response_id=second, model="@cf/emulator/cut")["type"] == "response.failed"
    assert client.ask(input="x", previous_response_id=second)["error"]["code"] == "previous_response_not_found"


def test_a_failure_before_the_answer_is_an_error_with_its_status(client):
    refused = client.ask(input="x", model="@cf/emulator/rate-limited")
    assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 429, "rate_limit_exceeded")
    assert int(refused["error"]["headers"]["retry-after"]) > 0
    assert client.ask(input="x", model="no-such-model")["error"]["code"] == "model_not_found"
    assert text_of(client.ask(input=SAYING)) == SAID


@pytest.mark.parametrize("store", [False, True])
def test_the_beginning_may_be_sent_ahead(client, control, sdk, store):
    asking = {"model": LEGACY, "store": store}
    client.create(**asking, generate=False, instructions="x", input=[{"role": "user", "content": "beginning"}])
    events = client.answer()
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    response = events[-1]["response"]
    assert (response["output"], response["usage"]["total_tokens"]) == ([], 0)
    assert asked(control) == []
    answer = client.ask(**asking, input="Say exactly: go", previous_response_id=response["id"])
    assert text_of(answer) == "go"
    assert sent(control) == [["beginning", "Say exactly: go"]]
    if store:
        assert sdk.responses.retrieve(response["id"]).output == []


def test_requests_wait_for_each_other(client, control):
    for number in range(3):
        client.create(input=f"Say exactly: {number}", stream_id=f"lane-{number}")
    answers = [client.answer() for _ in range(3)]
    assert [text_of(events[-1]) for events in answers] == ["0", "1", "2"]
    assert [{event["stream_id"] for event in events} for events in answers] == [{f"lane-{n}"} for n in range(3)]


def test_too_many_waiting_requests_are_refused(client, control):
    client.create(input="x", model="@cf/emulator/stall")
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    for _ in range(MAX_WAITING + 1):
        client.create(input="y")
    refused = next(event for event in iter(client.hear, None) if event["type"] == "error")
    assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_steering_event_is_answered_at_once(client, control):
    client.create(input="Write 60 words.", model="@cf/emulator/stall")
    created = client.hear()["response"]["id"]
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    client.say(type="response.steer", previous_response_id=created, input=[{"role": "user", "content": "stop"}])
    refused = next(event for event in iter(client.hear, None) if event["type"] == "response.steer.failed")
    assert refused["error"]["code"] == "steering_not_supported"
    assert refused["steer"] == {
        "previous_response_id": created,
        "input": [{"type": "message", "role": "user", "content": "stop"}],
    }
    client.say(type="response.steer")
    malformed = next(event for event in iter(client.hear, None) if event["type"] == "error")
    assert malformed["error"]["param"] == "previous_response_id"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{", None),
        ("[]", None),
        ("null", None),
        ("{}", "type"),
        ('{"type":1}', "type"),
        ('{"type":"response.erase"}', "type"),
        ('{"type":"response.create"}', "model"),
        ('{"type":"response.create","model":"m"}', "input"),
        ('{"type":"response.create","model":"m","input":"x","background":true}', "background"),
        ('{"type":"response.create","model":"m","input":"x","generate":1}', "generate"),
        (b"\xff", None),
    ],
)
def test_what_cannot_be_understood_is_an_error_and_no_end(client, message, param):
    client.socket.send(message)
    refused = client.hear()
    assert (refused["type"], refused["status"], refused["error"]["param"]) == ("error", 400, param)
    assert text_of(client.ask(input=SAYING)) == SAID


def test_an_envelope_field_does_not_matter(client):
    assert text_of(client.ask(input=SAYING, stream=False, background=False)) == SAID


def test_a_client_that_leaves_closes_the_upstream(proxy, control):
    client = Client(proxy)
    client.create(input="Write 60 words.", model="@cf/emulator/stall")
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    client.socket.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: control.get("/streams").json()["in_flight"] == 0, seconds=2)
    other = Client(proxy)
    other.create(input="Write 60 words.", model="@cf/emulator/hang")
    until(lambda: control.get("/streams").json()["in_flight"] == 1)
    other.close()
    until(lambda: control.get("/streams").json()["in_flight"] == 0, seconds=2)


@pytest.fixture(scope="module")
def guarded(emulator):
    settings = settings_for(emulator, api_keys=",".join(KEYS.values()), store=False, max_body_bytes=4096)
    with serving(create_app(settings), max_message_bytes=4096) as address:
        yield address


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
@pytest.mark.parametrize("key", ["", "sk-wrong", *KEYS.values()])
def test_the_handshake_wants_a_key(guarded, path, key):
    if key in KEYS.values():
        with connect(guarded, path, key) as connection:
            assert connection.response.headers["x-request-id"].startswith("req_")
        return
    answer = refusal(guarded, path, key)
    assert answer.status_code == 401
    assert json.loads(answer.body)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/healthz", "/v1/chat/completions", "/v1/nothing"])
def test_nothing_else_is_a_socket(guarded, path):
    assert refusal(guarded, path, KEYS["one"]).status_code == 403


def test_foreign_pages_cannot_connect_where_no_key_is_asked_for(proxy):
    assert refusal(proxy, headers={"origin": "https://evil.example"}).status_code == 403


def test_without_a_store_a_connection_still_remembers(guarded, control):
    with closing(Client(guarded, key=KEYS["one"])) as client:
        asking = {"model": LEGACY, "store": None}
        first = client.ask(**asking, input="Say exactly: one")
        assert first["response"]["store"] is False
        second = client.ask(**asking, input="Say exactly: two", previous_response_id=first["response"]["id"])
        assert text_of(second) == "two"
        assert sent(control)[-1] == ["Say exactly: one", "one", "Say exactly: two"]
        refused = client.ask(**asking, input="x", previous_response_id="resp_unknown")
        assert refused["error"]["code"] == "previous_response_not_found"
        assert client.ask(**asking, input="x", conversation="conv_1")["error"]["param"] == "conversation"


def test_only_so_much_is_remembered(guarded):
    with closing(Client(guarded, key=KEYS["one"])) as client:
        previous = None
        for _ in range(3):
            event = client.ask(input="Say exactly: " + "x" * 1500, previous_response_id=previous)
            if event["type"] == "error":
                break
            previous = event["response"]["id"]
    assert event["error"]["code"] == "previous_response_not_found"


def test_a_message_past_the_bound_ends_the_connection(guarded):
    client = Client(guarded, key=KEYS["one"])
    client.create(input="x" * 9000)
    with pytest.raises(ConnectionClosed) as caught:
        client.hear()
    assert caught.value.rcvd.code == 1009


def test_switched_off_is_told_at_once(emulator):
    with serving(create_app(settings_for(emulator, websockets=False))) as address:
        answer = refusal(address)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "HTTP/1.1")
        assert json.loads(answer.body)["error"]["code"] == "websockets_disabled"
        with OpenAI(base_url=f"{address}/v1", api_key="any") as sdk:
            assert sdk.responses.create(model=MODEL, input=SAYING).output_text == SAID


def test_a_plain_get_is_still_not_allowed(http):
    answer = http.get("/v1/responses")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_supported")


def test_after_its_time_a_connection_takes_nothing_more(emulator):
    app = create_app(settings_for(emulator))
    for route in app.router.routes:
        if isinstance(getattr(route, "app", None), Sockets):
            route.app._lifetime = 0.0
    with serving(app) as address, closing(Client(address)) as client:
        refused = client.hear()
        assert (refused["status"], refused["error"]["code"]) == (400, "websocket_connection_limit_reached")
        with pytest.raises(ConnectionClosed) as caught:
            client.hear()
    assert caught.value.rcvd.code == 1000


def test_a_server_that_ends_finishes_what_it_has_begun(emulator):
    with serving(create_app(settings_for(emulator)), grace=5) as address:
        client = Client(address)
        client.create(input="Write 400 words about rain.")
        first = client.hear()
    events = [first, *client.answer()]
    assert events[-1]["type"] == "response.completed"
    with pytest.raises(ConnectionClosed) as caught:
        client.hear()
    assert caught.value.rcvd.code == 1012


def test_the_library_is_loaded_with_the_first_upgrade():
    code = "import app.main, app.server, sys; assert 'websockets' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
