"""The service around the models: Q7, Q8, Q32-Q37, Q43, Q45-Q48, Q50, Q59."""

import pytest

from app.main import create_app
from app.settings import SettingsError
from tests.conftest import ACCOUNT, settings_for
from tests.quirks.conftest import client_of
from tests.quirks.views import Asker
from tests.serving import serving, until

GPT = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b"])
def test_q07_gpt_oss_gets_one_body_form(ask, mode, sent, model):
    # Names that mean something here and nothing, or something else, at OpenAI.
    more = {"prompt": "other", "input": "other"} if mode[0] == "chat" else {"suffix": "other"}
    view = ask(model, "Say exactly: one form", requests=[], **more)
    assert view.text == "one form", view.error
    assert {"messages", "prompt", "input", "requests"} & set(sent()[-1]["body"]) == {"messages"}
    assert "requests" in view.headers["x-flarelay-dropped"].split(",")


@pytest.mark.parametrize("model", [GPT, LEGACY, "@cf/zai-org/glm-5.3-flash", "@cf/moonshotai/kimi-k2.6"])
def test_q08_every_model_has_responses_that_stream(http, sent, model):
    streamed = Asker(http, "responses", stream=True)(model, "Say exactly: every model")
    whole = Asker(http, "responses", stream=False)(model, "Say exactly: every model")
    assert streamed.text == whole.text == "every model"
    assert not any(record["path"].endswith("/v1/responses") for record in sent())


@pytest.mark.parametrize("model", [GPT, LEGACY, "@cf/zai-org/glm-5.3-flash"])
def test_q32_the_upstream_streams_whatever_the_client_wants(ask, sent, model):
    assert ask(model, "Say exactly: in time").text == "in time"
    assert sent()[-1]["body"]["stream"] is True


@pytest.mark.parametrize("scenario", ["timeout", "timeout-inner"])
def test_q32_a_timeout_is_told_as_one(ask, sent, scenario):
    view = ask(f"@cf/emulator/{scenario}", "Hello")
    assert (view.status, view.error["code"]) == (504, "upstream_timeout")
    assert len(sent()) == 1


