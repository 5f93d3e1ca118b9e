"""A client that leaves closes the upstream at once, frees its place and is charged what was produced."""

import json

import pytest

from tests.e2e.disconnects import CASES, POINTS, world
from tests.serving import until

AT_ONCE = 1.0
"""Seconds; what it really takes, a few milliseconds, is measured by ``python -m tests.e2e.disconnects``."""


@pytest.fixture(scope="module")
def made():
    with world() as made:
        yield made


@pytest.mark.parametrize(("route", "name"), CASES, ids=[f"{route}, {name}" for route, name in CASES])
def test_a_client_leaves(made, route, name):
    point = POINTS[name]
    seconds, line = made.leave(route, name)
    assert seconds < AT_ONCE
    assert line["ending"] == "disconnected"
    assert line["status"] == (200 if point.sees and route != "background" else 499)
    if point.produced:
        assert line["prompt_tokens"] > 0
        assert line["completion_tokens"] > 0
        assert line["usage_source"] == "estimated"
    else:
        assert not line.get("completion_tokens")
    if point.whole and not point.waits:
        received = made.control.get("/requests").json()
        assert all(request["closed_early"] for request in received if request["method"] == "POST")
    until(made.is_free, seconds=2)


def test_a_follower_that_leaves_does_not_end_background_work(made):
    made.forget()
    made.control.post("/faults", json={"fault": "pause", "seconds": 0.3})
    asked = {"model": "@cf/openai/gpt-oss-120b", "input": "Say exactly: done", "background": True, "stream": True}
    with made.client.stream("POST", "/v1/responses", json=asked) as answer:
        data = next(line for line in answer.iter_lines() if line.startswith("data: "))
    response_id = json.loads(data.removeprefix("data: "))["response"]["id"]
    until(lambda: made.client.get(f"/v1/responses/{response_id}").json()["status"] == "completed")
