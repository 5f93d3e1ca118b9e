"""Who may reach what: every route of the application, taken from its router, with every kind of key."""

import json
import re
import socket

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route, WebSocketRoute

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving

ONE, TWO, ADMIN = "sk-one-0123456789abcdef", "sk-two-0123456789abcdef", "admin-0123456789abcdefghij"
PUBLIC = {"/healthz", "/readyz"}


@pytest.fixture(scope="module")
def app(emulator):
    return create_app(settings_for(emulator, api_keys=f"{ONE},{TWO}", admin_key=ADMIN))


@pytest.fixture(scope="module")
def address(app):
    with serving(app) as address:
        yield address


def routes_of(router):
    """Every route, those of included routers among them."""
    for route in router.routes:
        if hasattr(route, "original_router"):
            yield from routes_of(route.original_router)
        else:
            assert isinstance(route, Route | APIRoute | WebSocketRoute), f"a kind that is not looked at: {route}"
            yield route


def calls(app):
    """Every method and path of every route; what stands for an id in a path is made up."""
    found = []
    for route in routes_of(app.router):
        path = re.sub(r"\{[^}]*\}", "no-such-thing", route.path)
        methods = {"GET"} if isinstance(route, WebSocketRoute) else route.methods
        found += [(method, path) for method in sorted(methods)]
    return found


def status(address, method, path, key=None, **more):
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.request(method, f"{address}{path}", headers=headers, json={}, trust_env=False, **more)


def test_every_route_is_closed_without_its_key(app, address):
    routes = calls(app)
    assert len(routes) > 40
    assert {path for _, path in routes} >= PUBLIC | {"/v1/chat/completions", "/admin/keys", "/v1/responses"}
    with httpx.Client(base_url=address, trust_env=False) as client:
        for method, path in routes:
            for key in (None, "sk-nobody-0123456789abcdef"):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                answer = client.request(method, path, headers=headers, json={})
                assert answer.status_code == (200 if path in PUBLIC else 401), (method, path, key)
                if answer.status_code == 401 and method != "HEAD":
                    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_an_ordinary_key_does_not_administer_and_the_admin_key_does_nothing_else(app, address):
    with httpx.Client(base_url=address, trust_env=False) as client:
        for method, path in calls(app):
            if path in PUBLIC:
                continue
            is_admin = path.startswith("/admin") or path == "/metrics"
            for key, allowed in ((ONE, not is_admin), (ADMIN, is_admin)):
                answer = client.request(method, path, headers={"authorization": f"Bearer {key}"}, json={})
                assert (answer.status_code == 403) != allowed, (method, path, key, answer.status_code)
                assert answer.status_code not in {401, 422, 500}, (method, path, answer.status_code)


