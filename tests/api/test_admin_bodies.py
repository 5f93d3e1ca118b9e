"""What the administration is sent: everything that is malformed is refused with its place, and changes nothing."""

import asyncio
import json

import pytest
from fastapi import Request

from app.api.bodies import read_object
from app.core.errors import BadRequest
from tests.api.conftest import NOW, create


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1_798_761_600, 1_798_761_600),
        (1_798_761_600.5, 1_798_761_600),
        ("2027-01-01", 1_798_761_600),
        ("2027-01-01T00:00:00+00:00", 1_798_761_600),
        ("2027-01-01T02:00:00+02:00", 1_798_761_600),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        (None, None),
    ],
)
async def test_when_a_key_expires(http, given, seconds):
    assert (await create(http, expires_at=given))["expires_at"] == seconds


MALFORMED = [
    # Not a JSON object.
    (b"{", None, None),
    (b"\xff", None, None),
    (b'{"name": NaN}', None, None),
    (b"[]", None, None),
    (b'"search"', None, None),
    (b"null", None, None),
    (b'{"name":' + b"[" * 5_000 + b"]" * 5_000 + b"}", None, None),
    # Names of fields.
    ({"name": "a", "requests_per_min": 5}, "requests_per_min", "unknown_parameter"),
    ({"name": "a", "limits": {"requests_per_minute": 5}}, "limits", "unknown_parameter"),
    ({"name": "a", "id": "key-mine"}, "id", "unknown_parameter"),
    ({"name": "a", "revoked_at": None}, "revoked_at", "unknown_parameter"),
    ({"name": "a", "x" * 500: 1}, "x" * 64, "unknown_parameter"),
    # Values.
    (b"", "name", "missing_required_parameter"),
    ({}, "name", "missing_required_parameter"),
    ({"name": None}, "name", "invalid_type"),
    ({"name": 5}, "name", "invalid_type"),
    ({"name": ""}, "name", "invalid_value"),
    ({"name": "  "}, "name", "invalid_value"),
    ({"name": "a\nb"}, "name", "invalid_value"),
    ({"name": "a\0b"}, "name", "invalid_value"),
    ({"name": "a" * 101}, "name", "invalid_value"),
    ({"name": "a", "models": "gpt-oss-120b"}, "models", "invalid_type"),
    ({"name": "a", "models": ["a", 5]}, "models[1]", "invalid_type"),
    ({"name": "a", "models": [""]}, "models", "invalid_value"),
    ({"name": "a", "models": ["x"] * 101}, "models", "invalid_value"),
    ({"name": "a", "models": ["x" * 201]}, "models", "invalid_value"),
    ({"name": "a", "expires_at": True}, "expires_at", "invalid_type"),
    ({"name": "a", "expires_at": []}, "expires_at", "invalid_type"),
    ({"name": "a", "expires_at": "soon"}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": "2027-01-01T00:00:00"}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": ""}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": NOW}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": -1}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": 1_798_761_600_000}, "expires_at", "invalid_value"),
    ({"name": "a", "expires_at": 10**18}, "expires_at", "invalid_value"),
    ({"name": "a", "requests_per_minute": "5"}, "requests_per_minute", "invalid_type"),
    ({"name": "a", "requests_per_minute": True}, "requests_per_minute", "invalid_type"),
    ({"name": "a", "requests_per_minute": 1.5}, "requests_per_minute", "invalid_type"),
    ({"name": "a", "requests_per_minute": 0}, "requests_per_minute", "integer_below_min_value"),
    ({"name": "a", "concurrency": -1}, "concurrency", "integer_below_min_value"),
    ({"name": "a", "tokens_per_day": 10**9 + 1}, "tokens_per_day", "integer_above_max_value"),
    (b'{"name":"a","tokens_per_day":1e300}', "tokens_per_day", "integer_above_max_value"),
    ({"name": "a", "usd_per_day": "1"}, "usd_per_day", "invalid_type"),
    ({"name": "a", "usd_per_day": 0}, "usd_per_day", "decimal_below_min_value"),
    ({"name": "a", "neurons_per_month": 1e10}, "neurons_per_month", "decimal_above_max_value"),
    ({"name": "a", "metadata": []}, "metadata", "invalid_type"),
    ({"name": "a", "metadata": {"a": 5}}, "metadata.a", "invalid_type"),
    ({"name": "a", "metadata": {"a": None}}, "metadata.a", "missing_required_parameter"),
    ({"name": "a", "metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties"),
    ({"name": "a", "metadata": {"a" * 65: ""}}, "metadata", "string_above_max_length"),
    ({"name": "a", "metadata": {"a": "b" * 513}}, "metadata.a", "string_above_max_length"),
    ({"name": "a", "metadata": {"a": "b\nc"}}, "metadata", "invalid_value"),
]


@pytest.mark.parametrize(("body", "param", "code"), MALFORMED)
@pytest.mark.parametrize("change", [False, True])
async def test_malformed_bodies(http, world, body, param, code, change):
    path, method = "/admin/keys", "POST"
    if change:
        path, method = f"/admin/keys/{(await create(http))['id']}", "PATCH"
    before = dict(world.records.kept)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await http.request(method, path, content=raw)
    if change and code == "missing_required_parameter" and param == "name":
        assert answer.status_code == 200
    else:
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
        assert len(error["message"]) < 500
    assert world.records.kept == before


async def test_a_misspelt_limit_is_told_what_was_meant(http):
    answer = await http.post("/admin/keys", json={"name": "a", "request_per_minute": 5})
    assert "did you mean requests_per_minute?" in answer.json()["error"]["message"]


async def test_a_key_does_not_go_where_it_could_be_read(http):
    secret = (await create(http))["key"]
    for body in ({"name": secret}, {"name": "a", "metadata": {"key": secret}}, {"name": "a", "models": [secret]}):
        answer = await http.post("/admin/keys", json=body)
        assert answer.status_code == 400
        assert secret not in answer.text


async def test_a_body_is_bounded(http, world):
    async def endless():
        for _ in range(100_000):
            yield b" " * 1_000
            await asyncio.sleep(0)
        raise AssertionError("it was read to its end")

    answer = await http.post("/admin/keys", content=endless())
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert world.records.kept == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"keep_seconds": -1}, "integer_below_min_value"),
        ({"keep_seconds": 2_592_001}, "integer_above_max_value"),
        ({"keep_seconds": "60"}, "invalid_type"),
        ({"keep_second": 60}, "unknown_parameter"),
    ],
)
async def test_a_rotation_that_is_malformed_rotates_nothing(http, world, body, code):
    made = await create(http)
    answer = await http.post(f"/admin/keys/{made['id']}/rotate", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert answer.json()["error"]["param"] == next(iter(body))
    assert world.seen.accepts(made["key"])


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_defect():
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(messages)

    with pytest.raises(BadRequest):
        await read_object(Request({"type": "http", "headers": []}, receive))
