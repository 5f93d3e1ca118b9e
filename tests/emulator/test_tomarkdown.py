"""Documents to Markdown."""

import io
import zipfile

import pytest

PDF = b"%PDF-1.4\n\x00\x01\xff(The quick brown fox)\n%%EOF\n"


def zipped(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"<w:p>{text}</w:p>")
        archive.writestr("word/media/image1.png", b"\x89PNG")
    return packed.getvalue()


async def convert(client, ai, *files):
    answer = await client.post(f"{ai}/tomarkdown", files=[("files", file) for file in files])
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["success"], body["errors"]) == (True, [])
    return body["result"]


async def test_every_file_has_a_result_in_order(client, ai):
    results = await convert(
        client,
        ai,
        ("a.pdf", PDF),
        ("b.docx", zipped("Second")),
        ("c.html", b"<title>T</title><style>p{}</style><p>Text</p>"),
        ("d.csv", b"x,y\n1,2\n"),
        ("cat.png", b"\x89PNG"),
        ("old.xls", b"\xd0\xcf\x11\xe0readable cells\x00"),
    )
    assert [one["name"] for one in results] == ["a.pdf", "b.docx", "c.html", "d.csv", "cat.png", "old.xls"]
    assert [one["format"] for one in results] == ["markdown"] * 6
    assert results[0].keys() == {"id", "name", "mimeType", "format", "tokens", "data"}
    assert results[0]["mimeType"] == "application/pdf"
    assert results[0]["data"].startswith("# a.pdf\n## Metadata\n")
    assert "(The quick brown fox)" in results[0]["data"]
    assert results[0]["tokens"] > 10
    assert "Second" in results[1]["data"]
    assert results[2]["data"] == "T\n\nText\n"
    assert results[3]["data"] == "| x | y |\n| --- | --- |\n| 1 | 2 |\n"
    assert "picture" in results[4]["data"]
    assert "readable cells" in results[5]["data"]


async def test_the_same_file_gives_the_same_text(client, ai):
    assert await convert(client, ai, ("a.pdf", PDF)) == await convert(client, ai, ("a.pdf", PDF))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.exe", b"MZ", "Unsupported"),
        ("noend", b"text", "Unsupported"),
        ("a.pdf", b"not one", "parsed"),
        ("a.docx", b"PK\x03\x04broken", "parsed"),
        ("a.docx", b"", "parsed"),
    ],
)
async def test_one_bad_file_is_an_item_of_its_own(client, ai, name, data, said):
    good, bad = await convert(client, ai, ("good.pdf", PDF), (name, data))
    assert good["format"] == "markdown"
    assert (bad["name"], bad["format"]) == (name, "error")
    assert said in bad["error"]
    assert not {"data", "tokens"} & bad.keys()


async def test_bytes_come_through_the_form_unchanged(client, ai):
    every = bytes(range(256)) + b"\r\n\n\r\r\n--x\r\n" + bytes(range(255, -1, -1))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("content.xml", b"<a>whole</a>" + every)
    # A changed byte would fail the archive's checksum.
    (result,) = await convert(client, ai, ("a.odt", packed.getvalue()))
    assert result["format"] == "markdown"
    assert result["data"].startswith("# a.odt\n\nwhole\n")


async def test_what_is_not_a_form(client, ai):
    for body in ({"content": b"%PDF"}, {"json": {}}, {"files": [("other", ("a.pdf", PDF))]}, {"data": {"files": "x"}}):
        answer = await client.post(f"{ai}/tomarkdown", **body)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)
    large = await client.post(f"{ai}/tomarkdown", files={"files": ("a.pdf", b"%PDF-" + bytes(13 * 1024 * 1024))})
    assert (large.status_code, large.json()["errors"][0]["code"]) == (413, 3006)


async def test_supported_formats(client, ai):
    body = (await client.get(f"{ai}/tomarkdown/supported")).json()
    assert body["success"] is True
    assert {"extension": ".pdf", "mimeType": "application/pdf"} in body["result"]
    assert len(body["result"]) > 15


async def test_faults_and_tokens(client, ai):
    await client.fault("status", path="/tomarkdown", status=503, body={"success": False})
    assert (await client.post(f"{ai}/tomarkdown", files={"files": ("a.pdf", PDF)})).status_code == 503
    assert await convert(client, ai, ("a.pdf", PDF))
    anonymous = await client.post(f"{ai}/tomarkdown", files={"files": ("a.pdf", PDF)}, headers={"authorization": ""})
    assert anonymous.status_code == 401
    assert (await client.get(f"{ai}/tomarkdown")).status_code == 405
