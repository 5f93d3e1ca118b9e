"""Tokens that may not do everything, and gateways that are not there or want a token of their own."""

import httpx
import pytest

from app.emulator.server import create_emulator

ACCOUNT = "0123456789abcdef0123456789abcdef"
GPT = {"model": "@cf/openai/gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}


def client_of(**options):
    transport = httpx.ASGITransport(create_emulator(account_id=ACCOUNT, token="right", **options))
    headers = {"authorization": "Bearer right"}
    return httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=headers)


def code_of(answer):
    body = answer.json()
    if "internalCode" in body:
        return body["internalCode"]
    return (body.get("errors") or body.get("error"))[0]["code"]


async def test_a_token_that_may_run_models_and_not_list_them():
    async with client_of(abilities={"run"}) as client:
        listed = await client.get(f"/client/v4/accounts/{ACCOUNT}/ai/models/search")
        ran = await client.post(f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions", json=GPT)
    assert (listed.status_code, code_of(listed)) == (403, 10000)
    assert ran.status_code == 200


async def test_a_token_that_may_list_models_and_not_run_them():
    async with client_of(abilities={"list"}) as client:
        listed = await client.get(f"/client/v4/accounts/{ACCOUNT}/ai/models/search")
        ran = await client.post(f"/client/v4/accounts/{ACCOUNT}/ai/v1/chat/completions", json=GPT)
    assert listed.status_code == 200
    assert (ran.status_code, code_of(ran)) == (403, 10000)


async def test_the_accounts_that_a_token_sees():
    async with client_of() as client:
        assert [row["id"] for row in (await client.get("/client/v4/accounts")).json()["result"]] == [ACCOUNT]
    async with client_of(abilities={"run", "list"}) as client:
        answer = await client.get("/client/v4/accounts")
    assert (answer.status_code, answer.json()["result"]) == (200, [])


async def test_gateways_that_are_there():
    base = f"/client/v4/accounts/{ACCOUNT}/ai-gateway/gateways"
    async with client_of(gateways={"open": None, "guarded": "its-token"}) as client:
        shown = {name: (await client.get(f"{base}/{name}")) for name in ("open", "guarded", "absent")}
    assert shown["open"].json()["result"]["authentication"] is False
    assert shown["guarded"].json()["result"]["authentication"] is True
    assert (shown["absent"].status_code, code_of(shown["absent"])) == (404, 7002)
    async with client_of(abilities={"run"}) as client:
        assert (await client.get(f"{base}/any")).status_code == 403


@pytest.mark.parametrize(
    ("gateway", "token", "status", "code"),
    [
        ("open", "", 200, None),
        ("guarded", "its-token", 200, None),
        ("guarded", "", 401, 2009),
        ("guarded", "another", 401, 2009),
        ("absent", "", 400, 2001),
    ],
)
async def test_the_way_through_a_gateway(gateway, token, status, code):
    headers = {"cf-aig-authorization": f"Bearer {token}"} if token else {}
    async with client_of(gateways={"open": None, "guarded": "its-token"}) as client:
        path = f"/v1/{ACCOUNT}/{gateway}/workers-ai/v1/chat/completions"
        answer = await client.post(path, json=GPT, headers=headers)
    assert answer.status_code == status
    assert status == 200 or code_of(answer) == code


async def test_verifying_a_token_that_is_not_known():
    async with client_of() as client:
        headers = {"authorization": "Bearer wrong"}
        for path in ("/client/v4/user/tokens/verify", f"/client/v4/accounts/{ACCOUNT}/tokens/verify"):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, code_of(answer)) == (401, 1000)


def test_an_ability_that_there_is_not():
    with pytest.raises(ValueError, match="not fly"):
        create_emulator(abilities={"fly"})
