"""The manners of the server itself: paths, methods, bodies, headers, keys."""

import pytest

from app.main import create_app
from tests.e2e.conftest import settings_for
from tests.serving import serving

CHAT = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hello"}]}


def test_health_needs_no_key(http):
    assert http.get("/healthz").json()["status"] == "ok"
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions"])
def test_the_base_url_may_lack_the_version(http, path):
    assert http.post(path, json=CHAT).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("POST", "/v1/v1/chat/completions", 404, None),
        ("POST", "/v1/assistants", 404, None),
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("DELETE", "/v1/models", 405, "method_not_supported"),
        ("GET", "/", 404, None),
        ("GET", "/docs", 404, None),
    ],
)
def test_unknown_paths_and_methods_get_the_error_object(http, method, path, status, code):
    answer = http.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (status, "invalid_request_error", code)
    assert answer.headers["x-request-id"].startswith("req_")


def test_a_doubled_base_url_gets_a_hint(http):
    assert "/v1" in http.post("/v1/v1/chat/completions", json=CHAT).json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"[" * 20000, b"a=b&c=d", b'{"model":1}'],
)
def test_a_malformed_body_is_400(http, path, body):
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_compressed_body_is_refused_clearly(http):
    answer = http.post("/v1/chat/completions", content=b"x", headers={"content-encoding": "gzip"})
    assert answer.status_code == 400
    assert "ompressed" in answer.json()["error"]["message"]


def test_request_ids_are_taken_and_given(http):
    answer = http.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["openai-version"] == "2020-10-01"
    for bad in ("x" * 200, "a b"):
        assert http.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"].startswith("req_")


def test_without_keys_foreign_web_pages_are_refused(http):
    answer = http.post("/v1/chat/completions", json=CHAT, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert http.post("/v1/chat/completions", json=CHAT, headers={"origin": "http://localhost:3000"}).status_code == 200


@pytest.fixture(scope="module")
def guarded(emulator):
    settings = settings_for(emulator, api_keys="sk-one-0123456789abcdef,sk-two-0123456789abcdef", max_body_bytes=2048)
    with serving(create_app(settings)) as address:
        yield address


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer sk-wrong", 401),
        ("Bearer", 401),
        ("Basic c2stb25l", 401),
        ("sk-one-0123456789abcdef", 401),
        ("Bearer sk-one-0123456789abcdef", 200),
        ("bearer sk-two-0123456789abcdef", 200),
    ],
)
def test_keys(guarded, http, authorization, status):
    headers = {"authorization": authorization} if authorization else {}
    answer = http.post(f"{guarded}/v1/chat/completions", json=CHAT, headers=headers)
    assert answer.status_code == status
    if status == 401:
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        assert "0123456789" not in error["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "//v1/models", "/healthz/", "/%68ealthz/x"])
def test_everything_else_wants_a_key(guarded, http, path):
    assert http.get(f"{guarded}{path}").status_code == 401


def test_a_body_past_the_bound_is_413(guarded, http):
    body = {**CHAT, "user": "x" * 4000}
    answer = http.post(
        f"{guarded}/v1/chat/completions", json=body, headers={"authorization": "Bearer sk-one-0123456789abcdef"}
    )
    assert answer.status_code == 413
    assert "2048" in answer.json()["error"]["message"]
