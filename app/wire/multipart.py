"""Reading ``multipart/form-data`` as it comes, in bounded memory: bytes in, parts and pieces of them out.

The grammar is the work of ``python-multipart``; here are its bounds, and the form in which we want it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

T = TypeVar("T")

MEDIA_TYPE: Final = "multipart/form-data"

MAX_PARTS: Final = 64
"""The most parts of one form."""

_MAX_HEADERS = 8
_MAX_HEADER_BYTES = 4096


class MultipartError(ValueError):
    """The bytes are not a form, or one with too many parts."""


class Part(NamedTuple):
    """The beginning of a part.

    Attributes:
        name: The field's name.
        filename: What the client calls the file; ``None`` for a plain field. Never a place to write to.
        content_type: What the client says that it is; ``None`` when it says nothing.
    """

    name: str
    filename: str | None
    content_type: str | None


class PartEnd(NamedTuple):
    """The end of the part that was begun last."""


FormEvent: TypeAlias = Part | bytes | PartEnd
"""A part begins, some of its bytes, or it has ended; parts come one after the other."""


class _Heading(Struct):
    """The headers of a part, as far as they have come."""

    name: bytes = b""
    value: bytes = b""


class MultipartReader:
    """Reads one form.

    Args:
        content_type: The request's ``Content-Type``.
        max_parts: The most parts.

    Raises:
        MultipartError: It is not that of a form, or names no boundary.
    """

    __slots__ = ("_disposition", "_ended", "_events", "_heading", "_max_parts", "_parser", "_parts", "_type")

    def __init__(self, content_type: str, *, max_parts: int = MAX_PARTS) -> None:
        media_type, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if media_type.decode("latin-1") != MEDIA_TYPE:
            raise MultipartError(f"expected the content type {MEDIA_TYPE}")
        if not boundary:
            raise MultipartError("the content type names no boundary")
        self._events: list[FormEvent] = []
        self._heading = _Heading()
        self._disposition: str | None = None
        self._type: str | None = None
        self._parts = 0
        self._max_parts = max_parts
        self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        self._parser = _guarded(
            lambda: MultipartParser(
                boundary, callbacks, max_header_count=_MAX_HEADERS, max_header_size=_MAX_HEADER_BYTES
            )
        )

    def feed(self, block: bytes) -> list[FormEvent]:
        """Take the bytes of one read; return what has become known.

        Raises:
            MultipartError: They are not those of a form.
        """
        _guarded(lambda: self._parser.write(block))
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """Say that no more bytes will come.

        Raises:
            MultipartError: The form is not whole.
        """
        if not self._ended:
            raise MultipartError("the form ends before its last boundary")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._max_parts:
            raise MultipartError(f"the form has more than {self._max_parts} parts")
        self._disposition = self._type = None

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._heading.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._heading.value += data[start:end]

    def _header_end(self) -> None:
        name = self._heading.name.lower()
        # As the parser of options wants it; what is UTF-8 in it is decoded afterwards.
        value = self._heading.value.decode("latin-1")
        self._heading = _Heading()
        if name == b"content-disposition":
            self._disposition = value
        elif name == b"content-type":
            self._type = value
        elif name == b"content-transfer-encoding" and value.strip().lower() not in {"binary", "8bit", "7bit"}:
            raise MultipartError("a part has a content-transfer-encoding, which forms do not have")

    def _open(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or b"name" not in options:
            raise MultipartError("a part has no content-disposition with a name")
        filename = options.get(b"filename")
        self._events.append(
            Part(_text(options[b"name"]), None if filename is None else _text(filename), self._type or None)
        )

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _end(self) -> None:
        self._events.append(PartEnd())

    def _finish(self) -> None:
        self._ended = True


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _guarded(do: Callable[[], T]) -> T:
    try:
        return do()
    except FormParserError as error:
        raise MultipartError(f"the form cannot be read: {error}") from None
