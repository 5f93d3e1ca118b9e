"""What an image is, by its first bytes, and how it is written as a ``data:`` URI."""

from __future__ import annotations

import binascii
from typing import Final

from app.core.errors import BadRequest
from app.wire.kinds import HEAD_BYTES, picture_kind

_SUPPORTED: Final = "Only PNG, JPEG, GIF and WebP images are supported."

# What people send by mistake, so that the error can name it.
_OTHERS: Final = (
    (b"%PDF-", "a PDF document"),
    (b"BM", "a BMP image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x1f\x8b", "compressed data"),
)


def not_an_image(head: bytes, param: str) -> BadRequest:
    """The error for bytes that are no supported picture, with their kind by name where it is known."""
    return invalid_image(f"{_kind(head)}. {_SUPPORTED}", param)


def invalid_image(reason: str, param: str) -> BadRequest:
    """The error for an image that cannot be used; ``reason`` completes the sentence ``The image is …``."""
    return BadRequest(f"Invalid image: it is {reason}", param=param, code="invalid_image_url")


def to_data_uri(data: bytes, kind: str) -> str:
    """Write a picture as a ``data:`` URI."""
    return f"data:{kind};base64,{binascii.b2a_base64(data, newline=False).decode('ascii')}"


def check_data_uri(uri: str, param: str, max_bytes: int) -> tuple[str, int]:
    """Check an image that came within the request.

    A wrong media type on a good picture is put right, and so are the line breaks that some tools put into base64:
    both are common, harmless, and refused by upstreams.

    Args:
        uri: The ``data:`` URI.
        param: Where it stood in the request.
        max_bytes: How large the picture may be.

    Returns:
        The URI to use, and the picture's size.

    Raises:
        BadRequest: It is not base64, too large, or no supported picture.
    """
    declared, comma, encoded = uri[5:].partition(",")
    form = declared.replace(" ", "").lower().split(";")
    if not comma or form[-1] != "base64":
        raise invalid_image("not a base64 'data:' URI such as 'data:image/png;base64,…'.", param)
    if form[0] == "image/svg+xml":
        raise not_an_image(b"<svg", param)
    if len(encoded) > max_bytes * 3 // 2:
        raise too_large(max_bytes, param)
    joined = "".join(encoded.split())
    try:
        data = binascii.a2b_base64(joined, strict_mode=True)
    except ValueError:
        raise invalid_image("not valid base64.", param) from None
    if len(data) > max_bytes:
        raise too_large(max_bytes, param)
    kind = picture_kind(data[:HEAD_BYTES])
    if kind is None:
        raise not_an_image(data[:HEAD_BYTES], param)
    prefix = f"data:{kind};base64,"
    return (uri if uri.startswith(prefix) and len(joined) == len(encoded) else prefix + joined), len(data)


def too_large(max_bytes: int, param: str) -> BadRequest:
    """The error for an image past the bound."""
    return invalid_image(f"larger than {max_bytes // 1024**2} MiB.", param)


def _kind(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text):
        return "an SVG image"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image"
    if head[4:8] == b"ftyp":
        return "an AVIF image" if head[8:12] in {b"avif", b"avis"} else "a HEIF image or a video"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    return "not an image of a known kind" if head else "empty"
