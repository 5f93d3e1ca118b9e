"""Documents in a conversation, turned into text: most models read nothing else.

Text is put in as it is. Other files are converted by Cloudflare's ``POST /ai/tomarkdown``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final, Protocol

from msgspec.structs import replace

from app.core.errors import ApiError, BadRequest, UpstreamBroken
from app.core.request import Content, FileContent, Message, TextContent
from app.wire.codec import CodecError, decode_leniently

MAX_FILES: Final = 20
MAX_FILE_BYTES: Final = 10 * 1024 * 1024
"""How large a file may be, and how much is sent in one call: Cloudflare takes some 13 MB."""

CONVERTED: Final[Mapping[str, str]] = {
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".xlsm": "application/vnd.ms-excel.sheet.macroenabled.12",
    ".xlsb": "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ".xls": "application/vnd.ms-excel",
    ".et": "application/vnd.ms-excel",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".numbers": "application/vnd.apple.numbers",
    ".html": "text/html",
    ".htm": "text/html",
}
"""What is converted even if it is also text, by the end of its name. HTML is: markup costs tokens."""

_IMAGES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".avif", ".heic", ".bmp", ".tif", ".tiff"}
)
_IMAGE_HEADS: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")

_SUPPORTED: Final = f"Supported are text files in UTF-8 and {', '.join(CONVERTED)}."

# What a name may not hold where it is shown to the model: it would break the mark around the text.
_UNSHOWN: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\"<>&]+")
_UNSENT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME: Final = 120


class Converter(Protocol):
    """Whoever takes files to Cloudflare: a connection to one account, or all accounts."""

    async def post_files(self, path: str, files: Sequence[tuple[str, bytes, str]]) -> bytes:
        """Send files as a form's field ``files``; return the whole JSON body of the answer.

        Raises:
            ApiError: It could not be had.
        """


async def inline_files(messages: Sequence[Message], client: Converter) -> tuple[Message, ...]:
    """Replace every file by its text, between marks that tell its name.

    The marks are for the model; they protect from nothing that the text says.

    Raises:
        ApiError: As for ``to_text``.
    """
    files = [
        part
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, FileContent)
    ]
    if not files:
        return tuple(messages)
    texts = iter(await to_text(client, files))
    return tuple(_inlined(message, texts) for message in messages)


async def to_text(client: Converter, files: Sequence[FileContent]) -> list[str]:
    """Turn files into texts, in the same order.

    Raises:
        BadRequest: A file cannot be read, with its ``param``.
        ApiError: Cloudflare could not be asked.
    """
    if len(files) > MAX_FILES:
        raise BadRequest(f"Too many files: a request may hold {MAX_FILES}.", param=files[MAX_FILES].param)
    texts: list[str | None] = [_own_text(file) for file in files]
    missing = [index for index, text in enumerate(texts) if text is None]
    for batch in _batches(missing, files):
        converted = await _convert(client, [files[index] for index in batch])
        for index, text in zip(batch, converted, strict=True):
            texts[index] = text
    return [text or "" for text in texts]


def _own_text(file: FileContent) -> str | None:
    """The text of a file that is text already; ``None`` when it has to be converted.

    Raises:
        BadRequest: It can be neither.
    """
    if not file.data:
        raise BadRequest("The file is empty.", param=file.param, code="invalid_file")
    if len(file.data) > MAX_FILE_BYTES:
        raise BadRequest(
            f"The file is larger than {MAX_FILE_BYTES // 1024**2} MiB.", param=file.param, code="file_too_large"
        )
    kind = _kind(file)
    if kind in _IMAGES or file.data.startswith(_IMAGE_HEADS):
        # It could be converted, by two models that describe it and are charged for: not what was asked for.
        raise BadRequest(
            "Images are not accepted as files; send them as image parts.", param=file.param, code="unsupported_file"
        )
    if kind in CONVERTED or b"\x00" in file.data:
        return None
    try:
        return file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _kind(file: FileContent) -> str:
    """The end of its name, or of what it should have been called."""
    return ".pdf" if file.data.startswith(b"%PDF-") else PurePosixPath(file.name.strip()).suffix.lower()


def _batches(indices: Sequence[int], files: Sequence[FileContent]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in indices:
        size += len(files[index].data)
        if batch and size > MAX_FILE_BYTES:
            yield batch
            batch, size = [], len(files[index].data)
        batch.append(index)
    if batch:
        yield batch


async def _convert(client: Converter, files: Sequence[FileContent]) -> list[str]:
    names = _upload_names(files)
    form = [
        (name, file.data, CONVERTED.get(_kind(file), "application/octet-stream"))
        for name, file in zip(names, files, strict=True)
    ]
    try:
        body = await client.post_files("/tomarkdown", form)
    except ApiError as error:
        if error.status in {400, 413} and error.param is None:
            error.param = files[0].param
        raise
    items = _items(body)
    by_name = {item.get("name"): item for item in items}
    found = [by_name.get(name) for name in names]
    if None in found and len(items) == len(files):
        # The names may have been changed on the way; the order is the other thing to go by.
        found = [*items]
    return [_text(item, file) for item, file in zip(found, files, strict=True)]


def _items(body: bytes) -> list[dict[str, Any]]:
    try:
        envelope = decode_leniently(body)
    except CodecError:
        raise _unreadable() from None
    result = envelope.get("result") if isinstance(envelope, dict) else None
    if isinstance(result, dict):
        result = [result]
    if not isinstance(result, list):
        raise _unreadable()
    return [item for item in result if isinstance(item, dict)]


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken("Workers AI sent converted files that cannot be read.")


def _text(item: Mapping[str, Any] | None, file: FileContent) -> str:
    if item is None:
        raise _unreadable()
    text = item.get("data")
    if item.get("format") != "error" and isinstance(text, str):
        return text
    if _kind(file) in CONVERTED:
        raise BadRequest(
            "The file could not be converted to text: it may be damaged or protected.",
            param=file.param,
            code="invalid_file",
        )
    raise BadRequest(f"Unsupported file type. {_SUPPORTED}", param=file.param, code="unsupported_file")


def _upload_names(files: Sequence[FileContent]) -> list[str]:
    """Names for the form: plain ASCII with the right ending, all different, so that answers can be told apart."""
    names: list[str] = []
    for file in files:
        stem = _UNSENT.sub("_", PurePosixPath(_base(file.name)).stem).strip("._") or "file"
        stem, kind = stem[:_MAX_NAME], _UNSENT.sub("", _kind(file))[:16]
        name, number = f"{stem}{kind}", 1
        while name in names:
            number += 1
            name = f"{stem}-{number}{kind}"
        names.append(name)
    return names


def _base(name: str) -> str:
    return re.split(r"[/\\]", name.strip())[-1]


def _shown(file: FileContent) -> str:
    return _UNSHOWN.sub(" ", _base(file.name)).strip()[-_MAX_NAME:] or "file"


def _inlined(message: Message, texts: Iterator[str]) -> Message:
    if isinstance(message.content, str) or not any(isinstance(part, FileContent) for part in message.content):
        return message
    content: list[Content] = []
    for part in message.content:
        if isinstance(part, FileContent):
            text = next(texts).removesuffix("\n")
            content.append(TextContent(f'<file name="{_shown(part)}">\n{text}\n</file>'))
        else:
            content.append(part)
    return replace(message, content=tuple(content))
