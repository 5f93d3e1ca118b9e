"""The catalogue, tokens, accounts and unknown paths."""

import httpx
import pytest

from app.emulator.server import create_emulator

OTHER = "f" * 32


async def test_search_pages_ignore_per_page_and_claim_a_wrong_total(client, ai):
    names = []
    for page in (1, 2, 3):
        body = (await client.get(f"{ai}/models/search", params={"page": page, "per_page": 5})).json()
        assert body["success"] is True
        assert body["result_info"]["per_page"] == 5
        assert body["result_info"]["total_count"] > 200
        assert body["result_info"]["count"] == len(body["result"])
        names.append([row["name"] for row in body["result"]])
    assert [len(page) for page in names] == [50, 24, 0]
    assert len({name for page in names for name in page}) == 74


async def test_rows_look_like_cloudflares(client, ai):
    body = (await client.get(f"{ai}/models/search", params={"search": "gpt-oss-120b"})).json()
    (row,) = body["result"]
    properties = {one["property_id"]: one["value"] for one in row["properties"]}
    assert row["name"] == "@cf/openai/gpt-oss-120b"
    assert row["task"]["name"] == "Text Generation"
    assert properties["context_window"] == "128000"
    assert properties["function_calling"] == "true"
    assert properties["price"][0] == {"unit": "per M input tokens", "price": 0.35, "currency": "USD"}
    assert properties["reasoning_effort"]["mandatory"] is True


async def test_task_filter(client, ai):
    body = (await client.get(f"{ai}/models/search", params={"task": "Text Embeddings"})).json()
    assert len(body["result"]) == 7


async def test_scenarios_are_listed_on_demand(client, ai):
    body = (await client.get(f"{ai}/models/search", params={"search": "emulator/cut"})).json()
    assert {row["name"] for row in body["result"]} >= {"@cf/emulator/cut", "@cf/emulator/cut-clean"}


async def test_openrouter_format_has_no_success(client, ai):
    body = (await client.get(f"{ai}/models/search", params={"format": "openrouter", "search": "gpt-oss-20b"})).json()
    assert set(body) == {"data", "result_info"}
    assert body["data"][0]["id"] == "workers-ai/@cf/openai/gpt-oss-20b"
    assert body["data"][0]["pricing"]["prompt"] == "0.0000002"


async def test_list_can_repeat_its_first_page(client, ai):
    await client.fault("list-repeats")
    repeated = (await client.get(f"{ai}/models/search", params={"page": 2})).json()
    first = (await client.get(f"{ai}/models/search")).json()
    assert repeated["result"] == first["result"]


async def test_schema_tells_the_forms(client, ai):
    async def titles(model):
        body = (await client.get(f"{ai}/models/schema", params={"model": model})).json()
        return [branch["title"] for branch in body["result"]["input"]["oneOf"]]

    assert await titles("@cf/openai/gpt-oss-20b") == ["Prompt", "Messages", "Responses", "Responses_Async"]
    assert await titles("@cf/meta/llama-3.2-1b-instruct") == ["Prompt", "Messages"]
    assert "Async_Batch" in await titles("@cf/qwen/qwen3.8-27b")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/ai/v1/models", 405, 7001),
        ("GET", "/ai/v1/chat/completions", 405, 7001),
        ("GET", "/ai/run/@cf/openai/gpt-oss-20b", 405, 7001),
        ("POST", "/ai/v1/completions", 404, 7000),
        ("GET", "/elsewhere", 404, 7000),
    ],
)
async def test_unknown_routes(client, account, method, path, status, code):
    answer = await client.request(method, f"/client/v4/accounts/{account}{path}")
    assert answer.status_code == status
    assert answer.json()["errors"][0]["code"] == code
    assert answer.headers["cf-ray"]


@pytest.mark.parametrize("account", ["me", "ABCDEF0123456789ABCDEF0123456789", "a" * 31])
async def test_malformed_accounts_do_not_route(client, account):
    answer = await client.get(f"/client/v4/accounts/{account}/ai/models/search")
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"]) == (404, 7003)
    assert error["message"] == (
        f"Could not route to /accounts/{account}/ai/models/search, perhaps your object identifier is invalid?"
    )


async def test_account_and_token_are_held_to_what_is_given(account):
    transport = httpx.ASGITransport(create_emulator(account_id=account, token="right"))
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator/client/v4/accounts") as client:

        async def search(who, **headers):
            answer = await client.get(f"/{who}/ai/models/search", headers=headers)
            return answer.status_code, None if answer.is_success else answer.json()["errors"][0]["code"]

        assert await search(account, authorization="Bearer right") == (200, None)
        assert await search(account, authorization="Bearer wrong") == (401, 10000)
        assert await search(account, authorization="Basic right") == (401, 10000)
        assert await search(account) == (401, 10000)
        assert await search(OTHER, authorization="Bearer right") == (404, 7003)
        assert await search(account, **{"x-auth-email": "a@example.com", "x-auth-key": "right"}) == (200, None)


@pytest.mark.parametrize(
    ("token", "user", "of_account"),
    [("plain", 200, 200), ("cfut_x", 200, 401), ("cfat_x", 401, 200)],
)
async def test_token_verification(client, account, token, user, of_account):
    headers = {"authorization": f"Bearer {token}"}
    on_user = await client.get("/client/v4/user/tokens/verify", headers=headers)
    on_account = await client.get(f"/client/v4/accounts/{account}/tokens/verify", headers=headers)
    assert (on_user.status_code, on_account.status_code) == (user, of_account)
    for answer in (on_user, on_account):
        if answer.status_code == 401:
            assert answer.json()["errors"][0]["code"] == 1000
        else:
            assert answer.json()["result"]["status"] == "active"


async def test_health(client):
    assert (await client.get("/_emulator/healthz")).json() == {"status": "ok"}


def test_emulators_share_nothing():
    one, two = create_emulator(), create_emulator()
    one.state.emulator.agreed.add("x")
    assert two.state.emulator.agreed == set()
