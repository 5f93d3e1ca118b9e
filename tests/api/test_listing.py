"""The tables of routes: what is served is listed, what of OpenAI's API is not is listed too, with a reason."""

import re
from pathlib import Path

import httpx
import openai
import pytest
from starlette.routing import WebSocketRoute

from app.api.listing import SERVED, UNSERVED, served_table, unserved_table, why_unserved
from app.main import create_app
from tests.conftest import settings_for
from tests.e2e.test_authorisation import routes_of
from tests.serving import serving

HIDDEN = {"HEAD"}
KEY = "sk-listing-0123456789abcdef"
OURS = {"/v1/images/temporary/{}"}
"""Not OpenAI's, and only ever asked for by the whole URL that we tell."""


def bare(path):
    """A path with its ids without names, since the SDK, the router and the documentation name them differently."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def paths_of_the_sdk():
    """Every path that a method of the SDK posts to or gets."""
    found = set()
    for source in (Path(openai.__file__).parent / "resources").rglob("*.py"):
        text = source.read_text("utf-8")
        calls = re.findall(r"(?:_get|_post|_put|_patch|_delete|_get_api_list|path_template)\(\s*f?\"(/[^\"?]+)", text)
        found |= {bare(path) for path in calls}
    return found


@pytest.fixture(scope="module")
def app():
    return create_app(settings_for("http://127.0.0.1:1", admin_key="admin-0123456789abcdefghij", api_keys=KEY))


def served(app):
    found = set()
    for route in routes_of(app.router):
        methods = {"GET"} if isinstance(route, WebSocketRoute) else route.methods - HIDDEN
        found |= {(method, bare(route.path)) for method in methods}
    return found


def test_the_table_has_every_route_and_no_other(app):
    routes = served(app)
    with_version = {
        (method, path) for method, path in routes if path.startswith("/v1/") or (method, f"/v1{path}") not in routes
    }
    assert {(method, bare(route.path)) for route in SERVED for method in route.methods} == with_version


def test_every_route_of_openais_is_served_without_the_version_too(app):
    routes = served(app)
    openais = {(method, path) for method, path in routes if path.startswith("/v1/") and path not in OURS}
    assert {(method, path.removeprefix("/v1")) for method, path in openais} <= routes


def test_what_the_sdk_can_ask_for_is_served_or_has_a_reason_why_not(app):
    paths = paths_of_the_sdk()
    assert len(paths) > 150
    assert {"/chat/completions", "/embeddings", "/vector_stores/{}/files/{}"} <= paths
    known = {path.removeprefix("/v1") for _, path in served(app)}
    assert {path for path in paths if path not in known and why_unserved(path) is None} == set()


def test_what_is_served_has_no_reason_why_not(app):
    assert {path for _, path in served(app) if why_unserved(path) is not None} == set()


def test_every_reason_is_for_something_that_the_sdk_can_ask_for():
    paths = paths_of_the_sdk()
    for head in UNSERVED:
        assert any(path == bare(head) or path.startswith(f"{bare(head)}/") for path in paths), head


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/v1/threads", False),
        ("/threads/thread_1/runs", False),
        ("/v1/chat/completions/chatcmpl-1", False),
        ("/v1/chat/completions/chatcmpl-1/messages", False),
        ("/v1/threadsomething", True),
        ("/v1/chat/completions", True),
        ("/v1/nothing", True),
        ("/", True),
    ],
)
def test_a_reason_is_for_a_path_and_all_below_it(path, served):
    assert (why_unserved(path) is None) == served


def test_what_is_not_served_answers_404_in_openais_form_with_the_reason(app):
    headers = {"authorization": f"Bearer {KEY}"}
    with serving(app) as address, httpx.Client(base_url=address, headers=headers, trust_env=False) as client:
        for head, reason in UNSERVED.items():
            for prefix in ("/v1", ""):
                for method in ("GET", "POST", "DELETE"):
                    answer = client.request(method, prefix + head.replace("{completion_id}", "id"), json={})
                    error = answer.json()["error"]
                    assert (answer.status_code, error["type"]) == (404, "invalid_request_error"), head
                    assert set(error) == {"message", "type", "param", "code"}
                    assert reason in error["message"]
        unknown = client.post("/v1/nothing", json={})
        assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "Invalid URL (POST /v1/nothing).")


def test_the_tables_tell_every_row():
    assert len(served_table().splitlines()) == len(SERVED) + 2
    assert len(unserved_table().splitlines()) == len(UNSERVED) + 2
