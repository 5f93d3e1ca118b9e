"""What is found of an account, told by an emulator that is as strict as Cloudflare."""

import json
from datetime import UTC, datetime

import httpx
import pytest

from tests.doctor.account import TOKEN

PAID = "kimi-k2.6"
GATEWAYS = {"open": None, "guarded": "its-token-0123456789"}


def verdicts(findings, *names):
    return [findings[name].verdict for name in names]


async def test_a_sound_account(examined):
    findings, made = await examined()
    assert made.sound
    assert verdicts(findings, "token", "account", "permission", "plan", "model gpt-oss-120b") == ["ok"] * 5
    assert "0123…cdef" in findings["account"].found
    assert made.usd == 0


@pytest.mark.parametrize("prefix", ["cfut_", "cfat_"])
async def test_tokens_of_users_and_of_accounts(examined, prefix):
    token = f"{prefix}0123456789abcdef"
    findings, made = await examined({"token": token}, cloudflare_api_token=token)
    assert made.sound
    assert findings["token"].found.startswith("a user's token" if prefix == "cfut_" else "an account's token")


async def test_a_wrong_token_is_one_failure(examined):
    findings, made = await examined(cloudflare_api_token="wrong-token-0123456789")
    assert not made.sound
    assert findings["token"].verdict == "failed"
    assert "api-tokens" in findings["token"].advice
    assert set(verdicts(findings, "account", "permission", "plan", "gateway", "model gpt-oss-20b")) == {"skipped"}
    assert made.count("failed") == 1


async def test_a_wrong_account_is_one_failure(examined):
    findings, made = await examined(cloudflare_account_id="f" * 32)
    assert findings["account"].verdict == "failed"
    assert "ffff…ffff" in findings["account"].found
    assert findings["token"].verdict == "ok"
    assert made.count("failed") == 1


async def test_a_token_of_another_account(examined):
    """Cloudflare refuses such a token as one without the permission; the accounts that it sees tell them apart."""
    findings, made = await examined(transport=Scripted(accounts=["e" * 32]))
    assert findings["account"].verdict == "failed"
    assert "eeee…eeee, and not for 0123…cdef" in findings["account"].found
    assert made.count("failed") == 1


async def test_a_token_without_the_permission(examined):
    findings, _ = await examined({"abilities": {"accounts"}})
    assert verdicts(findings, "token", "account", "permission") == ["ok", "ok", "failed"]
    assert "Workers AI: Read" in findings["permission"].advice
    findings, _ = await examined({"abilities": ()})
    assert verdicts(findings, "account", "permission") == ["skipped", "failed"]


async def test_a_token_that_may_only_run_models_and_one_that_may_only_list_them(examined):
    findings, made = await examined({"abilities": {"run"}})
    assert verdicts(findings, "account", "permission") == ["ok", "warning"]
    assert made.sound
    findings, made = await examined({"abilities": {"list"}})
    assert verdicts(findings, "account", "permission", "model gpt-oss-20b") == ["ok", "failed", "skipped"]


async def test_the_free_plan(examined):
    findings, made = await examined({"plan": "free"}, options={"models": (PAID, "gpt-oss-20b")})
    assert verdicts(findings, "plan", f"model {PAID}", "model gpt-oss-20b") == ["warning", "failed", "ok"]
    assert "kimi-k2.6" in findings["plan"].found
    assert "FLARELAY_PLAN=free" in findings["plan"].advice
    assert "Workers Paid plan" in findings[f"model {PAID}"].found
    assert not made.sound
    findings, _ = await examined({"plan": "free"}, plan="free")
    assert findings["plan"].verdict == "ok"


async def test_the_paid_plan(examined):
    findings, made = await examined({"plan": "paid"}, plan="free", options={"models": (PAID,)})
    assert findings["plan"].verdict == "ok"
    assert "FLARELAY_PLAN=paid" in findings["plan"].advice
    assert findings[f"model {PAID}"].verdict == "ok"
    assert made.sound


@pytest.mark.parametrize(
    ("name", "verdict", "said"),
    [
        ("no-such-model", "failed", "does not exist"),
        ("@cf/new/model", "failed", "Workers AI has no @cf/new/model"),
        ("@cf/meta/llama-3.2-11b-vision-instruct", "failed", "licence"),
        ("@cf/emulator/removed", "failed", "taken @cf/emulator/removed away"),
        ("@cf/emulator/quota", "warning", "today's free neurons"),
        ("@cf/emulator/rate-limited", "warning", "busy"),
        ("@cf/emulator/capacity", "warning", "busy"),
        ("@cf/emulator/html-502", "warning", "HTTP 502"),
        ("@cf/baai/bge-m3", "ok", "may be called"),
    ],
)
async def test_models(examined, name, verdict, said):
    findings, _ = await examined(options={"models": (name,)})
    assert findings[f"model {name}"].verdict == verdict
    assert said in findings[f"model {name}"].found


