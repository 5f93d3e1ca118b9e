"""What would be sent, told on the routes themselves: nothing reaches the upstream, and nothing is taken of a limit."""

import base64
import hashlib
import json

import httpx
import pytest

from app.exchange.differences import inner_differences, shortened
from app.main import create_app
from tests.conftest import ACCOUNT, TOKEN, settings_for

USER = {"role": "user", "content": "Hello"}
KEY = "sk-test-0123456789abcdefghij"


class _Unreachable(httpx.AsyncBaseTransport):
    """An upstream that nobody may ask."""

    async def handle_async_request(self, request):
        raise AssertionError(f"{request.method} {request.url} was sent")


@pytest.fixture
def made():
    """Makes clients of proxies that have no upstream, each with settings of its own."""

    def made(**more):
        settings = settings_for("http://127.0.0.1:1", **{"store": False, **more})
        app = create_app(settings, _Unreachable())
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://proxy/v1", headers={"x-flarelay-explain": "true"}
        )

    return made


async def explained(client, body, path="/chat/completions", status=200, **headers):
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert TOKEN not in answer.text
    assert ACCOUNT not in answer.text
    return answer.json()


async def test_what_would_be_sent(made):
    async with made() as client:
        told = await explained(client, {"model": "gpt-oss-120b", "messages": [USER], "max_tokens": 100})
    assert told["object"] == "flarelay.explanation"
    assert told["surface"] == "chat"
    assert told["model"]["id"] == "@cf/openai/gpt-oss-120b"
    assert told["dialect"]["name"] == "chat"
    (request,) = told["requests"]
    assert request["method"] == "POST"
    assert request["path"] == "/client/v4/accounts/***/ai/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer ***"
    assert request["json"] == {
        "model": "@cf/openai/gpt-oss-120b",
        "messages": [USER],
        "max_tokens": 100,
        "stream": True,
    }
    assert told["dropped"] == told["adjusted"] == told["fallbacks"] == told["notes"] == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": [USER], "n": 2, "seed": 3}),
        ("/responses", {"input": "Hello", "instructions": "Be brief."}),
        ("/completions", {"prompt": "Hello"}),
    ],
)
async def test_it_is_what_is_sent(made, http, control, path, body, stream):
    """The explanation against the requests that an emulator got for the same body."""
    body = {**body, "model": "llama-4-scout-17b-16e-instruct", "temperature": 0.5, "stream": stream}
    assert http.post(f"/v1{path}", json=body).status_code == 200
    received = [one for one in control.get("/requests").json() if one["method"] == "POST"]
    async with made() as client:
        told = await explained(client, body, path)
    assert sorted((one["path"].replace(ACCOUNT, "***"), json.dumps(one["body"])) for one in received) == sorted(
        (one["path"], json.dumps(one["json"])) for one in told["requests"]
    )
    for name, value in told["requests"][0]["headers"].items():
        if name not in {"authorization", "x-session-affinity"}:
            assert received[0]["headers"][name] == value


