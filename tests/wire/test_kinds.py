"""What pictures and sounds are, by their bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.kinds import HEAD_BYTES, picture_kind, sound_kind

SOUNDS = {
    b"RIFF\0\0\0\0WAVEfmt ": "audio/wav",
    b"fLaC\0\0\0\x22": "audio/flac",
    b"OggS\0\x02": "audio/ogg",
    b"\x1a\x45\xdf\xa3\x01": "audio/webm",
    b"\0\0\0\x20ftypM4A ": "audio/mp4",
    b"\0\0\0\x18ftypmp42": "audio/mp4",
    b"ID3\x04\0": "audio/mpeg",
    b"\xff\xfb\x90\x64": "audio/mpeg",
    b"\xff\xf3\x44\xc4": "audio/mpeg",
    b"\xff\xf1\x50\x80": "audio/aac",
    b"\xff\xf9\x4c\x80": "audio/aac",
}


@pytest.mark.parametrize(("head", "kind"), SOUNDS.items())
def test_sounds(head, kind):
    assert sound_kind(head) == sound_kind(head + bytes(HEAD_BYTES)) == kind
    assert picture_kind(head) is None


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"text",
        b"RIFF\0\0\0\0WEBPVP8 ",
        b"\xff\xd8\xff\xe0",  # JPEG
        b"\xff\xff\xff\xff",  # the bit rate and the frequency that there are not
        b"\xff\xfb\x00\x00",
        b"\xff\xea\x90\x64",  # a version that there is not
        b"\xff\xf1\x7c\x80",
        b"\xff\xfb",
        b"<html>",
    ],
)
def test_what_is_no_sound(head):
    assert sound_kind(head) is None


@given(st.binary(max_size=64))
def test_any_bytes_can_be_looked_at(head):
    assert sound_kind(head) in {None, *SOUNDS.values()}
    assert picture_kind(head) in {None, "image/png", "image/jpeg", "image/gif", "image/webp"}
