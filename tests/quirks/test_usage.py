"""Limits, counts and the ends of answers: Q1-Q4, Q21, Q22, Q24, Q31, Q38, Q44, Q53."""

import pytest

RAIN = "Write 400 words about rain."
LEGACY = "@cf/meta/llama-3.1-8b-instruct-fp8"


def counted(answer):
    """The tokens that the emulator itself tells, the truth about an answer."""
    usage = answer["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def told(view):
    return view.usage["prompt"], view.usage["completion"]


@pytest.mark.parametrize("model", [LEGACY, "@cf/openai/gpt-oss-120b"])
def test_q01_nothing_is_cut_at_256_tokens(ask, model):
    view = ask(model, RAIN)
    assert len(view.text.split()) == 400
    assert view.finish == "stop"
    assert view.usage["completion"] > 256


@pytest.mark.parametrize("model", [LEGACY, "@cf/emulator/cut-says-stop"])
def test_q01_a_cut_answer_is_told_as_cut(ask, upstream, model):
    body = {"model": model, "messages": [{"role": "user", "content": RAIN}], "max_tokens": 40}
    assert upstream.post("/v1/chat/completions", json=body).json()["choices"][0]["finish_reason"] == "stop"
    view = ask(model, RAIN, max_tokens=40)
    assert view.finish == "length"
    assert view.usage["completion"] == 40


@pytest.mark.parametrize("model", [LEGACY, "@cf/emulator/zero-second-usage"])
def test_q02_a_usage_of_zeros_replaces_nothing(ask, truth, model):
    view = ask(model, RAIN)
    assert told(view) == counted(truth())
    assert view.usage["completion"] > 400


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-20b", LEGACY])
def test_q03_usage_and_finish_reason_come_once(ask, truth, model):
    # That they come once is a rule of every view; here the upstream is known to repeat them.
    view = ask(model, "Say exactly: once")
    assert (view.text, view.finish) == ("once", "stop")
    assert told(view) == counted(truth())


@pytest.mark.parametrize(
    "model",
    [
        "@cf/zai-org/glm-5.3-flash",
        "@cf/qwen/qwen3-30b-a3b-fp8",
        "@cf/emulator/delta-usage",
        "@cf/emulator/delta-usage-only",
        "@cf/emulator/cumulative-usage",
    ],
)
def test_q04_usage_per_chunk_is_neither_lost_nor_summed_twice(ask, truth, model):
    assert told(ask(model, "Write 60 words about rain.")) == counted(truth())


def test_q21_thinking_that_used_up_the_limit_is_told(ask):
    view = ask("@cf/openai/gpt-oss-120b", RAIN, max_tokens=8)
    assert view.text == ""
    assert view.reasoning
    assert view.finish == "length"


@pytest.mark.parametrize("model", ["@cf/zai-org/glm-5.3-flash", "@cf/openai/gpt-oss-20b", "@cf/qwen/qwen3-30b-a3b-fp8"])
def test_q21_thinking_leaves_room_for_json(ask, sent, model):
    view = ask(model, 'Say exactly: {"a": 1}', response_format={"type": "json_object"})
    assert view.text.replace(" ", "") == '{"a":1}'
    body = sent()[-1]["body"]
    assert (body.get("max_tokens") or body["max_completion_tokens"]) >= 2048


@pytest.mark.parametrize(
    "model", ["@cf/emulator/null-usage", "@cf/emulator/null-tool-calls", "@cf/deepseek-ai/deepseek-v4-flash-0731"]
)
def test_q22_nulls_for_usage_and_calls_are_nothing(ask, model):
    view = ask(model, "Say exactly: null and void")
    assert (view.text, view.calls, view.finish) == ("null and void", [], "stop")
    assert min(told(view)) > 0


@pytest.mark.parametrize("model", ["@cf/openai/gpt-oss-120b", "@cf/zai-org/glm-5.3-flash"])
def test_q24_cached_tokens_are_told(ask, mode, model):
    rules = {"role": "system", "content": f"Rules for {mode} and {model}. " + "Be brief and kind. " * 40}
    asked = [rules, {"role": "user", "content": "Say exactly: hi"}]
    assert ask(model, asked).usage["cached"] == 0
    cached = ask(model, asked).usage["cached"]
    assert cached > 100


@pytest.mark.parametrize(
    ("model", "window"), [("@cf/google/gemma-4-26b-a4b-it", 131_072), ("@cf/zai-org/glm-5.2", 256_000)]
)
def test_q31_the_limit_is_made_for_the_window_that_is_enforced(ask, sent, model, window):
    assert ask(model, "Say exactly: enough").text == "enough"
    assert 0.9 * window < sent()[-1]["body"]["max_completion_tokens"] < window
    # More than is enforced, less than is listed.
    view = ask(model, "Say exactly: enough", max_tokens=window + 4000)
    assert (view.status, view.text) == (200, "enough")
    assert sent()[-1]["body"]["max_completion_tokens"] < window
    assert view.headers["x-flarelay-adjusted"] in {"max_tokens", "max_output_tokens"}


def test_q31_a_prompt_that_does_not_fit_is_the_clients_error(ask):
    view = ask("@cf/emulator/small-window", "word " * 3000)
    assert (view.status, view.error["code"]) == (400, "context_length_exceeded")
    assert view.error["type"] == "invalid_request_error"


def test_q31_a_prompt_that_is_longer_than_estimated_is_served(ask, sent):
    # Hexadecimal digits are a token each here, four times as many as their size tells.
    view = ask("@cf/openai/gpt-oss-20b", f"{'0123456789abcdef' * 1000} Count to 3.")
    assert view.text == "1, 2, 3", view.error
    first, second = [record["body"]["max_tokens"] for record in sent()]
    assert second == first // 2


@pytest.mark.parametrize("model", ["@cf/emulator/no-usage", "@cf/emulator/zero-usage"])
def test_q38_usage_that_is_missing_is_estimated(ask, model):
    view = ask(model, "Write 60 words about rain.")
    assert 5 <= view.usage["prompt"] <= 40
    assert 40 <= view.usage["completion"] <= 200


@pytest.mark.parametrize(
    "model",
    [
        "@cf/emulator/null-final-frame",
        "@cf/meta/llama-3.2-3b-instruct",
        "@cf/emulator/calls-in-every-frame",
        "@cf/meta/llama-3.2-1b-instruct",
    ],
)
def test_q44_a_last_frame_without_text_is_no_text(ask_native, sent, truth, model):
    view = ask_native(model, "Say exactly: the end")
    assert sent()[-1]["path"].endswith(f"/run/{model}")
    assert (view.text, view.calls, view.finish) == ("the end", [], "stop")
    assert told(view) == counted(truth()["result"])


def test_q53_harmonys_stop_reasons_stay_inside(ask, upstream, sent):
    # That no chunk has a field of theirs is a rule of every view.
    view = ask("@cf/openai/gpt-oss-120b", "Say exactly: stop")
    assert (view.text, view.finish) == ("stop", "stop")
    body = {**sent()[-1]["body"], "stream": True}
    assert '"stop_reason":200002' in upstream.post("/v1/chat/completions", json=body).text
