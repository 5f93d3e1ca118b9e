"""What a client sees when the upstream fails: the right status and OpenAI's error object, never a quiet success."""

from pathlib import Path

import pytest

from tests.e2e import faults
from tests.e2e.outcomes import by_fault

README = Path(__file__).resolve().parents[2] / "README.md"


def test_every_fault_is_seen_as_it_has_to_be():
    assert faults.judged(faults.look_at_all()) == []


def test_the_table_of_the_readme_is_current():
    shown = README.read_text().partition("<!-- faults -->\n")[2].partition("<!-- /faults -->")[0]
    assert shown.strip() == "\n".join(faults.readme()), "python -m tests.e2e.faults --readme prints it"


@pytest.mark.parametrize(
    ("fault", "seen", "said"),
    [
        ("cut", faults.Seen(200, None, text="one two three", looks_finished=True), "looks finished"),
        ("cut", faults.Seen(200, "upstream_truncated", "server_error", text="one"), "of the text came 'one'"),
        ("quota", faults.Seen(429, "insufficient_quota", "insufficient_quota", 60, again=True), "would try again"),
        ("capacity", faults.Seen(429, "rate_limit_exceeded", "requests", again=True), "told to wait None"),
        ("capacity", faults.Seen(500, None, "server_error"), "500 None"),
        ("crlf", faults.Seen(200, text="one two", reason="stop", looks_finished=True), "'one two'"),
    ],
)
def test_what_should_not_be_seen_is_told(fault, seen, said):
    assert said in "; ".join(faults.problems(fault, by_fault()[fault], seen, stream=True))


@pytest.mark.parametrize(
    "scenario",
    ["no-done", "garbage-frame", "crlf", "no-space-data", "comments", "split", "zero-usage", "no-usage", "null-usage"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_quirk_is_not_seen(sdk, scenario, stream):
    said = "The answer is 42, not 0."
    messages = [{"role": "user", "content": f"Say exactly: {said}"}]
    model = f"@cf/emulator/{scenario}"
    if stream:
        with sdk.chat.completions.stream(
            model=model, messages=messages, stream_options={"include_usage": True}
        ) as answer:
            completion = answer.get_final_completion()
    else:
        completion = sdk.chat.completions.create(model=model, messages=messages)
    assert completion.choices[0].message.content == said
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}), ("/v1/responses", {"input": "x"})],
)
def test_an_unknown_model_is_404(http, path, asked):
    answer = http.post(path, json={"model": "gpt-oss-999b", **asked})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
