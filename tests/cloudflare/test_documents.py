"""Files turned into text: with the emulator for the good ways, with answers by hand for the bad ones."""

import asyncio
import io
import zipfile

import httpx
import orjson
import pytest

from app.cloudflare import documents
from app.cloudflare.client import CloudflareClient, Timeouts
from app.cloudflare.documents import inline_files, to_text
from app.cloudflare.transport import Transport
from app.core.errors import ApiError, BadRequest, UpstreamBroken, UpstreamRefused
from app.core.request import FileContent, ImageContent, Message, TextContent
from app.emulator.server import create_emulator

PDF = b"%PDF-1.4\nThe quick brown fox\n%%EOF"
ACCOUNT = "0123456789abcdef0123456789abcdef"


def docx(text):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"<w:p><w:t>{text}</w:t></w:p>")
    return packed.getvalue()


class Counted(httpx.AsyncBaseTransport):
    """The emulator, or one answer, behind a count of the calls."""

    def __init__(self, answer=None):
        self.inner = httpx.ASGITransport(create_emulator())
        self.answer = answer
        self.requests = []

    async def handle_async_request(self, request):
        self.requests.append(request)
        if self.answer is None:
            return await self.inner.handle_async_request(request)
        body = self.answer if isinstance(self.answer, bytes) else orjson.dumps(self.answer)
        status = 200 if not isinstance(self.answer, dict) else self.answer.get("status", 200)
        return httpx.Response(status, content=body, headers={"content-type": "application/json"})


def client(transport):
    return CloudflareClient(
        transport,
        base_url="http://cloudflare.test/client/v4",
        account_id=ACCOUNT,
        token="secret",
        timeouts=Timeouts(),
        user_agent="test",
        clock=lambda: 0.0,
    )


def file(name, data, param="messages[0].content[0].file"):
    return FileContent(name, data, param)


async def refusal(files, answer=None, kind=BadRequest):
    with pytest.raises(kind) as refused:
        await to_text(client(Counted(answer)), files)
    return refused.value


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("notes.txt", b"Hello", "Hello"),
        ("notes.md", "\ufeff# Grüße\n".encode(), "# Grüße\n"),
        ("data.csv", b"a,b\r\n1,2\r\n", "a,b\r\n1,2\r\n"),
        ("data.json", b'{"a": 1}', '{"a": 1}'),
        ("code.PY", b"print()\n", "print()\n"),
        ("feed.xml", b"<a/>", "<a/>"),
        ("Makefile", b"all:\n\ttrue\n", "all:\n\ttrue\n"),
    ],
)
async def test_text_needs_no_call(name, data, text):
    transport = Counted()
    assert await to_text(client(transport), [file(name, data)]) == [text]
    assert transport.requests == []


async def test_documents_are_converted_in_one_call_and_keep_their_places():
    transport = Counted()
    texts = await to_text(
        client(transport),
        [
            file("report.pdf", PDF),
            file("notes.txt", b"plain"),
            file("../../etc/Bericht Müller.docx", docx("Second file")),
            file("report.pdf", PDF.replace(b"fox", b"dog")),
            file("page.html", b"<h1>Title</h1><script>x()</script><p>Text</p>"),
        ],
    )
    assert "The quick brown fox" in texts[0]
    assert texts[1] == "plain"
    assert "Second file" in texts[2]
    assert "The quick brown dog" in texts[3]
    assert texts[4] == "Title\n\nText\n"
    (request,) = transport.requests
    assert request.url.path == f"/client/v4/accounts/{ACCOUNT}/ai/tomarkdown"
    assert request.headers["authorization"] == "Bearer secret"
    for name in (b'"report.pdf"', b'"Bericht_M_ller.docx"', b'"report-2.pdf"', b'"page.html"'):
        assert b'name="files"; filename=' + name in request.read()


async def test_a_pdf_is_one_whatever_it_is_called():
    for name in ("scan", "scan.txt", "", "scan.pdf.exe"):
        assert "quick brown" in (await to_text(client(Counted()), [file(name, PDF)]))[0]


