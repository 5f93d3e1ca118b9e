"""Tools: Q9-Q17, Q19, Q39-Q42, Q51, Q52, Q55, Q60, Q61."""

import pytest

from tests.quirks.tools import ASK_BOTH, ASK_ONE, BOTH, NAMED, ONE, TWO, WEATHER, assistant, function, made, results

GPT = "@cf/openai/gpt-oss-120b"
LEGACY = "@cf/meta/llama-4-scout-17b-16e-instruct"


def user(text):
    return {"role": "user", "content": text}


def bodies(sent):
    return [record["body"] for record in sent()]


@pytest.mark.parametrize("model", [GPT, "@cf/zai-org/glm-5.3-flash", LEGACY])
def test_q09_flat_tools_are_nested_for_the_upstream(http, mode, sent, model):
    flat = {"type": "function", "strict": None, **WEATHER["function"]}
    surface, stream = mode
    if surface == "chat":
        answer = http.post(
            "/v1/chat/completions",
            json={"model": model, "messages": [user(ASK_ONE)], "tools": [flat], "stream": stream},
        )
    else:
        # A tool that OpenAI would run itself is left out, and said to be.
        tools = [flat, {"type": "web_search"}]
        answer = http.post("/v1/responses", json={"model": model, "input": ASK_ONE, "tools": tools, "stream": stream})
        assert answer.headers["x-flarelay-dropped"] == "tools[1]"
    assert answer.status_code == 200, answer.text
    assert '"get_weather"' in answer.text
    (tool,) = bodies(sent)[-1]["tools"]
    assert (tool["type"], tool["function"]["name"]) == ("function", "get_weather")
    assert set(tool) == {"type", "function"}


def test_q10_a_required_call_is_not_swallowed(ask, upstream, sent):
    model = "@cf/google/gemma-4-26b-a4b-it"
    view = ask(model, ASK_BOTH, tools=BOTH, tool_choice="required")
    assert made(view) == TWO
    assert view.finish == "tool_calls"
    body = {**sent()[-1]["body"], "stream": False}
    body.pop("stream_options")
    (swallowed,) = upstream.post("/v1/chat/completions", json=body).json()["choices"]
    assert (swallowed["finish_reason"], swallowed["message"]["tool_calls"]) == ("tool_calls", [])


def test_q10_a_lost_call_is_asked_for_once_more(ask, sent, control):
    control.post("/faults", json={"fault": "empty-tool-calls", "times": 1}).raise_for_status()
    view = ask(GPT, ASK_BOTH, tools=BOTH, tool_choice="required")
    assert set(view.names) <= {"get_weather", "get_time"}
    assert (view.finish, bool(view.calls)) == ("tool_calls", True)
    assert len(sent()) == 2


def test_q10_a_call_that_never_comes_is_not_told_as_one(ask, sent):
    view = ask("@cf/emulator/empty-tool-calls", ASK_BOTH, tools=BOTH, tool_choice="required")
    if view.status == 200:
        assert (view.calls, view.finish) == ([], "stop")
    else:
        assert view.status == 502
    assert len(sent()) == 2


@pytest.mark.parametrize(("choice", "said", "wanted"), [(NAMED, ASK_ONE, ONE), ("required", ASK_BOTH, TWO)])
def test_q11_a_forced_call_that_leaks_as_text_is_a_call(ask, choice, said, wanted):
    view = ask("@cf/emulator/leaked-tool-call", said, tools=BOTH, tool_choice=choice)
    assert made(view) == wanted
    assert (view.text, view.finish) == ("", "tool_calls")
    assert len({call.id for call in view.calls}) == len(wanted)


def test_q11_json_that_is_no_offered_tool_stays_text(ask):
    said = '{"name": "launch", "arguments": {"at": "noon"}}'
    view = ask(GPT, f"Say exactly: {said}", tools=BOTH)
    assert (view.text, view.calls) == (said, [])


@pytest.mark.parametrize(
    ("model", "choice"), [(GPT, NAMED), ("@cf/zai-org/glm-5.3-flash", "required"), (LEGACY, "required")]
)
def test_q12_force_is_relaxed_after_a_result(ask, model, choice):
    first = ask(model, ASK_ONE, tools=[WEATHER], tool_choice=choice)
    assert made(first) == ONE
    history = [user(ASK_ONE), assistant(first, content=None), *results(first, "4 degrees")]
    second = ask(model, history, tools=[WEATHER], tool_choice=choice)
    assert second.calls == []
    assert second.text == "The tool answered: 4 degrees"
    assert "tool_choice" in second.headers["x-flarelay-adjusted"]


def test_q13_a_model_that_does_not_use_tools_on_one_route_uses_them(ask):
    view = ask("@cf/meta/llama-3.3-70b-instruct-fp8-fast", ASK_ONE, tools=[WEATHER])
    assert made(view) == ONE
    assert view.finish == "tool_calls"


def test_q13_tools_that_are_not_used_harm_nothing(ask):
    view = ask("@cf/emulator/ignores-tools", ASK_ONE, tools=[WEATHER])
    assert view.text
    assert (view.calls, view.finish) == ([], "stop")


