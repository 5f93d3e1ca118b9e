"""Failures of the upstream that clients do not see, and those that they do: retries, other accounts, other models."""

import json
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
from openai import OpenAI

from app.emulator.server import create_emulator
from app.main import create_app
from tests.conftest import ACCOUNT, TOKEN, settings_for
from tests.serving import serving

OTHER = "f" * 32
BIG, SMALL = "@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-20b"
MESSAGES = [{"role": "user", "content": "Say exactly: fine"}]


@pytest.fixture(scope="module")
def accounts():
    """An emulator that lets any account in, and its control plane."""
    with (
        serving(create_emulator(token=TOKEN)) as address,
        httpx.Client(base_url=f"{address}/_emulator", timeout=30, trust_env=False) as control,
    ):
        yield address, control


@pytest.fixture
def control(accounts):
    _, control = accounts
    control.delete("/requests").raise_for_status()
    yield control
    control.delete("/faults").raise_for_status()


@pytest.fixture
def start(accounts, control):
    """Starts a proxy with settings; returns a client of it."""
    with ExitStack() as stack:

        def begin(**more):
            settings = {"retries": 2, "remember_failures": True, "catalogue_refresh_seconds": 0, **more}
            address = stack.enter_context(serving(create_app(settings_for(accounts[0], **settings))))
            return stack.enter_context(httpx.Client(base_url=f"{address}/v1", timeout=30, trust_env=False))

        yield begin


TWO = {"more_accounts": [f"{OTHER}:{TOKEN}"]}
FALLBACK = {"fallback_models": {"gpt-oss-120b": ["gpt-oss-20b"]}}


def fault(control, name, **more):
    control.post("/faults", json={"fault": name, **more}).raise_for_status()


def asked(control):
    """The model calls that the upstream got: account, model, may it refuse at once."""
    received = [request for request in control.get("/requests").json() if request["method"] == "POST"]
    return [
        (request["path"].split("/accounts/")[1][:1], request["model"], "options" in request["body"])
        for request in received
    ]


def chat(**more):
    return "/chat/completions", {"model": "gpt-oss-120b", "messages": MESSAGES, **more}


def responses(**more):
    return "/responses", {"model": "gpt-oss-120b", "input": MESSAGES, "store": False, **more}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", [chat, responses])
def test_a_passing_failure_is_not_seen(start, control, surface, stream):
    http = start()
    fault(control, "html-502")
    path, body = surface(stream=stream)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert "fine" in answer.text
    assert answer.headers["x-flarelay-attempts"] == "2"
    assert asked(control) == [(ACCOUNT[0], BIG, False)] * 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", [chat, responses])
def test_a_busy_model_is_had_from_another_account(start, control, surface, stream):
    http = start(**TWO)
    fault(control, "capacity", path=ACCOUNT)
    path, body = surface(stream=stream)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert "fine" in answer.text
    assert (answer.headers["x-flarelay-model"], answer.headers["x-flarelay-attempts"]) == (BIG, "2")
    assert asked(control) == [(ACCOUNT[0], BIG, True), ("f", BIG, False)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", [chat, responses])
def test_another_model_takes_its_place_and_is_named(start, control, surface, stream):
    http = start(**FALLBACK)
    fault(control, "capacity", model=BIG)
    path, body = surface(stream=stream)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert (answer.headers["x-flarelay-model"], answer.headers["x-flarelay-attempts"]) == (SMALL, "2")
    assert asked(control) == [(ACCOUNT[0], BIG, True), (ACCOUNT[0], SMALL, False)]
    # For a while the busy one is not asked first.
    assert http.post(path, json=body).headers["x-flarelay-attempts"] == "1"


def test_the_sdk_notices_nothing(start, control):
    http = start(**TWO, **FALLBACK)
    for name in ("capacity", "rate-limited", "quota"):
        fault(control, name)
    with OpenAI(base_url=str(http.base_url), api_key="any", max_retries=0) as sdk:
        answer = sdk.chat.completions.create(model="gpt-oss-120b", messages=MESSAGES)
    assert "fine" in answer.choices[0].message.content
    assert len(asked(control)) == 4


def test_without_neurons_the_other_account_is_asked_and_then_nobody(start, control):
    http = start(**TWO, plan="free")
    fault(control, "quota", path=ACCOUNT, times=None)
    path, body = chat()
    assert http.post(path, json=body).headers["x-flarelay-attempts"] == "2"
    assert http.post(path, json=body).headers["x-flarelay-attempts"] == "1"
    fault(control, "quota-old", path=OTHER, times=None)
    for _ in range(2):
        answer = http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
        assert answer.headers["x-should-retry"] == "false"
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert [account for account, _, _ in asked(control)] == [ACCOUNT[0], "f", "f", "f"]


def test_a_model_that_keeps_failing_is_refused_at_once(start, control):
    http = start(retries=0)
    fault(control, "html-503", times=None)
    path, body = chat()
    for _ in range(20):
        assert http.post(path, json=body).status_code == 503
    began = time.perf_counter()
    answer = http.post(path, json=body)
    assert time.perf_counter() - began < 1
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_is_overloaded")
    assert 0 < int(answer.headers["retry-after"]) <= 5
    assert len(asked(control)) == 20
    # Other models are another matter.
    control.delete("/faults")
    assert http.post(path, json={**body, "model": "gpt-oss-20b"}).status_code == 200


@pytest.mark.parametrize("surface", [chat, responses])
def test_what_was_given_is_never_asked_for_again(start, control, surface):
    http = start(**TWO, **FALLBACK)
    fault(control, "cut")
    path, body = surface(stream=True)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert '"error"' in answer.text
    assert len(asked(control)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_before_anything_was_given_is_not_seen(start, control, stream):
    http = start()
    fault(control, "cut-first")
    path, body = responses(stream=stream)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    assert "fine" in answer.text
    assert answer.text.count("event: response.created") == int(stream)
    assert len(asked(control)) == 2


def test_choices_of_one_answer_go_their_own_ways(start, control):
    http = start(**FALLBACK)
    fault(control, "capacity", model=BIG)
    path, body = chat(n=2)
    answer = http.post(path, json=body)
    assert len(answer.json()["choices"]) == 2
    assert set(answer.headers["x-flarelay-model"].split(",")) == {BIG, SMALL}
    assert answer.headers["x-flarelay-attempts"] == "2"


ENDS = {
    "hang": ("first_byte_timeout", 504, "upstream_timeout"),
    "slow-first": ("total_timeout", 504, "total_timeout"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("scenario", "end"), ENDS.items(), ids=ENDS)
def test_each_wait_has_its_own_end(start, control, scenario, end, stream):
    setting, status, code = end
    http = start(**{setting: 0.2})
    fault(control, scenario)
    path, body = chat(stream=stream)
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(asked(control)) == 1


@pytest.mark.parametrize(
    ("setting", "code"), [("idle_timeout", "upstream_timeout"), ("total_timeout", "total_timeout")]
)
def test_a_wait_in_the_middle_ends_in_an_error(start, control, setting, code):
    http = start(**{setting: 0.3})
    fault(control, "stall")
    path, body = chat(stream=True)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    last = [line for line in answer.text.split("\n") if line.startswith("data: ")][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == code
    fault(control, "stall")
    answer = http.post(path, json={**body, "stream": False})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, code)


def test_nobody_at_home_has_its_own_error(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    http = start(upstream_url=f"http://127.0.0.1:{port}/client/v4")
    answer = http.post("/chat/completions", json=chat()[1])
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