async def test_large_files_are_sent_apart(monkeypatch):
    monkeypatch.setattr(documents, "MAX_FILE_BYTES", 2 * len(PDF))
    transport = Counted()
    assert len(await to_text(client(transport), [file("a.pdf", PDF)] * 5)) == 5
    assert len(transport.requests) == 3


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ([file("a.exe", b"MZ\x00\xff")], "unsupported_file", "Unsupported file type. Supported are text files"),
        ([file("a.txt", b"\xff\xfe\x00")], "unsupported_file", ".docx"),
        ([file("a.pdf", b"not one")], "invalid_file", "damaged"),
        ([file("a.docx", b"PK\x03\x04broken")], "invalid_file", "damaged"),
        ([file("a.pdf", b"")], "invalid_file", "empty"),
        ([file("a.png", b"\x89PNG\r\n\x1a\n")], "unsupported_file", "image parts"),
        ([file("a.pdf", b"\xff\xd8\xff\xe0")], "unsupported_file", "image parts"),
        ([file("a.svg", b"<svg/>")], "unsupported_file", "image parts"),
        ([file("a.txt", b"a" * (documents.MAX_FILE_BYTES + 1))], "file_too_large", "larger than 10 MiB"),
    ],
)
async def test_files_that_cannot_be_read(files, code, said):
    good = [file("b.pdf", PDF, "other"), file("c.txt", b"text", "other")]
    error = await refusal([*good, *files])
    assert (error.status, error.param, error.code) == (400, "messages[0].content[0].file", code)
    assert said in error.message


async def test_too_many_files():
    files = [file("a.txt", b"a", f"p{index}") for index in range(documents.MAX_FILES + 1)]
    assert (await refusal(files)).param == f"p{documents.MAX_FILES}"


def item(name, data="text"):
    return {"name": name, "mimetype": "application/pdf", "format": "markdown", "tokens": 1, "data": data}


async def test_results_are_matched_by_name_then_by_order():
    files = [file("a.pdf", PDF), file("b.pdf", PDF)]
    turned = {"success": True, "result": [item("b.pdf", "B"), item("a.pdf", "A")]}
    assert await to_text(client(Counted(turned)), files) == ["A", "B"]
    renamed = {"success": True, "result": [item("x", "A"), item("y", "B")]}
    assert await to_text(client(Counted(renamed)), files) == ["A", "B"]
    single = {"success": True, "result": item("a.pdf", "A")}
    assert await to_text(client(Counted(single)), files[:1]) == ["A"]


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"result":null}',
        b'{"result":[]}',
        b'{"result":[1]}',
        b'{"result":[{"name":"other.pdf"}, {}]}',
    ],
)
async def test_answers_that_cannot_be_read(answer):
    error = await refusal([file("a.pdf", PDF)], answer, UpstreamBroken)
    assert error.message == "Workers AI sent converted files that cannot be read."


@pytest.mark.parametrize(
    ("status", "code", "kind", "param"),
    [
        (400, 5006, BadRequest, "messages[0].content[0].file"),
        (413, 3006, ApiError, "messages[0].content[0].file"),
        (401, 10000, UpstreamRefused, None),
        (500, 3043, ApiError, None),
    ],
)
async def test_refusals_of_the_upstream(status, code, kind, param):
    answer = {"status": status, "success": False, "errors": [{"code": code, "message": "AiError: x"}], "result": None}
    error = await refusal([file("a.pdf", PDF)], answer, kind)
    assert error.param == param


async def test_files_become_marked_text_in_their_places():
    image = ImageContent("data:image/png;base64,AA==")
    messages = (
        Message("system", "Read."),
        Message("user", (TextContent("Before"), file('dir/my "odd"\n<name>.txt', b"one\n"), image)),
        Message("user", (file("report.pdf", PDF),)),
    )
    first, second, third = await inline_files(messages, client(Counted()))
    assert first is messages[0]
    assert second.content == (
        TextContent("Before"),
        TextContent('<file name="my odd name .txt">\none\n</file>'),
        image,
    )
    (converted,) = third.content
    assert converted.text.startswith('<file name="report.pdf">\n')
    assert converted.text.endswith("\n</file>")
    assert "quick brown" in converted.text


async def test_conversations_without_files_stay():
    messages = (Message("user", "Hello"), Message("user", (TextContent("a"),)))
    transport = Counted()
    assert await inline_files(messages, client(transport)) == messages
    assert transport.requests == []


async def test_a_form_goes_over_the_real_transport_whole():
    received = asyncio.get_running_loop().create_future()

    async def server(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        received.set_result((head, await reader.readexactly(length)))
        body = orjson.dumps({"success": True, "result": [item("a.pdf", "converted")]})
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/client/v4"
        async with CloudflareClient(
            Transport(max_connections=1), base_url=base, account_id=ACCOUNT, token="secret", timeouts=Timeouts(),
            user_agent="test", clock=lambda: 0.0,
        ) as real:  # fmt: skip
            assert await to_text(real, [file("a.pdf", PDF)]) == ["converted"]
    head, body = await received
    boundary = head.lower().partition(b"boundary=")[2].split(b"\r\n")[0]
    assert body.count(b"--" + boundary) == 2
    assert PDF in body
