"""Text, thoughts, JSON and inputs: Q5, Q6, Q18, Q20, Q23, Q25-Q27, Q30, Q54."""

import json

import pytest

GPT = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"
DIGITS = "0 6 10 2026 0.5 and 7"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize("model", ["@cf/zai-org/glm-5.3-flash", "@cf/emulator/number-tokens", LEGACY])
def test_q05_digits_are_not_lost(ask, model):
    assert ask(model, f"Say exactly: {DIGITS}").text == DIGITS


@pytest.mark.parametrize("model", ["@cf/emulator/number-tokens", LEGACY, "@cf/qwen/qwen3-30b-a3b-fp8"])
def test_q05_the_same_on_the_native_route(ask_native, sent, model):
    assert ask_native(model, f"Say exactly: {DIGITS}").text == DIGITS
    assert "/run/" in sent()[-1]["path"]


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", "@cf/moonshotai/kimi-k2.6", "@cf/zai-org/glm-4.7-flash"])
def test_q06_an_answer_that_does_not_stream_is_not_empty(ask_native, sent, model):
    view = ask_native(model, "Say exactly: not empty")
    assert (view.text, view.finish) == ("not empty", "stop")
    assert view.reasoning
    assert "/run/" in sent()[-1]["path"]


def test_q06_an_empty_answer_to_a_stream_request_is_asked_for_again(ask, sent):
    view = ask("@cf/emulator/json-empty-for-stream", "Say exactly: not empty")
    assert (view.text, view.finish) == ("not empty", "stop")
    assert [record["body"]["stream"] for record in sent()] == [True, False]


@pytest.mark.parametrize(
    "model",
    ["@cf/google/gemma-2b-it-lora", "@cf/mistral/mistral-7b-instruct-v0.2-lora", "@cf/emulator/text-content-only"],
)
def test_q18_lists_of_text_are_joined(ask, upstream, model):
    parts = [{"type": "text", "text": "Say exactly:"}, {"type": "text", "text": "two parts"}]
    body = {"model": model, "messages": [{"role": "user", "content": parts}]}
    assert upstream.post("/v1/chat/completions", json=body).status_code == 400
    assert ask(model, body["messages"]).text == "two parts"


@pytest.mark.parametrize(
    "model",
    [
        GPT,
        "@cf/moonshotai/kimi-k2.6",
        "@cf/zai-org/glm-5.3-flash",
        "@cf/qwen/qwq-32b",
        "@cf/deepseek-ai/deepseek-r1-distill-qwen-32b",
        "@cf/emulator/reasoning-field",
        "@cf/emulator/think-tag",
    ],
)
def test_q20_thoughts_are_in_one_place_and_not_in_the_text(ask, model):
    view = ask(model, "Say exactly: thought over")
    assert view.text == "thought over"
    assert view.reasoning.strip().startswith("The user wants something")
    assert "think>" not in view.reasoning


def test_q20_thoughts_without_their_first_tag_on_a_model_known_for_it(ask, truth):
    view = ask("@cf/deepseek-ai/deepseek-r1-distill-qwen-32b", "Say exactly: a </b> c")
    assert view.text == "a </b> c"
    assert "</think>" in truth()["choices"][0]["message"]["content"]
    assert "<think>" not in truth()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("model", [GPT, "@cf/zai-org/glm-5.3"])
def test_q23_an_effort_reaches_the_model_in_the_body(ask, sent, model):
    low = ask(model, "Say exactly: hm", reasoning_effort="low")
    assert sent()[-1]["body"]["reasoning_effort"] in {"low", "high"}
    high = ask(model, "Say exactly: hm", reasoning_effort="high")
    assert sent()[-1]["body"]["reasoning_effort"] == "high"
    assert (low.text, high.text) == ("hm", "hm")
    assert 0 < len(low.reasoning) <= len(high.reasoning)
    if model == GPT:
        assert len(low.reasoning) < len(high.reasoning)