def _is_the_quota(view):
    assert (view.status, view.error["type"], view.error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert view.headers["x-should-retry"] == "false"
    assert int(view.headers["retry-after"]) <= 86_400
    assert "00:00 UTC" in view.error["message"]


def test_q33_the_spent_quota_is_not_called_busy(ask, sent):
    _is_the_quota(ask("@cf/emulator/quota", "Hello"))
    assert len(sent()) == 1


def test_q34_nor_under_its_older_code(ask, sent):
    _is_the_quota(ask("@cf/emulator/quota-old", "Hello"))
    assert len(sent()) == 1


def test_q35_the_limit_per_minute_may_be_tried_again(ask):
    view = ask("@cf/emulator/rate-limited", "Hello")
    assert (view.status, view.error["code"]) == (429, "rate_limit_exceeded")
    assert "x-should-retry" not in view.headers
    assert 0 < int(view.headers["retry-after"]) <= 60


def test_q36_models_are_listed_though_the_upstream_lists_none(sdk, upstream):
    assert upstream.get("/v1/models").status_code == 405
    listed = {model.id for model in sdk.models.list()}
    assert {GPT, LEGACY, "@cf/zai-org/glm-5.3-flash", "@cf/moonshotai/kimi-k2.6"} <= listed


def test_q37_a_doubled_path_gets_a_hint(http):
    for path in ("/v1/v1/chat/completions", "/v1/chat/completions/chat/completions"):
        answer = http.post(path, json={})
        assert answer.status_code == 404
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "/v1" in http.post("/v1/v1/responses", json={}).json()["error"]["message"]


def test_q37_an_upstream_address_with_too_much_in_it_is_tidied(emulator):
    for tail in ("", "/", f"/accounts/{ACCOUNT}", f"/accounts/{ACCOUNT}/ai/v1", f"/accounts/{ACCOUNT}/ai/run"):
        settings = settings_for(emulator, upstream_url=f"{emulator}/client/v4{tail}")
        assert settings.upstream_url == f"{emulator}/client/v4", tail
    for wrong in ("api.cloudflare.com", "ftp://api.cloudflare.com/client/v4"):
        with pytest.raises(SettingsError):
            settings_for(emulator, upstream_url=wrong)


@pytest.fixture(scope="module")
def impatient(emulator):
    settings = settings_for(emulator, first_byte_timeout=0.2, idle_timeout=0.2)
    with serving(create_app(settings)) as address:
        yield address


@pytest.mark.parametrize("scenario", ["hang", "stall"])
def test_q43_a_timeout_is_not_tried_again(impatient, mode, control, sent, scenario):
    with client_of(impatient) as client:
        surface, stream = mode
        path, key = ("chat/completions", "messages") if surface == "chat" else ("responses", "input")
        body = {"model": f"@cf/emulator/{scenario}", key: [{"role": "user", "content": "Hello"}], "stream": stream}
        answer = client.post(f"/v1/{path}", json=body)
    if scenario == "hang" or not stream:
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_timeout"
    else:
        assert '"error":{' in answer.text
    assert len(sent()) == 1
    until(lambda: control.get("/streams").json()["in_flight"] == 0)


def test_q45_it_is_always_said_whether_to_stream(ask, ask_native, sent):
    for model in (GPT, LEGACY, "@cf/zai-org/glm-4.7-flash"):
        ask(model, "Hello")
        ask_native(model, "Hello")
    assert len(sent()) == 6
    assert all(isinstance(record["body"]["stream"], bool) for record in sent())


def test_q46_a_list_that_repeats_itself_ends(emulator, control):
    control.post("/faults", json={"fault": "list-repeats", "times": None}).raise_for_status()

    def searches():
        return [record for record in control.get("/requests").json() if "/models/search" in record["path"]]

    with serving(create_app(settings_for(emulator))) as address, client_of(address) as client:
        until(lambda: len(searches()) >= 2)
        until(lambda: control.get("/streams").json()["in_flight"] == 0)
        ids = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert len(searches()) <= 4
    assert len(ids) == len(set(ids))
    assert GPT in ids


def test_q47_the_plan_and_the_token_are_different_errors(ask):
    plan = ask("@cf/emulator/paid-only", "Hello")
    assert (plan.status, plan.error["code"], plan.error["param"]) == (403, "model_requires_paid_plan", "model")
    token = ask("@cf/emulator/forbidden", "Hello")
    assert (token.status, token.error["type"]) == (502, "server_error")
    assert "token" in token.error["message"]
    assert token.headers["x-should-retry"] == "false"


def test_q47_a_free_account_meets_it_on_models_of_the_paid_plan(ask, control):
    control.post("/faults", json={"fault": "free-plan", "times": None}).raise_for_status()
    view = ask("@cf/moonshotai/kimi-k2.6", "Hello")
    free = ask(GPT, "Hello")
    assert (view.status, view.error["code"], free.status) == (403, "model_requires_paid_plan", 200)


def test_q48_a_licence_that_nobody_accepted_is_told(ask):
    view = ask("@cf/emulator/licence", "Hello")
    assert (view.status, view.error["code"], view.error["param"]) == (403, "model_agreement_required", "model")
    assert "agree" in view.error["message"]


@pytest.mark.parametrize("scenario", ["cut", "cut-clean"])
def test_q50_a_stream_that_just_ends_is_no_success(http, mode, control, scenario):
    surface, stream = mode
    path, key = ("chat/completions", "messages") if surface == "chat" else ("responses", "input")
    body = {
        "model": f"@cf/emulator/{scenario}",
        key: [{"role": "user", "content": "Write 60 words."}],
        "stream": stream,
    }
    answer = http.post(f"/v1/{path}", json=body)
    if not stream:
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_truncated"
    elif surface == "chat":
        assert '"error":{' in answer.text
        assert "[DONE]" not in answer.text
    else:
        assert "event: response.failed" in answer.text
        assert "response.completed" not in answer.text


def test_q50_a_stream_that_breaks_before_its_first_byte_is_a_status(ask):
    view = ask("@cf/emulator/cut-first", "Hello")
    assert view.status == 502


def test_q50_a_whole_answer_without_a_terminator_is_a_success(ask):
    view = ask("@cf/emulator/no-done", "Say exactly: all of it")
    assert (view.text, view.finish) == ("all of it", "stop")


def test_q59_everything_goes_over_rest(ask, sent):
    ask(GPT, "Hello")
    (record,) = sent()
    assert record["path"].startswith("/client/v4/accounts/")
    assert record["headers"]["authorization"] == "***"