@pytest.mark.parametrize(
    "model",
    [
        "@cf/moonshotai/kimi-k2.6",
        "@cf/nvidia/nemotron-3-120b-a12b",
        "@cf/emulator/duplicate-tool-ids",
        "@cf/emulator/functions-tool-ids",
    ],
)
def test_q14_tool_ids_are_unique_within_and_between_turns(ask, sent, model):
    history = [user(ASK_BOTH)]
    seen = []
    for turn in range(2):
        view = ask(model, history, tools=BOTH)
        assert made(view) == TWO
        seen += [call.id for call in view.calls]
        history += [assistant(view), *results(view, f"{turn} degrees", f"{turn} o'clock"), user(ASK_BOTH)]
    assert len(set(seen)) == 4
    assert ask(model, history[:-1], tools=BOTH).text == "The tool answered: 1 degrees 1 o'clock"
    messages = bodies(sent)[-1]["messages"]
    calls = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert calls == answered
    assert len(set(calls)) == 4


@pytest.mark.parametrize(
    "model",
    [
        "@cf/zai-org/glm-4.7-flash",
        "@cf/deepseek-ai/deepseek-v4-pro-0813",
        "@cf/emulator/args-before-name",
        "@cf/emulator/index-reset",
        "@cf/emulator/null-finaliser",
        "@cf/emulator/object-args",
    ],
)
def test_q15_fragments_in_any_order_make_whole_calls(ask, model):
    assert made(ask(model, ASK_BOTH, tools=BOTH)) == TWO


@pytest.mark.parametrize("model", ["@cf/emulator/null-finaliser", LEGACY, "@cf/emulator/object-args"])
def test_q15_the_same_on_the_native_route(ask_native, sent, model):
    assert made(ask_native(model, ASK_BOTH, tools=BOTH)) == TWO
    assert "/run/" in sent()[-1]["path"]


@pytest.mark.parametrize("model", ["@cf/ibm-granite/granite-4.0-h-micro", "@cf/emulator/double-encoded-args"])
def test_q16_arguments_that_are_encoded_twice_are_read_twice(ask, truth, model):
    assert made(ask(model, ASK_BOTH, tools=BOTH)) == TWO
    calls = truth()["choices"][0]["message"]["tool_calls"]
    assert calls[0]["function"]["arguments"].startswith('"{')


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", LEGACY])
def test_q17_null_content_beside_calls_is_taken(ask_native, sent, model):
    first = ask_native(model, ASK_BOTH, tools=BOTH)
    for said in ({}, {"content": None}, {"content": ""}, {"content": [{"type": "text", "text": "Let me see."}]}):
        history = [user(ASK_BOTH), assistant(first, **said), *results(first, "4 degrees", "noon")]
        view = ask_native(model, history, tools=BOTH)
        assert view.text == "The tool answered: 4 degrees noon", view
    assert all(isinstance(message["content"], str) for body in bodies(sent) for message in body["messages"])
    assert all("/run/" in record["path"] for record in sent())


@pytest.mark.parametrize(
    ("model", "native"),
    [(GPT, False), ("@cf/moonshotai/kimi-k2.6", False), ("@cf/openai/gpt-oss-20b", True), (LEGACY, True)],
)
def test_q19_the_second_and_third_tool_round_are_taken(ask, ask_native, model, native):
    asker = ask_native if native else ask
    history = [{"role": "system", "content": [{"type": "text", "text": "Use tools."}]}, user(ASK_BOTH)]
    for turn in range(3):
        view = asker(model, history, tools=BOTH)
        assert made(view) == TWO, view
        replayed = assistant(view, content=[None, "", [{"type": "text", "text": "So:"}]][turn])
        if view.reasoning:
            replayed["reasoning_content"] = view.reasoning
        contents = ["4 degrees", [{"type": "text", "text": "noon"}]]
        history += [replayed, *results(view, *contents)]
        said = asker(model, history, tools=BOTH)
        assert said.text == "The tool answered: 4 degrees noon", said
        history += [{"role": "assistant", "content": said.text}, user(ASK_BOTH)]


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", "@cf/moonshotai/kimi-k2.6", LEGACY])
def test_q39_the_native_route_keeps_calls_and_usage(ask_native, model):
    view = ask_native(model, ASK_BOTH, tools=BOTH)
    assert made(view) == TWO
    assert min(view.usage["prompt"], view.usage["completion"]) > 0