async def test_what_is_left_out_changed_and_done_here_is_told_with_its_reason(made):
    asked = {
        "model": "gpt-oss-120b",
        "messages": [{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, USER],
        "logprobs": True,
        "logit_bias": {"1": 2},
        "max_completion_tokens": 999_999,
        "stop": ["END"],
        "n": 2,
    }
    async with made() as client:
        told = await explained(client, asked)
    reasons = {one["field"]: one["why"] for one in told["dropped"]}
    assert "no model on Workers AI gives them" in reasons["logprobs"]
    assert reasons["logit_bias"] == "@cf/openai/gpt-oss-120b does not take it."
    (adjusted,) = told["adjusted"]
    assert (adjusted["field"], adjusted["asked"]) == ("max_completion_tokens", 999_999)
    assert adjusted["sent"] == told["tokens"]["limit"] < 128_000
    assert {"field": "messages[0].role", "asked": "developer", "sent": "system"} in told["normalised"]
    assert {"stop", "n"} <= {one["field"] for one in told["normalised"]}
    assert "max_tokens" in told["added"]
    assert len(told["requests"]) == 2
    assert any("stop texts" in one for one in told["emulated"])
    assert any("2 calls" in one for one in told["emulated"])


async def test_tokens_and_cost_have_bounds(made):
    async with made() as client:
        told = await explained(client, {"model": "gpt-oss-120b", "messages": [USER], "max_tokens": 100_000})
        more = await explained(client, {"model": "gpt-oss-120b", "messages": [USER, USER], "max_tokens": 100_000})
        free = await explained(client, {"model": "@cf/new/model", "messages": [USER]})
    prompt, usd, neurons = told["tokens"]["prompt"], told["usd"], told["neurons"]
    assert told["tokens"]["limit"] == 100_000
    assert told["tokens"]["limit_from"] == "the request"
    assert usd["most"] == pytest.approx((prompt * 0.35 + 100_000 * 0.75) / 1e6, rel=1e-3)
    assert usd["least"] < usd["most"] / 1000
    assert neurons["most"] == pytest.approx(usd["most"] / 0.000011, rel=1e-6)
    assert more["tokens"]["prompt"] > prompt
    assert (free["neurons"], free["usd"]) == (None, None)
    assert free["tokens"]["limit_from"] == "what the model's window leaves"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("gpt-4o", "an alias of the settings"),
        ("@cf/openai/gpt-oss-120b", "the model's own id"),
        ("gpt-oss-120b", "another name of the model"),
        ("@cf/new/model", "not in the catalogue: asked for as it is, with every ability assumed"),
    ],
)
async def test_why_the_model(made, asked, why):
    async with made(aliases={"gpt-4o": "gpt-oss-120b"}) as client:
        told = await explained(client, {"model": asked, "messages": [USER]})
    assert told["model"]["why"] == why


async def test_why_the_dialect(made):
    raw = {"model": "qwen2.5-coder-32b-instruct", "messages": [USER], "raw": True}
    async with made() as client:
        told = await explained(client, raw)
    assert told["dialect"]["name"] == "native"
    assert "`raw`" in told["dialect"]["why"]
    assert told["requests"][0]["path"].endswith("/ai/run/@cf/qwen/qwen2.5-coder-32b-instruct")


async def test_fallbacks_in_order_and_the_option_that_comes_with_them(made):
    fallbacks = {"gpt-oss-120b": ["qwq-32b", "llama-3.2-1b-instruct"]}
    async with made(fallback_models=fallbacks) as client:
        told = await explained(client, {"model": "gpt-oss-120b", "messages": [USER]})
        alone = await explained(client, {"model": "gpt-oss-20b", "messages": [USER]})
    assert [one["model"] for one in told["fallbacks"]] == ["@cf/qwen/qwq-32b", "@cf/meta/llama-3.2-1b-instruct"]
    assert told["requests"][0]["json"]["options"] == {"rejectIfBusy": True}
    assert "options" not in alone["requests"][0]["json"]


async def test_through_a_gateway(made):
    async with made(gateway="mine", gateway_token="gateway-token-0123456789") as client:
        told = await explained(client, {"model": "gpt-oss-120b", "messages": [USER]})
    (request,) = told["requests"]
    assert request["through_gateway"] is True
    assert request["path"] == "/v1/***/mine/workers-ai/v1/chat/completions"
    assert request["headers"]["cf-aig-authorization"] == "Bearer ***"


async def test_images_and_files_are_neither_fetched_nor_converted(made):
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://images.invalid/cat.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": _data("application/pdf", b"%PDF-1.4 \x00")}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": _data("text/plain", b"plain words")}},
    ]
    body = {"model": "llama-4-scout-17b-16e-instruct", "messages": [{"role": "user", "content": content}]}
    async with made() as client:
        told = await explained(client, body)
        refused = await made(fetch_images=False).post("/chat/completions", json=body)
    sent = json.dumps(told["requests"][0]["json"])
    assert "images.invalid" not in sent
    assert "[the text of a.pdf]" in sent
    assert "plain words" in sent
    assert [note.partition(":")[0] for note in told["notes"]] == [
        "messages[0].content[1].image_url",
        "messages[0].content[2].file",
    ]
    assert refused.status_code == 400


