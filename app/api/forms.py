"""Forms (``multipart/form-data``) from requests: plain fields as texts, files into a sink piece by piece."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from msgspec import Struct, field
from starlette.requests import Request

from app.core.errors import BadRequest, TooLarge
from app.wire.multipart import MultipartError, MultipartReader, Part, PartEnd

MAX_FIELD_BYTES: Final = 256 * 1024
"""The largest plain field."""

MAX_FIELDS_BYTES: Final = 1024 * 1024
"""All plain fields together."""


class FileSink(Protocol):
    """Takes the bytes of one file."""

    async def write(self, piece: bytes) -> None:
        """Take some bytes; what comes next is not read before this returns."""

    async def finish(self) -> None:
        """The file is whole."""


class Form(Struct):
    """What a form held.

    Attributes:
        fields: The plain fields, in their order; a name may come more than once.
        files: The beginnings of the parts that were files, in their order.
    """

    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[Part] = field(default_factory=list)

    def last(self, name: str) -> str | None:
        """The value of a field; the last one, when it came more than once."""
        return next((value for key, value in reversed(self.fields) if key == name), None)

    def all(self, *names: str) -> list[str]:
        """Every value of the fields with these names, such as ``include`` and ``include[]``."""
        return [value for key, value in self.fields if key in names]


async def read_form(request: Request, open_file: Callable[[Part], Awaitable[FileSink]], *, max_file_bytes: int) -> Form:
    """Read a form.

    Args:
        request: Whose body it is.
        open_file: Called at the beginning of each file; may refuse it.
        max_file_bytes: All files of the form together.

    Raises:
        BadRequest: It is not a form, or not a whole one.
        TooLarge: A bound is passed. What came so far is in the sinks; it is the caller's to clean up.
        ClientDisconnect: The client has left.
    """
    reading = _Reading(open_file, max_file_bytes)
    try:
        reader = MultipartReader(request.headers.get("content-type", ""))
        async for block in request.stream():
            for event in reader.feed(block):
                await reading.take(event)
        reader.close()
    except MultipartError as error:
        raise BadRequest(f"We could not parse the multipart form of your request: {error}.") from None
    return reading.form


class _Reading:
    """One form, being read."""

    def __init__(self, open_file: Callable[[Part], Awaitable[FileSink]], max_file_bytes: int) -> None:
        self.form = Form()
        self._open_file = open_file
        self._max_file_bytes = max_file_bytes
        self._file_bytes = 0
        self._field_bytes = 0
        self._sink: FileSink | None = None
        self._name = ""
        self._value = bytearray()

    async def take(self, event: Part | bytes | PartEnd) -> None:
        """Take the next event.

        Raises:
            ApiError: A bound is passed, or a field is not text.
        """
        if isinstance(event, bytes):
            await self._take_bytes(event)
        elif isinstance(event, Part):
            await self._open(event)
        else:
            await self._close()

    async def _open(self, part: Part) -> None:
        self._name = part.name
        if part.filename is not None:
            self._sink = await self._open_file(part)
            self.form.files.append(part)

    async def _take_bytes(self, piece: bytes) -> None:
        if self._sink is not None:
            self._file_bytes += len(piece)
            if self._file_bytes > self._max_file_bytes:
                raise TooLarge(f"The file is larger than {self._max_file_bytes} bytes.", param=self._name)
            await self._sink.write(piece)
            return
        self._field_bytes += len(piece)
        if len(self._value) + len(piece) > MAX_FIELD_BYTES or self._field_bytes > MAX_FIELDS_BYTES:
            raise TooLarge("A field of the form is too large.", param=self._name[:100])
        self._value += piece

    async def _close(self) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            await sink.finish()
            return
        try:
            self.form.fields.append((self._name, self._value.decode()))
        except UnicodeDecodeError:
            raise BadRequest("A field of the form is not text in UTF-8.", param=self._name[:100]) from None
        self._value = bytearray()
