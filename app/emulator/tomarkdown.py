"""Documents to Markdown: a form of files in, one result for each."""

import hashlib
import io
import re
import zipfile
import zlib
from email import message_from_bytes, policy
from email.message import Message

from app.emulator.endpoint import Visit, for_listing
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.reply import Reply
from app.emulator.tokens import count

_LARGEST_FORM = 13 * 1024 * 1024
_LARGEST_MEMBER = 1024 * 1024
_LARGEST_TEXT = 200_000

FORMATS = {
    ".pdf": "application/pdf",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".html": "text/html",
    ".htm": "text/html",
    ".xml": "application/xml",
    ".csv": "text/csv",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xls": "application/vnd.ms-excel",
    ".et": "application/vnd.ms-excel",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".numbers": "application/vnd.apple.numbers",
}
_ZIPPED = {".docx", ".xlsx", ".xlsm", ".xlsb", ".ods", ".odt", ".numbers"}
_READABLE = re.compile(rb"[\x20-\x7e]{4,}")
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def supported(visit: Visit) -> Reply:
    """List the formats."""
    chosen = for_listing(visit)
    if isinstance(chosen, Reply):
        return chosen
    return chosen.reply(success([{"extension": end, "mimeType": kind} for end, kind in FORMATS.items()]))


def to_markdown(visit: Visit) -> Reply:
    """Convert the files of a form.

    What the service says to a form without files is not documented; the refusal here is a guess.

    Raises:
        CloudflareError: 3006 when too large, 5006 when there are no files.
    """
    chosen = for_listing(visit)
    if isinstance(chosen, Reply):
        return chosen
    files = _files(chosen)
    if not files:
        raise bad_input("required properties at '/' are 'files'")
    return chosen.reply(success([_converted(name, data) for name, data in files]))


def _files(visit: Visit) -> list[tuple[str, bytes]]:
    body = visit.incoming.body
    if len(body) > _LARGEST_FORM:
        raise CloudflareError(413, 3006, "AiError: Request is too large")
    content_type = visit.request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise bad_input("the body is not a multipart form")
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    form = message_from_bytes(head + body, policy=policy.compat32)
    return [
        (part.get_filename() or "", _bytes(part))
        for part in form.walk()
        if part.get_param("name", header="content-disposition") == "files" and part.get_filename() is not None
    ]


def _bytes(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _converted(name: str, data: bytes) -> Json:
    end = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    kind = FORMATS.get(end, "application/octet-stream")
    item = {"id": hashlib.blake2b(name.encode("utf-8", "replace") + data, digest_size=16).hexdigest(), "name": name}
    item["mimeType"] = kind
    text = _text(name, end, data) if end in FORMATS else None
    if end not in FORMATS:
        return {**item, "format": "error", "error": f"Unsupported file type: {kind}"}
    if text is None:
        return {**item, "format": "error", "error": "The document could not be parsed"}
    return {**item, "format": "markdown", "tokens": count(text), "data": text}


def _text(name: str, end: str, data: bytes) -> str | None:
    """Return Markdown made of a file's readable strings; `None` when it is not what its name says."""
    if end == ".pdf":
        body = "\n".join(_strings(data)) if data.startswith(b"%PDF-") else None
        title = f"# {name}\n## Metadata\n- PDFFormatVersion=1.4\n\n## Contents\n### Page 1\n"
    elif end in _ZIPPED:
        body, title = _unzipped(data), f"# {name}\n\n"
    elif FORMATS[end].startswith("image/"):
        body, title = f"The image is a picture of {len(data)} bytes.", ""
    elif end in {".html", ".htm", ".xml"}:
        body, title = _untagged(data), ""
    elif end == ".csv":
        body, title = _table(data), ""
    else:
        body, title = "\n".join(_strings(data)), f"# {name}\n\n"
    return None if body is None else (title + body + "\n")[:_LARGEST_TEXT]


def _strings(data: bytes) -> list[str]:
    return [found.decode("ascii") for found in _READABLE.findall(data)]


def _untagged(data: bytes) -> str:
    lines = _TAG.sub("\n", data.decode("utf-8", "replace")).splitlines()
    return "\n\n".join(line.strip() for line in lines if line.strip())


def _table(data: bytes) -> str:
    rows = [line.split(",") for line in data.decode("utf-8", "replace").splitlines() if line]
    written = [f"| {' | '.join(cell.strip() for cell in row)} |" for row in rows]
    if rows:
        written.insert(1, f"| {' | '.join('---' for _ in rows[0])} |")
    return "\n".join(written)


def _unzipped(data: bytes) -> str | None:
    texts = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in archive.namelist():
                if member.endswith(".xml"):
                    with archive.open(member) as opened:
                        texts.append(_untagged(opened.read(_LARGEST_MEMBER)))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
        return None
    return "\n\n".join(text for text in texts if text)
