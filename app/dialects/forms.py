"""Forms for the upstream (``multipart/form-data``), for models that take no JSON."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple


class Field(NamedTuple):
    """One field of a form.

    Attributes:
        name: Ours, and therefore plain.
        value: A text, or the bytes of a file.
        kind: Of a file: its media type.
    """

    name: str
    value: str | bytes
    kind: str | None = None


def form_of(fields: Sequence[Field]) -> tuple[str, bytes]:
    """Write a form.

    Its boundary is a hash of what it parts, so that it cannot be among it.

    Returns:
        The content type, and the body.
    """
    values = [value.encode("utf-8", "replace") if isinstance(value, str) else value for _, value, _ in fields]
    digest = sha256()
    for value in values:
        digest.update(b"%d:" % len(value))
        digest.update(value)
    boundary = digest.hexdigest().encode()
    pieces: list[bytes] = []
    for field, value in zip(fields, values, strict=True):
        head = f'Content-Disposition: form-data; name="{field.name}"'
        if field.kind is not None:
            head += f'; filename="{field.name}"\r\nContent-Type: {field.kind}'
        pieces += [b"--", boundary, b"\r\n", head.encode(), b"\r\n\r\n", value, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return f"multipart/form-data; boundary={boundary.decode()}", b"".join(pieces)