def _data(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "no-such-model", "messages": [USER]}, 404, "model_not_found"),
        ({"model": "gpt-oss-120b", "messages": []}, 400, "empty_array"),
        ({"model": "bge-m3", "messages": [USER]}, 404, None),
    ],
)
async def test_errors_are_those_of_the_request_itself(made, body, status, code):
    async with made() as client:
        told = await explained(client, body, status=status)
    assert told["error"]["code"] == code


async def test_strictness_holds(made):
    async with made(strict=True) as client:
        told = await explained(client, {"model": "gpt-oss-120b", "messages": [USER], "logprobs": True}, status=400)
    assert told["error"]["param"] == "logprobs"


async def test_a_key_is_needed_and_its_models_hold_and_its_limits_are_not_touched(made, tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text(_key_file(requests_per_minute=1))
    body = {"model": "gpt-oss-120b", "messages": [USER]}
    async with made(keys_file=keys) as client:
        assert (await client.post("/chat/completions", json=body)).status_code == 401
        for _ in range(3):
            await explained(client, body, authorization=f"Bearer {KEY}")
        told = await explained(client, {**body, "model": "qwq-32b"}, status=403, authorization=f"Bearer {KEY}")
    assert told["error"]["code"] == "model_not_found"


def _key_file(requests_per_minute):
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    return (
        f'[[keys]]\nid = "key-a"\nname = "a"\nsha256 = "{digest}"\nmodels = ["gpt-oss-*"]\n'
        f"requests_per_minute = {requests_per_minute}\n"
    )


@pytest.mark.parametrize(("value", "explains"), [("1", True), ("TRUE", True), ("false", False), ("0", False)])
async def test_the_header_says_yes_or_no(http, value, explains):
    answer = http.post(
        "/v1/chat/completions",
        json={"model": "gpt-oss-120b", "messages": [USER]},
        headers={"x-flarelay-explain": value},
    )
    assert answer.json()["object"] == ("flarelay.explanation" if explains else "chat.completion")


async def test_a_header_that_says_neither_is_refused_before_anything_is_sent(made):
    async with made() as client:
        body = {"model": "gpt-oss-120b", "messages": [USER]}
        told = await explained(client, body, status=400, **{"x-flarelay-explain": "yes please"})
    assert told["error"]["param"] == "x-flarelay-explain"


async def test_the_log_has_one_line_without_costs(made, capsys):
    async with made() as client:
        await explained(client, {"model": "gpt-oss-120b", "messages": [{"role": "user", "content": "canary-7"}]})
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["status"], told["ending"]) == (200, "completed")
    assert "neurons" not in told
    assert "canary" not in line


async def test_a_continued_response_is_told_with_what_came_before(http):
    first = http.post("/v1/responses", json={"model": "gpt-oss-120b", "input": "Remember teapots."}).json()
    answer = http.post(
        "/v1/responses",
        json={"model": "gpt-oss-120b", "input": "Of what?", "previous_response_id": first["id"]},
        headers={"x-flarelay-explain": "true"},
    )
    messages = answer.json()["requests"][0]["json"]["messages"]
    assert [message["content"] for message in messages if message["role"] == "user"] == [
        "Remember teapots.",
        "Of what?",
    ]


def test_differences_are_told_place_by_place():
    asked = [{"a": 1, "gone": "x", "null": None}, {"a": True}, {"long": "y" * 200}]
    sent = [{"a": 2, "new": []}, {"a": 1}, {"long": "z" * 200}]
    assert list(inner_differences(asked, sent, "m")) == [
        {"field": "m[0].a", "asked": 1, "sent": 2},
        {"field": "m[0].gone", "asked": "x"},
        {"field": "m[0].new", "sent": []},
        {"field": "m[1].a", "asked": True, "sent": 1},
        {"field": "m[2].long", "asked": "y" * 80 + "…", "sent": "z" * 80 + "…"},
    ]
    assert list(inner_differences([1], [1, 2], "m")) == [{"field": "m", "asked": "a list of 1", "sent": "a list of 2"}]
    assert shortened({"a": 1}) == "an object of 1"
