import json

import pytest

from app.emulator.server import create_emulator
from tests.serving import serving

ACCOUNT = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def emulator():
    with serving(create_emulator(account_id=ACCOUNT, token="right-token-0123456789")) as address:
        yield address


@pytest.fixture
def account(emulator, monkeypatch, data_dir):
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "right-token-0123456789")
    monkeypatch.setenv("FLARELAY_UPSTREAM_URL", f"{emulator}/client/v4")


def rows(text):
    return {line.split()[0]: line for line in text.splitlines() if line.startswith("@")}


def test_the_bundled_list_without_an_account(run, monkeypatch):
    monkeypatch.setenv("FLARELAY_ALIASES", "gpt-4o=gpt-oss-120b")
    text = run("models").stdout
    assert "came with this release (no account and token are set)" in text.splitlines()[0]
    assert rows(text)["@cf/openai/gpt-oss-120b"].split() == [
        "@cf/openai/gpt-oss-120b", "128,000", "tools", "reasoning", "schema", "0.350", "0.750", "31,818", "68,182",
        "300", "alias", "gpt-4o",
    ]  # fmt: skip
    kimi = rows(text)["@cf/moonshotai/kimi-k2.6"]
    assert "vision" in kimi
    assert kimi.split()[-3:] == ["20", "paid", "plan"]
    assert not any("bge" in name for name in rows(text))


def test_other_tasks(run):
    assert any("bge-m3" in name for name in rows(run("models", "--task=embedd").stdout))
    everything = rows(run("models", "--all").stdout)
    assert "Text Embeddings" in everything["@cf/baai/bge-m3"]
    assert "Text Generation" in everything["@cf/openai/gpt-oss-20b"]
    assert rows(run("models", "--task=no-such").stdout) == {}


def test_as_json(run, monkeypatch):
    monkeypatch.setenv("FLARELAY_ACCOUNT_REQUESTS_PER_MINUTE", "kimi-k2.6=50")
    told = json.loads(run("models", "--json").stdout)
    assert (told["object"], told["source"]) == ("list", "bundled")
    by_id = {model["id"]: model for model in told["data"]}
    assert by_id["@cf/moonshotai/kimi-k2.6"]["requests_per_minute"] == 50
    assert by_id["@cf/moonshotai/kimi-k2.6"]["requires_paid_plan"] is True
    assert by_id["@cf/openai/gpt-oss-120b"]["pricing"]["per_million_tokens"]["input"] == 0.35


def test_cloudflares_own_list(run, account):
    text = run("models", "--all").stdout
    assert text.splitlines()[0] == "74 models, from Cloudflare's own list"
    assert json.loads(run("models", "--json").stdout)["source"] == "live"


def test_when_it_cannot_be_had(run, account, monkeypatch):
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "wrong-token-0123456789")
    text = run("models").stdout
    assert "came with this release (Cloudflare's could not be had: Workers AI refused" in text
    assert "wrong-token" not in text
    assert "@cf/openai/gpt-oss-120b" in rows(text)


def test_settings_that_name_no_model(run, monkeypatch):
    monkeypatch.setenv("FLARELAY_ALIASES", "gpt-4o=no-such-model")
    assert "no-such-model" in run("models", status=2).stderr
