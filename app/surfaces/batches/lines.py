"""A batch's input file: cut into lines as it comes, each checked before any is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from msgspec import Struct

from app.core.errors import ApiError
from app.surfaces.batches.shapes import problem
from app.surfaces.fields import kind_of
from app.wire.codec import CodecError, decode

MAX_CUSTOM_ID: Final = 512
MAX_PROBLEMS: Final = 100
"""The most errors that are told of a file; nobody mends more at a time."""

_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line of the file.

    Attributes:
        number: From 1.
        start: Where it begins, in bytes.
        data: What it holds, without the line's end; ``None`` when it is too long to be read.
    """

    number: int
    start: int
    data: bytes | None


class LineCutter:
    """Cuts a file into lines. Lines without anything in them are counted, and not given.

    Args:
        max_bytes: The longest line that is read.
    """

    __slots__ = ("_at", "_max_bytes", "_number", "_pieces", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._number = 1
        self._at = 0

    def feed(self, block: bytes) -> list[Line]:
        """Take the bytes of one read; return the lines that are complete."""
        *ends, rest = block.split(b"\n")
        lines = []
        for end in ends:
            self._add(end)
            lines += self._end(1)
        self._add(rest)
        return lines

    def close(self) -> list[Line]:
        """Say that no more bytes will come; return what has no line's end."""
        return self._end(0)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self._max_bytes:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _end(self, mark: int) -> list[Line]:
        data = b"".join(self._pieces) if self._size <= self._max_bytes else None
        number, start = self._number, self._at
        self._number += 1
        self._at += self._size + mark
        self._pieces = []
        self._size = 0
        if data is not None:
            if number == 1 and data.startswith(_BOM):
                data, start = data[len(_BOM) :], len(_BOM)
            data = data.removesuffix(b"\r")
            if not data.strip():
                return []
        return [Line(number, start, data)]


class Good(Struct, frozen=True):
    """A line that can be asked.

    Attributes:
        line: The line.
        custom_id: What the client calls it.
        body: The body of its request.
    """

    line: Line
    custom_id: str
    body: Mapping[str, Any]

    @property
    def length(self) -> int:
        """Its length in bytes."""
        return len(self.line.data or b"")


class LineChecker:
    """Checks the lines of one file, in their order.

    Args:
        endpoint: Where all of them are to go.
        check_model: Raises ``ApiError`` for a model that may not be asked; called once for a file.
        max_lines: The most lines.

    Attributes:
        problems: What is wrong, as the batch's object tells it.
        total: Lines so far.
        model: The model of all lines.
    """

    __slots__ = ("_check_model", "_endpoint", "_max_lines", "_seen", "model", "problems", "total")

    def __init__(self, endpoint: str, check_model: Callable[[str], None], max_lines: int) -> None:
        self._endpoint = endpoint
        self._check_model = check_model
        self._max_lines = max_lines
        self._seen: set[bytes] = set()
        self.problems: list[dict[str, Any]] = []
        self.total = 0
        self.model: str | None = None

    @property
    def hopeless(self) -> bool:
        """Enough is known to be wrong; the rest need not be read."""
        return len(self.problems) >= MAX_PROBLEMS or self.total > self._max_lines

    def check(self, line: Line) -> Good | None:
        """Check a line; ``None`` when it is wrong."""
        self.total += 1
        if self.total > self._max_lines:
            self.problems.append(
                problem("too_many_tasks", f"The file has more than {self._max_lines} requests.", param="input_file_id")
            )
            return None
        try:
            return Good(line, *self._read(line))
        except _Wrong as wrong:
            self.problems.append(problem(wrong.code, wrong.message, line=line.number, param=wrong.param))
            return None

    def finish(self) -> None:
        """Say that there are no more lines."""
        if not self.total:
            self.problems.append(problem("empty_file", "The batch input file has no requests.", param="input_file_id"))

    def _read(self, line: Line) -> tuple[str, Mapping[str, Any]]:
        entry = _decoded(line)
        custom_id = _text(entry, "custom_id")
        if not 1 <= len(custom_id) <= MAX_CUSTOM_ID:
            raise _Wrong("invalid_request", f"'custom_id' must have 1 to {MAX_CUSTOM_ID} characters.", "custom_id")
        # Fifty thousand long names would be much memory for what only has to be compared.
        digest = blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            message = f"The custom_id '{custom_id[:64]}' is used by another request of this batch."
            raise _Wrong("duplicate_custom_id", message, "custom_id")
        self._seen.add(digest)
        if _text(entry, "method").upper() != "POST":
            raise _Wrong("invalid_method", "'method' must be 'POST'.", "method")
        if _text(entry, "url") != self._endpoint:
            message = f"The url of this request is not the endpoint of its batch, which is '{self._endpoint}'."
            raise _Wrong("url_mismatch", message, "url")
        return custom_id, self._body(entry.get("body"))

    def _body(self, body: object) -> Mapping[str, Any]:
        if body is None:
            raise _Wrong("missing_required_parameter", "Missing required parameter: 'body'.", "body")
        if not isinstance(body, dict):
            raise _Wrong("invalid_request", f"'body' must be an object, not {kind_of(body)}.", "body")
        model = _text(body, "model", "body.model")
        if self.model is None:
            try:
                self._check_model(model)
            except ApiError as error:
                raise _Wrong(error.code or "model_not_found", error.message, "body.model") from None
            self.model = model
        elif model != self.model:
            message = f"All requests of a batch go to one model; the first one goes to '{self.model[:64]}'."
            raise _Wrong("model_mismatch", message, "body.model")
        return body


class _Wrong(Exception):
    def __init__(self, code: str, message: str, param: str | None) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.param = param


def _decoded(line: Line) -> Mapping[str, Any]:
    if line.data is None:
        raise _Wrong("invalid_json_line", "This line is too long.", None)
    try:
        entry = decode(line.data)
    except CodecError:
        raise _Wrong("invalid_json_line", "This line is not parseable as valid JSON.", None) from None
    if not isinstance(entry, dict):
        raise _Wrong("invalid_json_line", f"This line must be a JSON object, not {kind_of(entry)}.", None)
    return entry


def _text(entry: Mapping[str, Any], name: str, shown: str | None = None) -> str:
    param = shown or name
    value = entry.get(name)
    if value is None:
        raise _Wrong("missing_required_parameter", f"Missing required parameter: '{param}'.", param)
    if not isinstance(value, str):
        raise _Wrong("invalid_request", f"'{param}' must be a string, not {kind_of(value)}.", param)
    return value