def test_q23_thinking_that_is_off_by_default_is_turned_on(ask):
    model = "@cf/google/gemma-4-26b-a4b-it"
    assert ask(model, "Say exactly: hm").reasoning == ""
    assert ask(model, "Say exactly: hm", reasoning_effort="high").reasoning


STRUCTURED = {
    GPT: "bare",
    LEGACY: "bare",
    "@cf/zai-org/glm-5.3-flash": "envelope",
    "@cf/moonshotai/kimi-k2.6": "envelope",
}


@pytest.mark.parametrize("model", STRUCTURED)
def test_q25_a_schema_goes_out_in_the_form_the_model_takes(ask, sent, model):
    view = ask(model, "The weather in Oslo, 4 degrees.", response_format=FORMAT)
    assert set(json.loads(view.text)) == {"city", "degrees"}
    wanted = sent()[-1]["body"]["response_format"]["json_schema"]
    if STRUCTURED[model] == "envelope":
        assert (wanted["name"], wanted["schema"]) == ("weather", SCHEMA)
    else:
        assert wanted["properties"] == SCHEMA["properties"]


@pytest.mark.parametrize("model", [LEGACY, "@cf/emulator/object-content"])
def test_q26_an_object_in_place_of_text_is_text(ask, truth, model):
    view = ask(model, "The weather in Oslo, 4 degrees.", response_format=FORMAT)
    assert isinstance(truth()["choices"][0]["message"]["content"], dict)
    assert json.loads(view.text) == truth()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", LEGACY])
def test_q26_the_same_on_the_native_route(ask_native, sent, model):
    view = ask_native(model, 'Say exactly: {"city":"Oslo","degrees":4}', response_format=FORMAT)
    assert json.loads(view.text) == {"city": "Oslo", "degrees": 4}
    assert "/run/" in sent()[-1]["path"]


@pytest.mark.parametrize("kind", [{"type": "json_object"}, FORMAT])
@pytest.mark.parametrize("model", list(STRUCTURED))
def test_q27_json_is_streamed_to_the_client_all_the_same(ask, sent, model, kind):
    said = '{"city":"Oslo","degrees":4}'
    view = ask(model, f"Say exactly: {said}", response_format=kind)
    assert json.loads(view.text) == json.loads(said)
    assert view.finish == "stop"
    assert sent()[-1]["body"]["stream"] is False


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def picture(url):
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


@pytest.mark.parametrize(
    "model",
    ["@cf/zai-org/glm-5.3-flash", "@cf/moonshotai/kimi-k2.6", "@cf/meta/llama-4-scout-17b-16e-instruct"],
)
def test_q30_a_picture_within_the_request_is_seen(ask, model):
    assert "I can see 1 image." in ask(model, picture(f"data:image/png;base64,{PNG}")).text


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:9/x.png", "invalid_image_url"),
        ("http://169.254.169.254/latest/meta-data", "invalid_image_url"),
        ("data:image/svg+xml;base64,PHN2Zy8+", None),
        ("data:image/svg+xml,<svg/>", None),
        ("ftp://example.com/x.png", "invalid_image_url"),
        ("data:image/png;base64,!!!!", None),
    ],
)
def test_q30_what_the_upstream_cannot_take_is_refused_by_name(ask, sent, mode, url, code):
    view = ask("@cf/zai-org/glm-5.3-flash", picture(url))
    assert view.status == 400
    assert view.error["type"] == "invalid_request_error"
    assert view.error["param"].startswith("messages[0].content[1]" if mode[0] == "chat" else "input[0].content[1]")
    assert view.error["code"] == (code or view.error["code"])
    assert sent() == []


@pytest.mark.parametrize("model", [LEGACY, GPT, "@cf/zai-org/glm-5.3-flash"])
def test_q54_developer_messages_are_taken(ask, sent, model):
    messages = [{"role": "developer", "content": "Be terse."}, {"role": "user", "content": "Say exactly: yes"}]
    assert ask(model, messages).text == "yes"
    role = sent()[-1]["body"]["messages"][0]["role"]
    assert role == ("developer" if model.startswith("@cf/zai-org") else "system")
