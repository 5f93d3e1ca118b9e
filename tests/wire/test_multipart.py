"""Reading forms, wherever the network cuts them."""

import pytest

from app.wire.multipart import MultipartError, MultipartReader, Part, PartEnd

TYPE = "multipart/form-data; boundary=b0"


def part(head, data):
    return b"--b0\r\n" + head + b"\r\n\r\n" + data + b"\r\n"


FORM = (
    part(b'Content-Disposition: form-data; name="purpose"', b"batch")
    + part(
        'content-disposition: form-data; name="file"; filename="ä \\"x\\".jsonl"\r\nContent-Type: text/x'.encode(),
        b"\r\n--b\r\n--b0x {}\n",
    )
    + part(b'Content-Disposition: form-data; name="empty"', b"")
    + b"--b0--\r\n"
)
PARTS = [
    (Part("purpose", None, None), b"batch"),
    (Part("file", 'ä "x".jsonl', "text/x"), b"\r\n--b\r\n--b0x {}\n"),
    (Part("empty", None, None), b""),
]


def run(*blocks, content_type=TYPE, **bounds):
    reader = MultipartReader(content_type, **bounds)
    parts = []
    for block in blocks:
        for event in reader.feed(block):
            if isinstance(event, Part):
                parts.append((event, b""))
            elif isinstance(event, bytes):
                parts[-1] = (parts[-1][0], parts[-1][1] + event)
            else:
                assert isinstance(event, PartEnd)
    reader.close()
    return parts


def test_whole_split_and_byte_by_byte():
    assert run(FORM) == PARTS
    assert run(*(FORM[i : i + 1] for i in range(len(FORM)))) == PARTS
    for cut in range(len(FORM) + 1):
        assert run(FORM[:cut], FORM[cut:]) == PARTS


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=b0"]
)
def test_other_content_types_are_refused(content_type):
    with pytest.raises(MultipartError):
        MultipartReader(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        FORM[:-8],
        part(b"X-Name: y", b"z") + b"--b0--\r\n",
        part(b"Content-Disposition: form-data", b"z") + b"--b0--\r\n",
        part(b'Content-Disposition: attachment; name="a"', b"z") + b"--b0--\r\n",
        part(b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64', b"eg==") + b"--b0--\r\n",
        part(b'Content-Disposition: form-data; name="' + b"a" * 5000 + b'"', b"z") + b"--b0--\r\n",
        part(b'Content-Disposition: form-data; name="a"' + b"\r\nX: y" * 9, b"z") + b"--b0--\r\n",
    ],
)
def test_what_is_not_a_form_is_refused(body):
    with pytest.raises(MultipartError):
        run(body)


def test_a_boundary_that_is_too_long_is_refused():
    with pytest.raises(MultipartError):
        MultipartReader("multipart/form-data; boundary=" + "b" * 5000)


def test_parts_are_bounded():
    field = part(b'Content-Disposition: form-data; name="a"', b"z")
    assert len(run(field * 3 + b"--b0--", max_parts=3)) == 3
    with pytest.raises(MultipartError, match="more than 3 parts"):
        run(field * 4 + b"--b0--", max_parts=3)


def test_bytes_of_a_file_are_handed_on_as_they_come():
    reader = MultipartReader(TYPE)
    reader.feed(b'--b0\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n')
    for _ in range(50):
        assert sum(len(event) for event in reader.feed(b"x" * 1000)) == 1000
