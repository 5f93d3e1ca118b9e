"""What is refused without a parser is what a parser would have found, too."""

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.server.plain import plain_request

CLIENT = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nX-Request-ID: Mine-1\r\n"
    b"Content-Length: 4\r\n\r\n1234"
)


class Parsed:
    def __init__(self, data):
        self.begun = self.heads = self.whole = 0
        self.headers = {}
        self.body = b""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_message_begin(self):
        self.begun += 1

    def on_header(self, name, value):
        self.headers[name.lower()] = value

    def on_headers_complete(self):
        self.heads += 1
        self.kept = self.parser.should_keep_alive()

    def on_body(self, body):
        self.body += body

    def on_message_complete(self):
        self.whole += 1


LINES = [
    b"Host: x\r\n",
    b"x-request-id: a b\r\n",
    b"X-Request-Id: mine\r\n",
    b"Connection: keep-alive\r\n",
    b"connection: close\r\n",
    b"Connection: Keep-Alive, x\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"a: b\ntransfer-encoding: chunked\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: websocket\r\n",
    b"Content-Length: 4\r\n",
    b"content-length:4 \r\n",
    b"content-length: +4\r\n",
    b"Content-Length : 4\r\n",
    b"content-length: 5\r\n",
    b"content-lengthy: 5\r\n",
    b" folded\r\n",
    b"\tfolded\r\n",
    b"a: \r\r\n",
    b"nonsense\r\n",
    b"\xff: \xff\r\n",
    b"\r\n",
]
FIRST = [
    b"POST /a HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET x HTTP/1.1\r\n",
]


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(FIRST), st.lists(st.sampled_from(LINES), max_size=4), st.sampled_from([b"", b"1234", b"12345"]))
@example(FIRST[0], [LINES[10]], b"1234")
@example(FIRST[0], [LINES[10], LINES[6]], b"1234")
def test_a_parser_agrees(first, lines, body):
    data = first + b"".join(lines) + b"\r\n" + body
    named = plain_request(data)
    if named is None:
        return
    try:
        parsed = Parsed(data)
    except httptools.HttpParserError:
        # No request at all: it is one answer all the same, and where the next one begins is not in doubt.
        return
    assert (parsed.begun, parsed.heads, parsed.whole) == (1, 1, 1)
    assert parsed.kept
    assert len(data) == data.index(b"\r\n\r\n") + 4 + len(parsed.body)
    assert named == parsed.headers.get(b"x-request-id", b"")


def test_those_of_clients_are_plain():
    assert plain_request(CLIENT) == b"Mine-1"
    assert plain_request(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n") == b""


@pytest.mark.parametrize("end", range(len(CLIENT)))
def test_what_is_not_whole_is_not(end):
    assert plain_request(CLIENT[:end]) is None


@pytest.mark.parametrize(
    "data",
    [
        CLIENT + b"5",
        CLIENT + CLIENT,
        CLIENT.replace(b"POST", b"HEAD"),
        CLIENT.replace(b"HTTP/1.1", b"HTTP/1.0"),
        CLIENT.replace(b"keep-alive", b"close"),
        CLIENT.replace(b"keep-alive", b"upgrade"),
        CLIENT.replace(b"Host: x", b"Expect: 100-continue"),
        CLIENT.replace(b"Host: x", b"Transfer-Encoding: chunked"),
        CLIENT.replace(b"Host: x", b"a: b\nTransfer-Encoding: chunked"),
        CLIENT.replace(b"Host: x", b"Content-Length: 4"),
        CLIENT.replace(b"Length: 4", b"Length: -4"),
        CLIENT.replace(b"Length: 4", b"Length:"),
        CLIENT.replace(b"Length: 4", "Length: ⁴".encode()),
        b"",
        b"\r\n\r\n",
    ],
)
def test_what_a_parser_has_to_tell_is_not(data):
    assert plain_request(data) is None
