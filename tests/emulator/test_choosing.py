"""A fault can be asked for in four ways, and one goes before the other."""

import httpx
import pytest

from app.emulator.server import create_emulator

GPT = "@cf/openai/gpt-oss-20b"
FAULT = "x-emulator-fault"
BODY = {"messages": [{"role": "user", "content": "Hi"}]}


async def codes(client, *models, **options):
    answers = [await client.chat(model, BODY, **options) for model in models]
    return [answer.json()["errors"][0]["code"] if answer.status_code != 200 else 200 for answer in answers]


def client_of(app):
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://emulator", headers={"authorization": "Bearer x"})


async def test_the_header_goes_before_the_queue_and_the_queue_before_the_name(client):
    await client.fault("rate-limited")
    name = "@cf/emulator/quota"
    assert await codes(client, name, headers={FAULT: "capacity"}) == [3040]
    assert await codes(client, name, name) == [3021, 3036]


async def test_the_header_works_on_listings_and_takes_a_pause(client, ai):
    answer = await client.get(f"{ai}/models/search", headers={FAULT: "html-502"})
    assert answer.status_code == 502
    answer = await client.chat(GPT, BODY, headers={FAULT: "slow-first:0.001"})
    assert answer.status_code == 200
    assert [one["scenario"] for one in await client.received()] == ["html-502", "slow-first"]


@pytest.mark.parametrize("word", ["nonsense", "slow:", "slow:x", "slow:-1", "capacity*2", "", "status"])
async def test_a_header_that_makes_no_sense_is_refused_by_name(client, word):
    answer = await client.chat(GPT, BODY, headers={FAULT: word})
    assert answer.status_code == 400
    error = answer.json()["errors"][0]
    assert error["code"] == 5006
    assert f"unknown fault: {word}" in error["message"]


async def test_a_free_plan_in_the_header_leaves_other_models_alone(client):
    assert await codes(client, GPT, "@cf/zai-org/glm-5.2", headers={FAULT: "free-plan"}) == [200, 5035]


async def test_faults_from_the_beginning(ai):
    app = create_emulator(faults=["capacity*2", {"fault": "quota", "model": GPT, "times": None}, "rate-limited"])
    async with client_of(app) as client:
        url = f"{ai}/run/"
        models = [GPT, GPT, GPT, "@cf/meta/llama-3.1-8b-instruct-fp8", GPT]
        answers = [await client.post(url + model, json={"prompt": "Hi"}) for model in models]
    assert [one.json()["errors"][0]["code"] for one in answers] == [3040, 3040, 3036, 3021, 3036]


@pytest.mark.parametrize("fault", ["nonsense", "capacity*0", "cut:a", {"fault": "nonsense"}, {"colour": 1}])
def test_a_fault_from_the_beginning_that_makes_no_sense_is_an_error(fault):
    with pytest.raises(ValueError, match="unknown"):
        create_emulator(faults=[fault])


async def test_an_unknown_scenario_stays_unknown_and_keeps_the_queue(client):
    await client.fault("capacity")
    assert await codes(client, "@cf/emulator/nonsense", GPT) == [5007, 3040]


async def test_faults_reach_models_that_are_no_chat_models(client, ai):
    picture = {"task": "caption", "image": "data:image/png;base64,"}
    url = f"{ai}/run/@cf/moondream/moondream3.1-9B-A2B"
    crlf = await client.post(url, json=picture, headers={FAULT: "crlf"})
    assert crlf.content.startswith(b'data: {"response":"A "}\r\n\r\n')
    quiet = await client.post(url, json=picture, headers={FAULT: "no-done"})
    assert b"[DONE]" not in quiet.content
