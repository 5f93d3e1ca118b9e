"""What images are by their bytes, and what becomes of ``data:`` URIs."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import BadRequest
from app.fetch.pictures import check_data_uri, to_data_uri
from app.wire.kinds import picture_kind

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
JPEG = b"\xff\xd8\xff\xe0" + bytes(50)
GIF = b"GIF89a" + bytes(50)
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(20)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
PARAM = "messages[0].content[1].image_url"
LIMIT = 1024 * 1024


def uri(data, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def refusal(text, limit=LIMIT):
    with pytest.raises(BadRequest) as refused:
        check_data_uri(text, PARAM, limit)
    error = refused.value
    assert (error.status, error.param, error.code) == (400, PARAM, "invalid_image_url")
    return error.message


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (GIF, "image/gif"),
        (b"GIF87a" + GIF[6:], "image/gif"),
        (WEBP, "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", None),
        (SVG, None),
        (b"", None),
        (b"\x89PNG", None),
    ],
)
def test_types_by_content(data, kind):
    assert picture_kind(data) == kind


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (GIF, "image/gif"), (WEBP, "image/webp")]
)
def test_good_uris_stay_as_they_are(data, kind):
    given_uri = to_data_uri(data, kind)
    assert given_uri == uri(data, kind)
    assert check_data_uri(given_uri, PARAM, LIMIT) == (given_uri, len(data))


@pytest.mark.parametrize("declared", ["image/jpg", "image/jpeg", "", "application/octet-stream", "image/png;charset=x"])
def test_wrong_media_types_are_put_right(declared):
    assert check_data_uri(uri(PNG, declared), PARAM, LIMIT)[0] == uri(PNG)


def test_line_breaks_are_taken_out():
    broken = "data:image/png;base64," + base64.encodebytes(PNG).decode()
    assert check_data_uri(broken, PARAM, LIMIT) == (uri(PNG), len(PNG))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data:image/png;base64,A", "not valid base64"),
        ("data:image/png;base64,!!!!", "not valid base64"),
        ("data:image/png;base64,AAAA=AAA", "not valid base64"),
        ("data:image/png;base64,ÄÄÄÄ", "not valid base64"),
        ("data:image/png;base64,\ud800AAA", "not valid base64"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png,rawbytes", "base64 'data:' URI"),
        ("data:image/png;base64", "base64 'data:' URI"),
        ("data:", "base64 'data:' URI"),
        ("data:image/svg+xml;utf8,<svg/>", "base64 'data:' URI"),
        (uri(SVG, "image/svg+xml"), "an SVG image"),
        (uri(SVG, "image/png"), "an SVG image"),
        (uri(b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->\n' + SVG, "image/png"), "an SVG image"),
        (uri(PNG, "image/svg+xml"), "an SVG image"),
        (uri(b"<!DOCTYPE html><p>hello"), "a web page"),
        (uri(b"\x00\x00\x00\x20ftypavif"), "an AVIF image"),
        (uri(b"\x00\x00\x00\x20ftypheic"), "a HEIF image"),
        (uri(b"BM" + bytes(40)), "a BMP image"),
        (uri(b"%PDF-1.4"), "a PDF document"),
        (uri(b"II*\x00"), "a TIFF image"),
        (uri(b"hello"), "not an image of a known kind"),
    ],
)
def test_bad_uris(text, said):
    assert said in refusal(text)


def test_size():
    data = PNG + bytes(LIMIT)
    assert "larger than 1 MiB" in refusal(uri(data))
    assert "larger than 1 MiB" in refusal("data:image/png;base64," + "!" * (2 * LIMIT))
    exact = PNG + bytes(LIMIT - len(PNG))
    assert check_data_uri(uri(exact), PARAM, LIMIT)[1] == LIMIT


@given(st.text(max_size=60))
def test_anything_is_checked_or_refused(text):
    try:
        checked, _ = check_data_uri("data:" + text, PARAM, LIMIT)
    except BadRequest:
        return
    assert checked.startswith("data:image/")
