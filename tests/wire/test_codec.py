"""JSON in and out."""

import pytest

from app.wire.codec import CodecError, decode, decode_leniently, encode


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b'"\xff"', b"NaN", b"[1,]", b'"\\ud83d"', b"[" * 5000, b"\x00", b'{"a":1}x', b"'a'"],
)
def test_what_is_not_strict_json_is_refused(data):
    with pytest.raises(CodecError):
        decode(data)


def test_half_an_emoji_passes_leniently():
    assert decode_leniently(b'{"a":"\\ud83d","b":NaN}') == {"a": "\ud83d", "b": None}


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b"<html>"])
def test_what_is_not_json_at_all_is_refused_leniently_too(data):
    with pytest.raises(CodecError):
        decode_leniently(data)


def test_a_lone_half_is_replaced_on_the_way_out():
    assert encode({"a\ud83d": ["\ud83d\ude00", "\ud83d!", 1]}) == '{"a\ufffd":["😀","\ufffd!",1]}'.encode()
    assert encode("é\n") == '"é\\n"'.encode()