def raw(address, request):
    """Send bytes as they are; return the status of the answer, or 0 when the connection was just closed."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        answer = connection.recv(65536)
    match = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return int(match[1]) if match else 0


TRICKS = [
    "//v1/models",
    "/v1//models",
    "/./v1/models",
    "/healthz/../v1/models",
    "/healthz/..%2fv1/models",
    "/healthz%2f..%2fv1%2fmodels",
    "/healthz/%2e%2e/v1/models",
    "/healthz;/v1/models",
    "/healthz%00/v1/models",
    "/healthz%3f/v1/models",
    "/v1/models?/healthz",
    "/v1/models#/healthz",
    "/v1/models%23/healthz",
    "/V1/MODELS",
    "/v1/models/",
    "/%76%31/models",
    "/v1%2fmodels",
    "/v1\\models",
    "/readyz/",
    "//readyz/../v1/models",
    "/admin/../v1/models",
    "/v1/../admin/keys",
    "/%61dmin/keys",
    "//admin/keys",
    "/admin%2fkeys",
    "/ADMIN/keys",
    "/v1/admin/keys",
    "/healthz/..;/admin/keys",
    "http://localhost/v1/models",
    "http://localhost/healthz/../v1/models",
    "http://user@localhost/admin/keys",
    "http://healthz/v1/models",
    "/v1/images/temporary/../../models",
    "/v1/images/temporary/%2e%2e/%2e%2e/models",
    "/v1/images/temporary/00000000000000000000000000000000/../../../models",
    "/v1/images/temporary/00000000000000000000000000000000%0a",
    "*",
]


@pytest.mark.parametrize("host", ["localhost", "localhost/healthz", "/healthz?", "127.0.0.1:1/readyz#", "evil.example"])
@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_with_a_path_or_a_host_opens_anything(address, trick, host):
    for method in ("GET", "POST", "OPTIONS", "HEAD"):
        head = f"{method} {trick} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Prefix: /healthz\r\n"
        head += "X-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        assert raw(address, head.encode()) in {0, 400, 401}, (method, trick)


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if "admin" in trick.lower() or "%61" in trick])
def test_no_trick_lets_an_ordinary_key_administer(address, trick):
    for method in ("GET", "POST"):
        head = f"{method} {trick} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ONE}\r\n"
        head += "Connection: close\r\nContent-Length: 0\r\n\r\n"
        assert raw(address, head.encode()) in {0, 400, 403, 404}, (method, trick)


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Basic c2stb25lOg==",
        f"Authorization: bearer{ONE}",
        f"Authorization: Token {ONE}",
        f"Authorization: Bearer {ONE},{TWO}",
        f"Authorization: Bearer {ONE[:-1]}",
        f"Authorization: Bearer {ONE}x",
        f"Authorization: Bearer {ONE.upper()}",
        f"Proxy-Authorization: Bearer {ONE}",
        f"X-Api-Key: {ONE}x",
        "Authorization: Bearer",
        "Authorization: Bearer \x00",
        "Authorization: Bearer \xff\xfe",
    ],
)
def test_what_is_not_quite_a_key_opens_nothing(address, header):
    head = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{header}\r\nConnection: close\r\n\r\n"
    assert raw(address, head.encode("latin-1")) in {0, 400, 401}


def test_what_one_key_made_does_not_exist_for_another(app, address):
    with (
        httpx.Client(base_url=f"{address}/v1", headers={"authorization": f"Bearer {ONE}"}, trust_env=False) as owner,
        httpx.Client(base_url=f"{address}/v1", headers={"authorization": f"Bearer {TWO}"}, trust_env=False) as other,
    ):
        response = owner.post("/responses", json={"model": "gpt-oss-20b", "input": "Hello"}).json()["id"]
        item = {"type": "message", "role": "user", "content": "Hello"}
        made = owner.post("/conversations", json={"items": [item]}).json()["id"]
        held = owner.get(f"/conversations/{made}/items").json()["data"][0]["id"]
        line = {
            "custom_id": "one",
            "method": "POST",
            "url": "/v1/responses",
            "body": {"model": "gpt-oss-20b", "input": "Hello"},
        }
        upload = {"file": ("lines.jsonl", json.dumps(line).encode())}
        file = owner.post("/files", data={"purpose": "batch"}, files=upload).json()["id"]
        asked = {"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"}
        batch = owner.post("/batches", json=asked).json()["id"]
        ids = {
            "response_id": response,
            "conversation_id": made,
            "item_id": held,
            "file_id": file,
            "batch_id": batch,
        }
        tried = 0
        for route in routes_of(app.router):
            names = re.findall(r"\{(\w+)", route.path)
            # A picture's name is all that it takes to see it.
            if not route.path.startswith("/v1/") or not names or "model" in names or "/temporary/" in route.path:
                continue
            path = route.path.removeprefix("/v1")
            for name in names:
                path = path.replace(f"{{{name}}}", ids[name])
            for method in sorted(route.methods - {"DELETE"}):
                assert owner.request(method, path, json={}).status_code != 404, (method, path)
            for method in sorted(route.methods):
                theirs = other.request(method, path, json={"items": [item]})
                missing = re.sub(r"(resp_|conv_|file-|batch_)\w+", r"\g<1>" + "0" * 32, path)
                nobodys = other.request(method, missing, json={"items": [item]})
                assert theirs.status_code == nobodys.status_code == 404, (method, path)
                tried += 1
        assert tried >= 14
        for body in ({"previous_response_id": response}, {"conversation": made}):
            answer = other.post("/responses", json={"model": "gpt-oss-20b", "input": "And?", **body})
            assert answer.status_code in {400, 404}, body
        assert owner.get(f"/responses/{response}").status_code == 200
        assert owner.get(f"/conversations/{made}").status_code == 200
