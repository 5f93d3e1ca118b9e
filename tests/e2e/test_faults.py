"""What a client sees when the upstream fails: the right status and OpenAI's error object, never a quiet success."""

import json

import pytest

MESSAGES = [{"role": "user", "content": "Write 60 words about rain."}]

# Before the first byte: scenario -> status, type, code, may the SDK try again.
REFUSALS = {
    "rate-limited": (429, "requests", "rate_limit_exceeded", None),
    "capacity": (429, "requests", "rate_limit_exceeded", None),
    "quota": (429, "insufficient_quota", "insufficient_quota", "false"),
    "quota-old": (429, "insufficient_quota", "insufficient_quota", "false"),
    "empty-429": (429, "requests", "rate_limit_exceeded", None),
    "error-1015": (429, "requests", "rate_limit_exceeded", None),
    "unauthorized": (502, "server_error", "upstream_unauthorized", "false"),
    "paid-only": (403, "invalid_request_error", "model_requires_paid_plan", None),
    "html-502": (502, "server_error", "upstream_error", None),
    "html-524": (504, "server_error", "upstream_timeout", None),
    "error-first-frame": (None, None, None, None),
    "json-error-for-stream": (None, None, None, None),
}

BROKEN = ["cut", "cut-clean", "error-mid-stream", "error-mid-stream-object"]


def chat(model, **more):
    return "/v1/chat/completions", {"model": model, "messages": MESSAGES, **more}


def responses(model, **more):
    return "/v1/responses", {"model": model, "input": MESSAGES, **more}


def frames(text):
    """The payloads of an SSE body."""
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("surface", [chat, responses])
@pytest.mark.parametrize("scenario", REFUSALS)
def test_a_failure_before_the_first_byte_is_a_status(http, surface, scenario, stream):
    path, body = surface(f"@cf/emulator/{scenario}", stream=stream)
    answer = http.post(path, json=body)
    status, kind, code, should_retry = REFUSALS[scenario]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    if status is None:
        assert answer.status_code >= 400
        return
    assert (answer.status_code, error["type"], error["code"]) == (status, kind, code)
    assert answer.headers.get("x-should-retry") == should_retry
    if status == 429:
        assert int(answer.headers["retry-after"]) > 0
        assert int(answer.headers["retry-after-ms"]) > 0
    assert "<html" not in error["message"].lower()


@pytest.mark.parametrize("scenario", BROKEN)
@pytest.mark.parametrize("surface", [chat, responses])
def test_a_broken_answer_is_no_success_when_unstreamed(http, surface, scenario):
    path, body = surface(f"@cf/emulator/{scenario}")
    answer = http.post(path, json=body)
    assert answer.status_code in {429, 502}
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("scenario", BROKEN)
def test_a_broken_chat_stream_ends_in_an_error(http, scenario):
    path, body = chat(f"@cf/emulator/{scenario}", stream=True)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    payloads = frames(answer.text)
    assert "[DONE]" not in payloads
    assert set(json.loads(payloads[-1])["error"]) == {"message", "type", "param", "code"}
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in chunks)


@pytest.mark.parametrize("scenario", BROKEN)
def test_a_broken_responses_stream_ends_in_failed(http, scenario):
    path, body = responses(f"@cf/emulator/{scenario}", stream=True)
    payloads = frames(http.post(path, json=body).text)
    assert payloads[-1] == "[DONE]"
    *_, error, failed = [json.loads(payload) for payload in payloads[:-1]]
    assert (error["type"], failed["type"]) == ("error", "response.failed")
    assert error["message"] == error["error"]["message"]
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"]["code"] in {"server_error", "rate_limit_exceeded"}


@pytest.mark.parametrize("scenario", ["json-for-stream", "json-empty-for-stream"])
@pytest.mark.parametrize("surface", [chat, responses])
@pytest.mark.parametrize("stream", [False, True])
def test_json_in_answer_to_a_stream_request_is_still_answered(http, surface, scenario, stream):
    path, body = surface(f"@cf/emulator/{scenario}", stream=stream)
    answer = http.post(path, json=body)
    assert answer.status_code == 200
    if stream:
        payloads = frames(answer.text)
        assert payloads[-1] == "[DONE]"
        assert len(payloads) > 3
        assert '"error":{' not in answer.text
    else:
        assert "error" not in answer.json() or answer.json()["error"] is None


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


def test_an_unknown_model_is_404(http):
    for path, body in (chat("gpt-oss-999b"), responses("gpt-oss-999b")):
        answer = http.post(path, json=body)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
