import json

import pytest

from app.cli.explain import recognised

CHAT = {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 50}


@pytest.mark.parametrize(
    ("body", "surface"),
    [
        ({"messages": []}, "chat"),
        ({"input": "x"}, "responses"),
        ({"previous_response_id": "resp_1"}, "responses"),
        ({"prompt": "x"}, "completions"),
        ({"model": "x"}, "chat"),
        ([], "chat"),
    ],
)
def test_the_api_is_known_by_the_fields(body, surface):
    assert recognised(json.dumps(body).encode()) == surface


def test_for_people(run):
    body = {**CHAT, "messages": [{"role": "developer", "content": "Be brief."}], "logprobs": True}
    lines = run("explain", input=json.dumps(body)).stdout.splitlines()
    assert lines[0] == "surface  chat"
    assert lines[1] == "model    @cf/openai/gpt-oss-120b: another name of the model"
    assert lines[3] == "tokens   about 7 in, at most 50 out (set by the request)"
    assert lines[4].startswith("cost     at least 0.")
    told = "\n".join(lines)
    assert "Left out\n  logprobs: " in told
    assert '  messages[0].role: "developer" -> "system"' in told
    assert "\nPOST /client/v4/accounts/***/ai/v1/chat/completions\nauthorization: Bearer ***\n" in told
    assert '"max_tokens": 50' in told


def test_as_json_without_an_account(run):
    told = json.loads(run("explain", "--json", input=json.dumps({"model": "gpt-oss-20b", "input": "Hi"})).stdout)
    assert (told["object"], told["surface"]) == ("flarelay.explanation", "responses")


def test_the_api_can_be_told(run):
    told = json.loads(run("explain", "--surface=completions", "--json", status=1, input=json.dumps(CHAT)).stdout)
    assert told["error"]["param"] == "prompt"


@pytest.mark.parametrize(("body", "status"), [("{", 400), (json.dumps({**CHAT, "model": "no-such-model"}), 404)])
def test_what_the_client_would_get(run, body, status):
    out = run("explain", status=1, input=body).stdout
    assert out.startswith(f"The client would get {status}:\n")
    assert json.loads(out.partition("\n")[2])["error"]["message"]


def test_no_key_is_needed_and_none_is_shown(run, monkeypatch, data_dir):
    monkeypatch.setenv("FLARELAY_API_KEYS", "canary-key-0123456789")
    monkeypatch.setenv("FLARELAY_ADMIN_KEY", "canary-admin-0123456789")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "ab" * 16)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "canary-token-0123456789")
    out = run("explain", input=json.dumps(CHAT)).output
    assert "canary" not in out
    assert "ab" * 16 not in out
    before = {path.name for path in data_dir.iterdir()}
    run("explain", input=json.dumps({"model": "gpt-oss-20b", "input": "x"}))
    assert {path.name for path in data_dir.iterdir()} == before


def test_aliases_and_settings_hold(run, monkeypatch):
    monkeypatch.setenv("FLARELAY_ALIASES", "gpt-4o=gpt-oss-20b")
    monkeypatch.setenv("FLARELAY_DEFAULT_MAX_TOKENS", "77")
    body = {"model": "gpt-4o", "messages": CHAT["messages"]}
    told = json.loads(run("explain", "--json", input=json.dumps(body)).stdout)
    assert told["model"]["id"] == "@cf/openai/gpt-oss-20b"
    assert told["tokens"]["limit"] == 77
    assert told["tokens"]["limit_from"] == "the settings"


def test_what_came_before_is_not_known_here(run):
    body = {"model": "gpt-oss-20b", "input": "x", "previous_response_id": "resp_1"}
    told = json.loads(run("explain", "--json", input=json.dumps(body)).stdout)
    assert any("running server" in note for note in told["notes"])


def test_nothing_on_standard_input(run):
    assert "no request came" in run("explain", status=2, input="").stderr
