"""Images and files in a message."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from typing import Any, Final

from app.core.request import FileContent, ImageContent
from app.surfaces import fields
from app.surfaces.fields import Path

DETAILS: Final = ("low", "high", "auto", "original")

MAX_NAME: Final = 255
"""The longest name that file systems take."""

_EXTENSIONS: Final[Mapping[str, str]] = {
    "application/pdf": "pdf",
    "application/json": "json",
    "application/xml": "xml",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": "xlsb",
    "application/vnd.ms-excel.sheet.macroenabled.12": "xlsm",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.apple.numbers": "numbers",
    "application/rtf": "rtf",
    "image/jpeg": "jpeg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/webp": "webp",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "text/xml": "xml",
}

_IMAGE_URLS = ("https://", "http://", "data:image/")


def read_image(holder: Mapping[str, Any], key: str, path: Path) -> ImageContent:
    """Read an image: its URL, which each API calls differently, and its ``detail``.

    Raises:
        BadRequest: The URL is not one that can be fetched.
    """
    url = fields.need(fields.string(holder, key, path, min_length=1), key, path)
    # A scheme may be written in capitals; an image may be megabytes long.
    if not url[:16].lower().startswith(_IMAGE_URLS):
        reason = "expected an 'https:' or 'http:' URL, or a 'data:image/…' URL."
        raise fields.invalid((*path, key), reason, "invalid_image_url")
    # Chat Completions has an object of that name, Responses has the URL itself under it.
    place = path if path[-1:] == ("image_url",) else (*path, key)
    return ImageContent(url, fields.one_of(holder, "detail", DETAILS, path), fields.text_of(place))


def read_file(holder: Mapping[str, Any], path: Path) -> FileContent:
    """Read a file that comes within the request: ``file_data`` and ``filename``.

    Raises:
        BadRequest: It is elsewhere, cannot be decoded, or does not tell what it is.
    """
    for key, reason in (
        ("file_id", "No files are stored; send the file itself in 'file_data'."),
        ("file_url", "Files are not fetched; send the file itself in 'file_data'."),
    ):
        value = fields.string(holder, key, path)
        if value is not None:
            raise fields.unsupported_value((*path, key), value, reason)
    text = fields.need(fields.string(holder, "file_data", path, min_length=1), "file_data", path)
    name = fields.string(holder, "filename", path, max_length=MAX_NAME) or ""
    if not name.isprintable():
        raise fields.invalid((*path, "filename"), "it has characters that cannot be printed.")
    kind, data = _decoded(text, (*path, "file_data"))
    return FileContent(_named(name, kind, data, (*path, "filename")), data, fields.text_of(path))


def _decoded(text: str, path: Path) -> tuple[str, bytes]:
    """Decode a data URL or bare base64; the media type is empty where none is told."""
    kind = ""
    if text[:5].lower() == "data:":
        head, comma, text = text[5:].partition(",")
        kind, *parameters = (part.strip().lower() for part in head.split(";"))
        if not comma or "base64" not in parameters:
            raise fields.invalid(path, "expected a data URL in base64: 'data:<media type>;base64,<data>'.")
    try:
        # Line breaks are usual in base64, at its end above all.
        data = a2b_base64("".join(text.split()), strict_mode=True)
    except (Base64Error, ValueError):
        raise fields.invalid(path, "expected base64, or a data URL in base64.") from None
    if not data:
        raise fields.invalid(path, "the file is empty.", "empty_file")
    return kind, data


def _named(name: str, kind: str, data: bytes, path: Path) -> str:
    extension = _EXTENSIONS.get(kind) or ("pdf" if data.startswith(b"%PDF-") else "")
    if name:
        return f"{name}.{extension}" if extension and "." not in name else name
    if not extension:
        reason = "it is needed to tell what kind of file this is, since its data does not."
        raise fields.invalid(path, reason, "missing_required_parameter")
    return f"file.{extension}"
