"""A client that hangs up closes the upstream at once."""

import socket
from urllib.parse import urlsplit

import pytest

from app.wire.codec import encode
from tests.serving import until

CASES = {
    "waiting for the first byte": ("slow-first", b""),
    "within a stream": ("stall", b"data: "),
    "waiting for ever": ("hang", b""),
}


def in_flight(control):
    return control.get("/streams").json()["in_flight"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(("scenario", "wait_for"), CASES.values(), ids=CASES)
def test_a_hang_up_closes_the_upstream(proxy, control, path, stream, scenario, wait_for):
    content = [{"role": "user", "content": "Write 60 words."}]
    key = "input" if path.endswith("responses") else "messages"
    body = encode({"model": f"@cf/emulator/{scenario}", key: content, "stream": stream})
    address = urlsplit(proxy)
    with socket.create_connection((address.hostname, address.port)) as client:
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        client.sendall(head.encode() + body)
        if stream and wait_for:
            seen = b""
            while wait_for not in seen:
                seen += client.recv(4096)
        until(lambda: in_flight(control) == 1)
    until(lambda: in_flight(control) == 0, seconds=2)
    (request,) = [request for request in control.get("/requests").json() if request["method"] == "POST"]
    assert request["closed_early"] is True
