"""What an answer cost, told alike by the answer, the log, the administration and the command line."""

import json
import os
import re

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.e2e.test_limits import MODEL, SURFACES, ask, asking, hang_up, of, running
from tests.serving import until

USD_PER_NEURON = 0.000011
PRICED = ["@cf/openai/gpt-oss-20b", "@cf/openai/gpt-oss-120b", "@cf/meta/llama-3.1-8b-instruct-fp8"]
REPORTING = ["@cf/zai-org/glm-5.2", "@cf/zai-org/glm-5.3-flash", "@cf/qwen/qwen3-30b-a3b-fp8"]
UNPRICED = "@cf/swiss-ai/apertus-v1.5-8b"
USAGE = {
    "chat": {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    },
    "responses": {"input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens"},
}
USAGE["completions"] = USAGE["chat"]
PIECE = {
    "chat": r'"content":"[^"]',
    "completions": r'"text":"[^"]',
    "responses": r"event: response\.output_text\.delta",
}
LAST = {"chat": "data: [DONE]", "completions": "data: [DONE]", "responses": "event: response.completed"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("costs")


@pytest.fixture(scope="module")
def proxy(emulator, data_dir):
    with running(emulator, data_dir=data_dir) as made:
        yield made


def told_by(headers):
    return headers["x-flarelay-neurons"], headers["x-flarelay-cost-usd"]


def comments(text):
    """The comment lines of a stream: name and value."""
    return [tuple(line[2:].split(": ")) for line in text.splitlines() if line.startswith(": ")]


def usages(text):
    """Every usage object that an answer holds."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    bodies = [json.loads(line) for line in lines or [text]]
    found = [body.get("usage") or body.get("response", {}).get("usage") for body in bodies]
    return [usage for usage in found if usage]


def of_emulator(control):
    return sum(request["neurons"] for request in control.get("/requests").json())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("surface", "model"),
    [*(("chat", model) for model in (*PRICED, *REPORTING, UNPRICED))]
    + [(surface, model) for surface in ("responses", "completions") for model in (PRICED[0], REPORTING[0])],
)
def test_every_answer_tells_what_it_cost(proxy, control, model, surface, stream):
    more = {"stream_options": {"include_usage": True}} if stream and surface != "responses" else {}
    answer = proxy.post(proxy.key(), surface, model=model, stream=stream, **asking(surface, limit=200), **more)
    assert answer.status_code == 200, answer.text
    line = proxy.line(answer)
    if stream:
        assert not [name for name in answer.headers if name in {"x-flarelay-neurons", "x-flarelay-cost-usd"}]
        (first, neurons), (second, usd) = comments(answer.text)
        assert (first, second) == ("x-flarelay-neurons", "x-flarelay-cost-usd")
        # After all that was generated, before the end.
        place = answer.text.index(": x-flarelay-neurons")
        last_piece = [found.start() for found in re.finditer(PIECE[surface], answer.text)][-1]
        assert last_piece < place < answer.text.index(LAST[surface])
        assert answer.text[place - 2 : place] == "\n\n"
    else:
        neurons, usd = told_by(answer.headers)
        assert not comments(answer.text)
    assert (neurons, usd) == (f"{line['neurons']:.6f}", f"{line['cost_usd']:.9f}")
    assert float(neurons) == pytest.approx(of_emulator(control), abs=1e-4)
    assert float(usd) == pytest.approx(float(neurons) * USD_PER_NEURON, abs=1e-9)
    assert (float(neurons) > 0) == (model != UNPRICED)
    assert line["cost_source"] == ("reported" if model in REPORTING else "estimated")
    (usage,) = usages(answer.text)
    assert set(usage) == USAGE[surface]
    assert "neurons" not in answer.text.replace(": x-flarelay-neurons", "")


@pytest.mark.parametrize("surface", SURFACES)
def test_the_sdk_reads_past_the_comments(proxy, surface):
    body = {"model": MODEL, **asking(surface, "Say exactly: here", 100), "stream": True}
    text = "".join(event.to_json() for event in of(proxy.sdk(proxy.key()), surface).create(**body))
    assert "here" in text
    assert "neurons" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_cached_costs_less(proxy, control, stream):
    key, model = proxy.key(), "@cf/zai-org/glm-5.2"
    messages = [{"role": "user", "content": "word " * 300}]
    lines = [
        proxy.line(proxy.post(key, "chat", model=model, messages=messages, max_tokens=5, stream=stream))
        for _ in range(2)
    ]
    cached = lines[1]["cached_tokens"]
    assert cached > 200
    saved = cached * (1.4 - 0.26) / 1e6 / USD_PER_NEURON
    assert lines[0]["neurons"] - lines[1]["neurons"] == pytest.approx(saved, abs=1e-3)
    assert proxy.told("usage", key=key.id)["today"]["cached_tokens"] == cached


def test_what_was_cached_costs_less_by_the_prices_too(proxy, control):
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 800}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}
    body = {"object": "chat.completion", "choices": [choice], "usage": {**usage, "total_tokens": 1_100}}
    model = "@cf/zai-org/glm-5.2"
    control.post("/faults", json={"fault": "status", "status": 200, "body": body, "model": model}).raise_for_status()
    line = proxy.line(proxy.post(proxy.key(), "chat", model=model))
    assert (line["prompt_tokens"], line["cached_tokens"], line["cost_source"]) == (1_000, 800, "estimated")
    assert line["cost_usd"] == pytest.approx((200 * 1.4 + 800 * 0.26 + 100 * 4.4) / 1e6, rel=1e-3)


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_cost_what_they_cost_together(proxy, control, stream):
    answer = proxy.post(proxy.key(), "chat", n=3, stream=stream)
    line = proxy.line(answer)
    assert len([request for request in control.get("/requests").json() if request["neurons"]]) == 3
    assert line["neurons"] == pytest.approx(of_emulator(control), abs=3e-4)
    told = comments(answer.text)[0][1] if stream else told_by(answer.headers)[0]
    assert told == f"{line['neurons']:.6f}"
    assert len(comments(answer.text)) == 2 * stream


def test_what_is_not_generated_costs_nothing(proxy):
    key = proxy.key(requests_per_day=1)
    client = proxy.sdk(key)
    counted = client.responses.input_tokens.with_raw_response.count(model=MODEL, input="Hello")
    assert "x-flarelay-neurons" not in counted.headers
    first = proxy.line(ask(client, "chat"))
    refused = proxy.post(key, "chat")
    assert refused.status_code == 429
    assert "x-flarelay-neurons" not in refused.headers
    assert "neurons" not in proxy.line(refused)
    today = proxy.told("usage", key=key.id)["today"]
    assert (today["requests"], today["neurons"]) == (1, pytest.approx(first["neurons"], abs=1e-6))


@pytest.mark.parametrize("surface", SURFACES)
def test_what_broke_off_is_paid_as_far_as_it_came(proxy, control, surface):
    key = proxy.key()
    lines = []
    for stream in (False, True):
        control.post("/faults", json={"fault": "cut", "model": MODEL, "times": None}).raise_for_status()
        answer = proxy.post(key, surface, stream=stream)
        control.delete("/faults").raise_for_status()
        line = proxy.line(answer)
        assert (line["ending"], line["cost_source"]) == ("failed", "estimated")
        assert 0 < line["neurons"] < 3
        lines.append(line)
        if stream:
            assert comments(answer.text)[0][1] == f"{line['neurons']:.6f}"
            assert answer.text.index(": x-flarelay") < answer.text.index(
                "event: error" if surface == "responses" else '"error"'
            )
        else:
            assert answer.status_code == 502
            assert "x-flarelay-neurons" not in answer.headers
    today = proxy.told("usage", key=key.id)["today"]
    assert today["requests"] == 2
    assert today["neurons"] == pytest.approx(sum(line["neurons"] for line in lines), abs=1e-5)


def test_who_leaves_pays_for_what_came(proxy, control):
    key = proxy.key()
    control.post("/faults", json={"fault": "stall", "model": MODEL}).raise_for_status()
    line = hang_up(proxy, control, key, "chat", True, 3)
    assert (line["ending"], line["cost_source"]) == ("disconnected", "estimated")
    today = proxy.told("usage", key=key.id)["today"]
    assert today["neurons"] == pytest.approx(line["neurons"], abs=1e-6)
    assert today["neurons"] > 0
    assert [row["source"] for row in today["by_source"]] == ["estimated"]


def test_background_work_is_paid_once(proxy):
    key = proxy.key()
    client = proxy.sdk(key)
    work = client.responses.create(model=MODEL, input="Hello", background=True)
    until(lambda: client.responses.retrieve(work.id).status == "completed")
    until(lambda: len(proxy.log.lines(caller=key.id)) == 2)
    (queued,), (done,) = (proxy.log.lines(caller=key.id, ending=ending) for ending in ("queued", "completed"))
    assert "neurons" not in queued
    today = proxy.told("usage", key=key.id)["today"]
    assert (today["requests"], today["neurons"]) == (1, pytest.approx(done["neurons"], abs=1e-6))


def test_over_a_websocket_usage_is_openais_too(proxy):
    key = proxy.key()
    with proxy.sdk(key).responses.connect() as connection:
        connection.response.create(model=MODEL, input="Hello", store=False)
        end = next(event for event in connection if event.type == "response.completed").to_dict()
    assert set(end["response"]["usage"]) == USAGE["responses"]
    until(lambda: proxy.log.lines(caller=key.id, ending="completed"))
    assert proxy.told("usage", key=key.id)["today"]["neurons"] > 0


def test_log_administration_and_command_line_add_up_to_the_same(proxy, data_dir):
    key = proxy.key()
    for number, model in enumerate([*PRICED, *REPORTING]):
        surface = SURFACES[number % 3]
        proxy.line(proxy.post(key, surface, model=model, stream=number % 2 == 0))
    proxy.line(proxy.post(key, "responses", model=MODEL, input="Say exactly: compact me"))
    lines = proxy.log.lines(caller=key.id)
    told = proxy.told("usage", key=key.id, by="model", days=1)
    today = told["today"]
    assert today["requests"] == len(lines) == 7
    for name in ("prompt_tokens", "completion_tokens"):
        assert today[name] == sum(line[name] for line in lines)
    assert today["neurons"] == pytest.approx(sum(line["neurons"] for line in lines), abs=1e-5)
    assert today["usd"] == pytest.approx(today["neurons"] * USD_PER_NEURON, abs=1e-9)
    for row in today["by_model"]:
        own = [line["neurons"] for line in lines if line["upstream_model"] == row["model"]]
        assert (row["requests"], row["neurons"]) == (len(own), pytest.approx(sum(own), abs=1e-5))
    for row in today["by_source"]:
        own = [line["neurons"] for line in lines if line["cost_source"] == row["source"]]
        assert row["neurons"] == pytest.approx(sum(own), abs=1e-5)
    assert told["history"][0]["by_model"] == today["by_model"]
    assert told["month"]["neurons"] >= today["neurons"]

    clean = dict.fromkeys(name for name in os.environ if name.startswith(("FLARELAY_", "CLOUDFLARE_")))
    environ = {**clean, "FLARELAY_DATA_DIR": str(data_dir)}

    def by_command(*arguments):
        ran = CliRunner().invoke(main, ["usage", "--json", *arguments], env=environ)
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    # The ledger is told once a second.
    until(lambda: by_command("--key", key.id)["today"]["requests"] == 7)
    assert by_command("--key", key.id, "--by", "model", "--days", "1")["today"]["by_model"] == today["by_model"]
    everything = proxy.told("usage")["today"]
    until(lambda: by_command()["today"]["requests"] == everything["requests"])
    assert by_command()["today"]["neurons"] == pytest.approx(everything["neurons"], abs=1e-5)
    assert everything["neurons"] == pytest.approx(
        sum(line.get("neurons", 0) for line in proxy.log.lines()), abs=len(proxy.log.lines()) * 1e-6
    )


@pytest.mark.parametrize(("level", "lines"), [("info", 1), ("warning", 0)])
def test_the_line_of_a_request_is_of_the_level_info(emulator, level, lines):
    with running(emulator, log_level=level) as proxy:
        ask(proxy.sdk(proxy.key()), "chat")
    assert len(proxy.log.lines(event="exchange")) == lines
