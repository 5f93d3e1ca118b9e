"""The Responses API over a socket: what a client may say there, and the same events without the framing of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from app.core.errors import ApiError
from app.core.events import Finished, Started
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NewId, Past, SealText, Wants
from app.core.usage import Usage
from app.surfaces import fields
from app.surfaces.responses.surface import ResponsesSurface
from app.surfaces.responses.write import ResponsesWriter
from app.wire.codec import encode
from app.wire.sse import DONE

CREATE: Final = "response.create"
STEER: Final = "response.steer"

_ENVELOPE: Final = frozenset({"type", "generate", "stream", "background", "stream_id"})
"""What belongs to the socket and not to the request."""

_DATA: Final = b"\ndata: "


class Turn:
    """One ``response.create``: the Responses surface, which also remembers what it read and wrote.

    Args:
        surface: How requests are read and answers written.

    Attributes:
        warm: The client wants no answer yet: it sends the beginning ahead of time.
        request: The request, once it was read.
        past: What it continues.
    """

    name = "responses"

    def __init__(self, surface: ResponsesSurface) -> None:
        self._surface = surface
        self._writer: ResponsesWriter | None = None
        self.warm = False
        self.request: GenerationRequest | None = None
        self.past = NO_PAST

    @property
    def final(self) -> Mapping[str, Any] | None:
        """The answer as it ended; ``None`` before."""
        return self._writer.final if self._writer is not None else None

    def wants(self, body: Mapping[str, Any]) -> Wants:
        """What has to be fetched before the body can be read."""
        return self._surface.wants(body)

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> GenerationRequest:
        """Check and translate a request.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        if fields.boolean(body, "background"):
            raise fields.unsupported_parameter(("background",), "a response that is made over a socket is waited for.")
        self.warm = fields.boolean(body, "generate") is False
        asked = {name: value for name, value in body.items() if name not in _ENVELOPE}
        self.request = self._surface.read({**asked, "stream": True}, past)
        self.past = past
        return self.request

    def writer(
        self, request: GenerationRequest, model: str, new_id: NewId, now: float, seal: SealText | None = None
    ) -> ResponsesWriter:
        """Make a writer for the answer."""
        self._writer = self._surface.writer(request, model, new_id, now, seal)
        return self._writer

    def body(
        self,
        request: GenerationRequest,
        generations: Sequence[Generation],
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,
    ) -> dict[str, Any]:
        """Write a finished generation as one body."""
        return self._surface.body(request, generations, model, new_id, now, seal)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return self._surface.error_frames(error)


def nothing(writer: ResponsesWriter) -> bytes:
    """Write an answer without any output, as a client gets it that only sends the beginning ahead of time."""
    return writer.feed(Started()) + writer.feed(Finished("stop", Usage(0, 0)))


def added(values: Mapping[str, Any]) -> bytes:
    """Write fields that are to be added to messages."""
    return b"," + encode(values)[1:] if values else b""


def messages(block: bytes, more: bytes) -> Iterator[str]:
    """Cut a block of a stream into messages.

    Args:
        block: Whole frames.
        more: What is added to each, from ``added``.
    """
    for frame in block.removesuffix(DONE).split(b"\n\n"):
        data = frame.partition(_DATA)[2]
        if data:
            yield (data[:-1] + more if more else data).decode()


def error_message(error: ApiError, headers: Mapping[str, str], more: Mapping[str, Any]) -> str:
    """Write a failure that is not part of a response."""
    body: dict[str, Any] = dict(error.body())
    if headers:
        body["headers"] = headers
    return encode({"type": "error", "status": error.status, "error": body, **more}).decode()


def steer_refused(event: Mapping[str, Any]) -> str:
    """Answer ``response.steer``: a model on Workers AI cannot be interrupted with more input.

    Raises:
        BadRequest: The event is malformed, so what could not be done cannot be told back.
    """
    previous = fields.need(fields.string(event, "previous_response_id"), "previous_response_id")
    given: str | Sequence[Mapping[str, Any]] | None = event.get("input")
    if not isinstance(given, str):
        items = fields.need(fields.objects(event, "input"), "input")
        given = [{"type": "message", **item} for item in items]
    error = {
        "type": "invalid_request_error",
        "code": "steering_not_supported",
        "message": "A response cannot be steered here; send the input with the next response.create.",
    }
    steer = {"previous_response_id": previous, "input": given}
    return encode({"type": "response.steer.failed", "sequence_number": 0, "steer": steer, "error": error}).decode()
