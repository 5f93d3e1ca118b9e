"""Cutting a byte stream into frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.sse import Framer, FrameTooLargeError

CASES = {
    "one frame": (b"data: a\n\n", [b"a"]),
    "no space": (b"data:a\n\n", [b"a"]),
    "only one space is taken": (b"data:  a\n\n", [b" a"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed ends": (b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"]),
    "several lines": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "an empty data line": (b"data\n\n", [b""]),
    "comments": (b": hello\n\n: again\ndata: a\n\n", [b"a"]),
    "other fields": (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
    "an event without data": (b"event: ping\n\ndata: a\n\n", [b"a"]),
    "no frame at the end of nothing": (b"\n\n\n", []),
    "unterminated": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "a line separator inside JSON is data": ('data: "a\u2028b\x85c"\n\n'.encode(), ['"a\u2028b\x85c"'.encode()]),
    "a field that only begins like data": (b"database: a\n\n", []),
}


def run(*blocks):
    framer = Framer()
    return [payload for block in blocks for payload in framer.feed(block)] + framer.close()


@pytest.mark.parametrize(("stream", "payloads"), CASES.values(), ids=CASES)
def test_whole_split_and_byte_by_byte(stream, payloads):
    assert run(stream) == payloads
    assert run(*(stream[i : i + 1] for i in range(len(stream)))) == payloads
    for cut in range(len(stream) + 1):
        assert run(stream[:cut], stream[cut:]) == payloads


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"data:", b"data: ", b"x", b":", b"\xef\xbb\xbf"]), max_size=14), st.data()
)
def test_where_the_network_cuts_never_matters(pieces, data):
    stream = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    blocks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert run(*blocks) == run(stream)


def test_frames_are_given_as_soon_as_they_are_complete():
    framer = Framer()
    assert framer.feed(b"data: a\n") == []
    assert framer.feed(b"\ndata: b\n\ndata: ") == [b"a", b"b"]


@pytest.mark.parametrize("blocks", [[b"data: " + b"x" * 100], [b"x" * 30] * 3, [b"data: xxxxxxxxxx\n"] * 8])
def test_a_frame_past_the_bound_is_refused(blocks):
    framer = Framer(max_bytes=64)
    with pytest.raises(FrameTooLargeError):
        for block in blocks:
            framer.feed(block)


def test_many_small_frames_are_not_one_large_one():
    framer = Framer(max_bytes=64)
    assert sum(len(framer.feed(b"data: " + b"x" * 40 + b"\n\n")) for _ in range(100)) == 100
