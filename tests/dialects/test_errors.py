import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.dialects.errors import CODES, frame_failure, read_failure

NOW = 1_790_000_000.0
ACCOUNT = "0123456789abcdef0123456789abcdef"

TABLE = [
    (1000, 401, UpstreamRefused, 502, "upstream_unauthorized"),
    (1001, 400, BadRequest, 400, None),
    (1101, 500, UpstreamBroken, 502, "upstream_error"),
    (1102, 500, UpstreamBroken, 502, "upstream_error"),
    (2001, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (2008, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (2009, 401, UpstreamRefused, 502, "upstream_unauthorized"),
    (2016, 424, BadRequest, 400, "content_policy_violation"),
    (2017, 424, BadRequest, 400, "content_policy_violation"),
    (2018, 429, RateLimited, 429, "rate_limit_exceeded"),
    (2019, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (2029, 400, BadRequest, 400, "content_policy_violation"),
    (3003, 400, BadRequest, 400, None),
    (3006, 413, TooLarge, 413, None),
    (3007, 408, UpstreamTimeout, 504, "upstream_timeout"),
    (3008, 408, UpstreamTimeout, 504, "upstream_timeout"),
    (3021, 429, RateLimited, 429, "rate_limit_exceeded"),
    (3023, 403, Forbidden, 403, "account_blocked"),
    (3036, 429, QuotaExhausted, 429, "insufficient_quota"),
    (3039, 400, BadRequest, 400, None),
    (3040, 429, RateLimited, 429, "rate_limit_exceeded"),
    (3041, 403, Forbidden, 403, "model_not_allowed"),
    (3042, 404, NotFound, 404, "model_not_found"),
    (3046, 408, UpstreamTimeout, 504, "upstream_timeout"),
    (4006, 429, QuotaExhausted, 429, "insufficient_quota"),
    (5004, 400, BadRequest, 400, None),
    (5005, 405, BadRequest, 400, "unsupported_parameter"),
    (5006, 400, BadRequest, 400, None),
    (5007, 400, NotFound, 404, "model_not_found"),
    (5016, 403, Forbidden, 403, "model_agreement_required"),
    (5018, 403, Forbidden, 403, "model_not_allowed"),
    (5019, 405, BadRequest, 400, None),
    (5028, 410, NotFound, 404, "model_not_found"),
    (5035, 403, Forbidden, 403, "model_requires_paid_plan"),
    (6003, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (6111, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (7000, 404, UpstreamRefused, 502, "upstream_unauthorized"),
    (7001, 405, UpstreamRefused, 502, "upstream_unauthorized"),
    (7003, 404, UpstreamRefused, 502, "upstream_unauthorized"),
    (7009, 500, UpstreamBroken, 502, "upstream_error"),
    (8001, 400, BadRequest, 400, None),
    (8005, 500, UpstreamBroken, 502, "upstream_error"),
    (8006, 400, BadRequest, 400, None),
    (8007, 400, BadRequest, 400, None),
    (9106, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (9109, 403, UpstreamRefused, 502, "upstream_unauthorized"),
    (10000, 401, UpstreamRefused, 502, "upstream_unauthorized"),
    (10001, 400, UpstreamRefused, 502, "upstream_unauthorized"),
    (1015, 429, RateLimited, 429, "rate_limit_exceeded"),
]


def failure(status: int, payload: object, headers: dict[str, str] | None = None) -> ApiError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return read_failure(status, headers or {}, body, NOW)


def test_the_table_is_tested_whole() -> None:
    assert {row[0] for row in TABLE} == set(CODES)


@pytest.mark.parametrize(("code", "status", "error", "our_status", "our_code"), TABLE)
@pytest.mark.parametrize(
    "envelope",
    [
        lambda code: {"result": None, "success": False, "errors": [{"code": code, "message": "AiError: no"}]},
        lambda code: {"errors": [{"message": "AiError: no", "code": code}], "success": False, "result": {}},
        lambda code: {"success": False, "result": [], "messages": [], "error": [{"code": code, "message": "no"}]},
        lambda code: {"error": {"message": "no", "type": "x", "code": str(code)}},
        lambda code: {"name": "AiGatewayError", "internalCode": code, "httpCode": 418, "message": "no"},
        lambda code: {"error": f"{code}: no"},
        lambda code: {"message": f"InferenceUpstreamError: {code}: no"},
        lambda code: {"code": code, "error": "no"},
        lambda code: f"{code}: no".encode(),
    ],
)
def test_every_code_in_every_envelope(code, status, error, our_status, our_code, envelope) -> None:
    found = failure(status, envelope(code))
    assert type(found) is error
    assert (found.status, found.code, found.upstream_code) == (our_status, our_code, code)


@pytest.mark.parametrize(("code", "error"), [(row[0], row[2]) for row in TABLE])
def test_a_frame_needs_no_status(code, error) -> None:
    found = frame_failure({"errors": [{"code": code, "message": "no"}], "success": False}, NOW)
    assert type(found) is error


@pytest.mark.parametrize(
    ("status", "error", "our_status"),
    [
        (400, BadRequest, 400),
        (401, UpstreamRefused, 502),
        (402, QuotaExhausted, 429),
        (403, UpstreamRefused, 502),
        (404, NotFound, 404),
        (405, UpstreamRefused, 502),
        (408, UpstreamTimeout, 504),
        (409, UpstreamBroken, 502),
        (410, NotFound, 404),
        (413, TooLarge, 413),
        (418, BadRequest, 400),
        (422, BadRequest, 400),
        (429, RateLimited, 429),
        (500, UpstreamBroken, 502),
        (502, UpstreamBroken, 502),
        (503, Overloaded, 503),
        (504, UpstreamTimeout, 504),
        (520, UpstreamBroken, 502),
        (524, UpstreamTimeout, 504),
        (530, UpstreamBroken, 502),
        (302, UpstreamBroken, 502),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!DOCTYPE html><html><head><title>Oh</title></head>secret</html>",
        b"upstream went away",
        b"null",
        b"[]",
        b"{}",
        b'{"success":false}',
        b'{"success":false,"errors":[],"result":null}',
        b'{"errors":[{"code":999999,"message":"new"}]}',
        b'{"errors":["text"]}',
        b'{"error":',
        b"\xff\xfe",
    ],
)
def test_a_status_decides_where_no_code_is_known(status, error, our_status, body) -> None:
    found = failure(status, body)
    assert type(found) is error
    assert found.status == our_status
    assert found.message
    assert "<" not in found.message
    assert "secret" not in found.message


def test_limits_say_how_long_to_wait() -> None:
    assert failure(429, {"errors": [{"code": 3021}]}).retry_after == 10
    assert failure(429, {"errors": [{"code": 3021}]}, {"retry-after": "7"}).retry_after == 7
    busy = failure(429, {"errors": [{"code": 3040}]})
    assert (busy.retry_after, busy.type) == (2, "requests")
    assert "no capacity at the moment, try again" in busy.message
    assert failure(429, b"").retry_after == 5
    assert failure(429, b"", {"retry-after": "5"}).retry_after == 5
    assert failure(429, b"", {"Retry-After": "Mon, 21 Sep 2026 14:13:30 GMT"}).retry_after == pytest.approx(10)
    assert failure(429, b"<html><title>error code: 1015</title>").retry_after == 30
    assert failure(429, b"<html>slow down").retry_after == 30
    assert failure(429, b"error code: 1015").upstream_code == 1015


@pytest.mark.parametrize(
    ("value", "seconds"), [("-3", 0), ("999999999", 3600), ("nan", None), ("inf", None), ("soon", None), ("", None)]
)
def test_a_strange_retry_after_is_bounded(value, seconds) -> None:
    assert failure(503, b"", {"retry-after": value}).retry_after == seconds


@pytest.mark.parametrize("code", [3036, 4006])
def test_a_spent_quota_ends_at_midnight(code) -> None:
    found = failure(429, {"errors": [{"code": code, "message": "4006: used"}]}, {"retry-after": "5"})
    left = math.ceil(86_400 - NOW % 86_400)
    assert found.retry_after == left
    assert f"00:00 UTC, in {left} seconds" in found.message
    assert found.should_retry is False
    assert found.type == "insufficient_quota"


def test_our_credentials_are_not_the_clients() -> None:
    found = failure(401, {"errors": [{"code": 10000, "message": f"Authentication error {ACCOUNT}"}]})
    assert found.should_retry is False
    assert "Operator" in found.message
    assert ACCOUNT not in found.message
    # Waiting does not mend credentials.
    assert failure(401, b"", {"retry-after": "5"}).retry_after is None


@pytest.mark.parametrize(
    "text",
    [
        "AiError: This model's maximum context length is 24000 tokens. However, you requested 4096 output tokens.",
        "max_completion_tokens is too large: 999999",
        "The estimated number of input and maximum output tokens (9) exceeded this model context window limit (8)",
    ],
)
@pytest.mark.parametrize("code", [8007, 5021])
def test_a_full_context_window_has_openais_code(text, code) -> None:
    found = failure(400, {"errors": [{"code": code, "message": text}]})
    assert type(found) is BadRequest
    assert (found.code, found.param, found.upstream_code) == ("context_length_exceeded", "messages", code)


def test_unmet_json_mode_is_not_the_clients_fault() -> None:
    found = failure(400, {"errors": [{"code": 5025, "message": "AiError: JSON Mode couldn't be met"}]})
    assert (type(found), found.code) == (UpstreamBroken, "json_mode_not_met")


@pytest.mark.parametrize(
    ("text", "message", "param"),
    [
        (
            (
                "AiError: Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt', "
                "Type mismatch of '/messages/0/content', 'array' not in 'string', "
                "required properties at '/' are 'input'"
            ),
            "Workers AI did not accept the request: messages[0].content must be string, not array.",
            "messages[0].content",
        ),
        (
            "AiError: Bad input: Error: required properties at '/tools/0/function' are 'name,parameters'",
            "Workers AI did not accept the request: tools[0].function needs name and parameters.",
            "tools[0].function",
        ),
        (
            "AiError: Bad input: Error: oneOf at '/' not met, 2 matches",
            "Workers AI did not accept the request: it fits more than one form of this model's input.",
            None,
        ),
        (
            "AiError: Bad input: Error: required properties at '/' are 'text'",
            "Workers AI did not accept the request: it needs text.",
            None,
        ),
        (
            "AiError: Bad input: Error: oneOf at '/' not met, 0 matches: required properties at '/' are 'prompt'",
            "Workers AI did not accept the request: it does not fit this model's input.",
            None,
        ),
        (
            'AiError: Bad input: {"type":"object","properties":{}}',
            "Workers AI did not accept the request: it does not fit this model's input.",
            None,
        ),
        ("AiError: Bad input: Error: too odd.", "Workers AI did not accept the request: too odd.", None),
        ("", "The request is invalid.", None),
    ],
)
def test_the_validators_words_become_one_sentence(text, message, param) -> None:
    found = failure(400, {"errors": [{"code": 5006, "message": text}]})
    assert (found.message, found.param, found.upstream_code) == (message, param, 5006)


def test_shown_texts_hold_no_secrets_and_no_prompt() -> None:
    text = (
        f"AiError: bad thing at {ACCOUNT} with cfut_abcDEF123 (1b2c3d4e-0000-4000-8000-aaaaaaaaaaaa)"
        " [type=enum, input_value='my secret', input_type=str]"
    )
    message = failure(400, {"errors": [{"code": 8007, "message": text}]}).message
    assert message == "bad thing at [account] with [token] [type=enum"
    assert len(failure(400, {"error": "x" * 5000}).message) <= 400


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [], "error": None},
        {"result": {}, "success": True, "errors": [{"code": 1}]},
        {"response": "x", "errors": []},
        {"object": "response", "error": None, "output": []},
    ],
)
def test_an_answer_is_no_failure(payload) -> None:
    assert frame_failure(payload, NOW) is None


def test_an_engines_status_in_a_frame_counts() -> None:
    found = frame_failure({"error": {"message": "bad effort", "type": "BadRequestError", "code": 400}}, NOW)
    assert (type(found), found and found.message) == (BadRequest, "bad effort")
    assert type(frame_failure({"error": "no"}, NOW)) is UpstreamBroken
    assert type(frame_failure({"success": False}, NOW)) is UpstreamBroken


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "errors", "code", "message", "success", "internalCode", "httpCode", "result"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.integers(100, 999), JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
def test_no_failure_fails(status, body) -> None:
    found = read_failure(status, {}, body, NOW)
    assert isinstance(found, ApiError)
    assert 400 <= found.status < 600
    assert isinstance(found.message, str)
    assert found.message


def test_only_the_beginning_of_a_body_is_read() -> None:
    found = failure(500, b"(" * 10_000_000)
    assert type(found) is UpstreamBroken
    assert type(failure(400, b" " * 70_000 + b'{"errors":[{"code":5007}]}')) is BadRequest


def test_no_room_for_a_forced_call_names_the_limit():
    text = "AiError: max_tokens is too small for the forced tool call"
    found = failure(400, {"errors": [{"code": 8006, "message": text}]})
    assert (found.param, found.message) == ("max_tokens", "max_tokens is too small for the forced tool call")


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [("250", 0.25), ("0", 0), ("86400000", 3600), ("-1", 7), ("soon", 7), ("nan", 7), ("1e999", 7), ("", 7)],
)
def test_milliseconds_go_before_seconds(milliseconds, seconds):
    assert failure(429, b"", {"retry-after": "7", "retry-after-ms": milliseconds}).retry_after == seconds


@pytest.mark.parametrize("piece", ["[", " ", "(", "exceed", "' ", "Type mismatch of '/a'", "(0123", "a b ", "1:"])
@pytest.mark.parametrize("code", [5006, 8007])
def test_a_long_text_takes_no_time_with_the_square_of_its_length(code, piece):
    body = json.dumps({"errors": [{"code": code, "message": piece * (60_000 // len(piece))}]}).encode()
    began = time.process_time()
    read_failure(400, {}, body, NOW)
    assert time.process_time() - began < 1
