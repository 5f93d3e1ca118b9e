"""Models called through an AI Gateway."""

import httpx
import pytest

from app.main import create_app
from tests.conftest import ACCOUNT, settings_for
from tests.serving import serving

SECRET = "gateway-token-0123456789"
MESSAGES = [{"role": "user", "content": "Say exactly: fine"}]
BODY = {"model": "gpt-oss-120b", "messages": MESSAGES}


@pytest.fixture(scope="module")
def gated(emulator):
    settings = settings_for(emulator, gateway="mine", gateway_token=SECRET, gateway_url=f"{emulator}/v1")
    with (
        serving(create_app(settings)) as address,
        httpx.Client(base_url=f"{address}/v1", timeout=30, trust_env=False) as client,
    ):
        yield client


def received(control):
    return [request for request in control.get("/requests").json() if request["method"] == "POST"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_is_called_through_the_gateway(gated, control, stream):
    answer = gated.post("/chat/completions", json={**BODY, "stream": stream})
    assert answer.status_code == 200
    (request,) = received(control)
    assert request["path"] == f"/v1/{ACCOUNT}/mine/workers-ai/v1/chat/completions"
    assert request["headers"]["cf-aig-authorization"] == "***"
    assert answer.headers["cf-aig-cache-status"] == "MISS"
    assert answer.headers["cf-aig-log-id"]


def test_the_native_route_too(gated, control):
    answer = gated.post("/chat/completions", json={**BODY, "model": "qwen2.5-coder-32b-instruct", "raw": True})
    assert answer.status_code == 200
    (request,) = received(control)
    assert request["path"] == f"/v1/{ACCOUNT}/mine/workers-ai/run/@cf/qwen/qwen2.5-coder-32b-instruct"


def test_clients_say_what_is_theirs_to_say(gated, control):
    headers = {
        "cf-aig-skip-cache": "true",
        "cf-aig-metadata": '{"team":"a"}',
        "cf-aig-cache-key": "mine",
        "cf-aig-authorization": "Bearer theirs",
        "cf-aig-gateway-id": "another",
    }
    assert gated.post("/chat/completions", json=BODY, headers=headers).status_code == 200
    sent = received(control)[0]["headers"]
    assert sent["cf-aig-skip-cache"] == "true"
    assert sent["cf-aig-metadata"] == '{"team":"a"}'
    assert sent["cf-aig-cache-key"] not in {"mine", ""}
    assert "cf-aig-gateway-id" not in sent


def test_without_a_gateway_they_go_nowhere(http, control):
    headers = {"cf-aig-skip-cache": "true", "cf-aig-gateway-id": "another"}
    answer = http.post("/v1/chat/completions", json=BODY, headers=headers)
    assert answer.status_code == 200
    (request,) = received(control)
    assert not [name for name in request["headers"] if name.startswith("cf-aig-")]
    assert not [name for name in answer.headers if name.startswith("cf-aig-")]


def test_a_gateway_that_refuses_is_the_operators_trouble(gated, control):
    control.post("/faults", json={"fault": "gateway-unauthorized"})
    answer = gated.post("/chat/completions", json=BODY)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    assert answer.headers["cf-aig-log-id"]
    assert "AI Gateway" in answer.json()["error"]["message"]
    assert SECRET not in answer.text