def test_q40_tuning_values_and_tools_reach_the_upstream(http, sent):
    knobs = {"temperature": 0.3, "top_p": 0.9, "seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.25}
    body = {"model": "gpt-oss-120b", "messages": [user(ASK_ONE)], "tools": [WEATHER], "tool_choice": "auto", **knobs}
    assert http.post("/v1/chat/completions", json={**body, "max_tokens": 500}).status_code == 200
    (got,) = bodies(sent)
    assert {key: got[key] for key in knobs} == knobs
    assert (got["max_tokens"], got["tool_choice"], len(got["tools"])) == (500, "auto", 1)


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-120b", "@cf/openai/gpt-oss-20b"])
def test_q41_gpt_oss_takes_tools(ask, model):
    view = ask(model, ASK_BOTH, tools=BOTH)
    assert made(view) == TWO
    assert view.finish == "tool_calls"


@pytest.mark.parametrize("model", ["@cf/mistralai/mistral-small-3.1-24b-instruct", "@cf/emulator/stop-with-tool-calls"])
def test_q42_calls_are_told_as_the_reason(ask, truth, model):
    view = ask(model, ASK_ONE, tools=[WEATHER])
    assert made(view) == ONE
    assert view.finish == "tool_calls"
    assert truth()["choices"][0]["finish_reason"] == "stop"


ODD = [
    function("get_weather", description=None, city="string"),
    function("get_weather", description=False, city="string"),
    {"type": "function", "function": {"name": "get_weather"}},
    {"type": "function", "function": {"name": "get_weather", "parameters": {}}},
    {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": []}}},
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": None},
                    "where": {"anyOf": [{"type": "object", "properties": []}, {"type": "null"}]},
                    "list": {"type": "array", "items": {"type": "object", "properties": [], "description": False}},
                },
            },
        },
    },
]


@pytest.mark.parametrize("model", [GPT, "@cf/zai-org/glm-5.3-flash"])
def test_q51_odd_tools_are_mended(ask, model):
    for tool in ODD:
        view = ask(model, ASK_ONE, tools=[tool])
        assert view.names == ["get_weather"], view.error


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", LEGACY])
def test_q51_the_same_on_the_native_route(ask_native, model):
    for tool in ODD:
        view = ask_native(model, ASK_ONE, tools=[tool])
        assert view.names == ["get_weather"], view.error


@pytest.mark.parametrize("model", [GPT, "@cf/zai-org/glm-5.3-flash", "@cf/emulator/number-tokens"])
def test_q52_fragments_that_look_like_nothing_are_kept(ask, model):
    tool = function("set_level", level="integer")
    view = ask(model, 'Call set_level({"level": 0}).', tools=[tool])
    assert made(view) == [("set_level", {"level": 0})]
    assert ask(model, "Say exactly: 0").text == "0"


@pytest.mark.parametrize("model", ["@cf/emulator/xml-tool-call"])
def test_q55_calls_between_tags_are_calls(ask, model):
    view = ask(model, ASK_BOTH, tools=BOTH)
    assert made(view) == TWO
    assert (view.text.strip(), view.finish) == ("", "tool_calls")


@pytest.mark.parametrize("model", ["@cf/emulator/xml-tool-call", "@cf/mistralai/mistral-small-3.1-24b-instruct"])
def test_q55_the_same_on_the_native_route(ask_native, sent, model):
    view = ask_native(model, ASK_BOTH, tools=BOTH)
    assert made(view) == TWO
    assert (view.text.strip(), view.finish) == ("", "tool_calls")
    assert "/run/" in sent()[-1]["path"]


def test_q55_tags_around_no_offered_tool_stay_text(ask):
    said = '<tool_call>{"name": "launch", "arguments": {}}</tool_call> and on'
    view = ask(GPT, f"Say exactly: {said}", tools=BOTH)
    assert (view.text, view.calls) == (said, [])


@pytest.mark.parametrize("model", [GPT, "@cf/zai-org/glm-5.3-flash", LEGACY])
def test_q60_a_result_reaches_the_model_as_plain_text(ask, sent, model):
    first = ask(model, ASK_BOTH, tools=BOTH)
    plain = '{"degrees": 4, "sky": "clear"}'
    history = [user(ASK_BOTH), assistant(first), *results(first, plain, [{"type": "text", "text": "noon"}])]
    assert ask(model, history, tools=BOTH).text == f"The tool answered: {plain} noon"
    assert [message["content"] for message in bodies(sent)[-1]["messages"][-2:]] == [plain, "noon"]


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def seen(text):
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": PIXEL}}],
        }
    ]


def test_q61_eyes_and_tools_are_never_traded_for_each_other(ask, sent):
    view = ask("@cf/meta/llama-3.2-11b-vision-instruct", seen(ASK_ONE), tools=[WEATHER])
    assert (view.status, view.error["param"], view.error["code"]) == (400, "tools", "unsupported_parameter")
    view = ask("@cf/openai/gpt-oss-120b", seen(ASK_ONE), tools=[WEATHER])
    assert (view.status, view.error["code"]) == (400, "unsupported_value")
    assert sent() == []


@pytest.mark.parametrize("model", ["@cf/moonshotai/kimi-k2.6", "@cf/google/gemma-4-26b-a4b-it", LEGACY])
def test_q61_a_model_with_both_uses_both(ask, sent, model):
    view = ask(model, seen(ASK_ONE), tools=[WEATHER])
    assert made(view) == ONE
    assert "image" in str(bodies(sent)[-1]["messages"])