async def test_models_that_the_settings_name_are_tried(examined):
    fallbacks = {"*": ["qwq-32b"]}
    findings, _ = await examined(aliases={"gpt-4o": "gpt-oss-120b"}, fallback_models=fallbacks)
    assert [name for name in findings if name.startswith("model ")] == ["model gpt-4o", "model qwq-32b"]


async def test_calls_are_made_only_when_asked_for_and_their_cost_is_told_before(examined):
    told, transport = [], Scripted()
    _, made = await examined(transport=transport)
    assert (made.usd, transport.called) == (0, [])
    options = {"call": True, "models": ("gpt-oss-20b",), "tell_cost": told.append}
    findings, made = await examined(transport=transport, options=options)
    assert told == [made.usd]
    assert 0 < made.usd < 0.00001
    assert findings["model gpt-oss-20b"].found == "@cf/openai/gpt-oss-20b answers"
    assert [body["max_tokens"] for body in transport.called] == [1]


@pytest.mark.parametrize(
    ("gateway", "token", "verdict", "said"),
    [
        ("open", None, "ok", "open lets requests through (open)"),
        ("guarded", "its-token-0123456789", "ok", "(authenticated)"),
        ("guarded", None, "failed", "wants a token of its own"),
        ("guarded", "another-token-0123456789", "failed", "refuses its token"),
        ("absent", None, "failed", "the account has no gateway absent"),
    ],
)
async def test_the_gateway(examined, gateway, token, verdict, said):
    findings, _ = await examined(
        {"gateways": GATEWAYS}, gateway=gateway, gateway_token=token, gateway_url="http://emulator/v1"
    )
    assert findings["gateway"].verdict == verdict
    assert said in findings["gateway"].found
    assert "its-token" not in str(findings)


async def test_a_gateway_whose_settings_may_not_be_read(examined):
    emulator = {"gateways": GATEWAYS, "abilities": {"run", "list"}}
    findings, _ = await examined(emulator, gateway="open", gateway_url="http://emulator/v1")
    assert findings["gateway"].verdict == "ok"
    assert "may not read" in findings["gateway"].found


async def test_further_accounts(examined):
    findings, made = await examined(more_accounts=(f"{'e' * 32}:{TOKEN}",))
    assert findings["account 2"].verdict == "failed"
    assert findings["account"].verdict == "ok"
    assert made.count("failed") == 1


@pytest.mark.parametrize(
    ("result", "verdict", "said"),
    [
        ({"status": "disabled"}, "failed", "it is disabled"),
        ({"status": "active", "expires_on": "2026-11-20T00:00:00Z"}, "failed", "has expired"),
        ({"status": "active", "expires_on": "2026-11-24T00:00:00Z"}, "warning", "expires in 3.0 days"),
        ({"status": "active", "expires_on": "2027-11-21T00:00:00Z"}, "ok", "for 365 days"),
        ({"status": "active", "expires_on": "soon"}, "ok", "active"),
    ],
)
async def test_how_long_a_token_is_good_for(examined, result, verdict, said):
    now = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
    findings, _ = await examined(transport=Scripted(verified=result), clock=lambda: now)
    assert findings["token"].verdict == verdict
    assert said in findings["token"].found


async def test_an_upstream_that_cannot_be_reached_is_one_failure(examined):
    def refuse(request):
        raise httpx.ConnectError("connection refused")

    findings, made = await examined(transport=httpx.MockTransport(refuse))
    assert findings["cloudflare"].verdict == "failed"
    assert "connection refused" in findings["cloudflare"].found
    assert "token" not in findings
    assert made.count("failed") == 1


async def test_offline_nothing_of_cloudflare_is_looked_at(examined):
    findings, made = await examined(offline=True, transport=httpx.MockTransport(lambda _: 1 / 0))
    assert verdicts(findings, "token", "account", "model", "gateway") == ["skipped"] * 4
    assert made.sound


class Scripted(httpx.AsyncBaseTransport):
    """A Cloudflare that verifies every token in its own way, and whose account list is given."""

    def __init__(self, verified=None, accounts=None):
        self.verified = verified or {"status": "active"}
        self.accounts = accounts
        self.called = []

    async def handle_async_request(self, request):
        path = request.url.path
        if path.endswith("/tokens/verify"):
            return self.envelope(200, self.verified)
        if path.endswith("/client/v4/accounts"):
            return self.envelope(200, [{"id": account} for account in self.accounts or ()])
        if self.accounts is not None:
            return self.envelope(403, None, 10000)
        if path.endswith("/chat/completions"):
            self.called.append(json.loads(request.read()))
            return self.envelope(200, {})
        return self.envelope(400, None, 5006) if request.method == "POST" else self.envelope(200, [])

    def envelope(self, status, result, code=None):
        errors = [] if code is None else [{"code": code, "message": "no"}]
        return httpx.Response(status, json={"result": result, "success": code is None, "errors": errors})
