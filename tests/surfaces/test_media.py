"""Files and images that come within a message."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import BadRequest
from app.core.request import FileContent
from app.surfaces.media import read_file, read_image

PDF = "JVBERi0="


def read(**holder):
    return read_file(holder, ("messages", 0, "content", 1, "file"))


@given(
    st.binary(min_size=1, max_size=200), st.sampled_from(["", "data:;base64,", "data:text/plain;charset=utf-8;base64,"])
)
def test_any_bytes_come_through(data, prefix):
    got = read(file_data=prefix + b64encode(data).decode(), filename="a.txt")
    assert got == FileContent("a.txt", data, "messages[0].content[1].file")


@pytest.mark.parametrize("text", ["aGVsbG8g\nd29ybGQ=\n", "aGVsbG8g\r\nd29ybGQ=", " aGVsbG8gd29ybGQ= "])
def test_lines_of_base64(text):
    assert read(file_data=text, filename="a.txt").data == b"hello world"


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        ({"file_data": f"data:application/pdf;base64,{PDF}"}, "file.pdf"),
        ({"file_data": f"DATA:Application/PDF;Base64,{PDF}"}, "file.pdf"),
        ({"file_data": PDF}, "file.pdf"),
        ({"file_data": PDF, "filename": ""}, "file.pdf"),
        ({"file_data": PDF, "filename": "report"}, "report.pdf"),
        ({"file_data": PDF, "filename": "report.PDF"}, "report.PDF"),
        ({"file_data": f"data:text/csv;base64,{PDF}", "filename": None}, "file.csv"),
        ({"file_data": "data:text/markdown;charset=utf-8;base64,aGk="}, "file.md"),
        ({"file_data": "data:video/mp4;base64,aGk=", "filename": "a b.docx"}, "a b.docx"),
        ({"file_data": "aGk=", "filename": "Bücher 日本.xlsx"}, "Bücher 日本.xlsx"),
        ({"file_data": "aGk=", "filename": "README"}, "README"),
    ],
)
def test_a_file_has_a_name_that_tells_its_kind(holder, name):
    assert read(**holder).name == name


def test_the_refusal_of_a_stored_file_quotes_its_id():
    with pytest.raises(BadRequest, match=r"does not support 'file-abc' here\. No files are stored; .*'file_data'\.$"):
        read(file_id="file-abc")


@given(st.text(max_size=40))
def test_any_text_is_base64_or_refused(text):
    data, refused = b"", None
    try:
        data = read(file_data=text, filename="a").data
    except BadRequest as error:
        refused = error.param
    assert bool(data) == (refused is None)
    assert refused in (None, "messages[0].content[1].file.file_data")


@pytest.mark.parametrize(
    ("path", "key", "param"),
    [
        (("messages", 0, "content", 1, "image_url"), "url", "messages[0].content[1].image_url"),
        (("input", 0, "content", 1), "image_url", "input[0].content[1].image_url"),
    ],
)
def test_an_image_knows_where_it_stood(path, key, param):
    got = read_image({key: "https://x.test/", "detail": "high"}, key, path)
    assert (got.url, got.detail, got.param) == ("https://x.test/", "high", param)
