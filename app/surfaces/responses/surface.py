"""The Responses surface as the exchange knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.surfaces.responses import frames, read, write
from app.surfaces.responses.fates import FATES
from app.surfaces.responses.write import ResponsesWriter


class ResponsesSurface:
    """``POST /v1/responses``.

    Args:
        clock: Tells the Unix time, for ``completed_at``; without it an answer ends when it began.
    """

    name = "responses"
    fates: Final = FATES

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock

    def read(self, body: Mapping[str, Any]) -> GenerationRequest:
        """Check and translate a request body; see ``app.surfaces.responses.read``."""
        return read.read_request(body)

    def writer(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> ResponsesWriter:
        """Make a writer for a streamed answer."""
        return ResponsesWriter(request, model, new_id, now, self._clock)

    def body(
        self, request: GenerationRequest, generations: Sequence[Generation], model: str, new_id: NewId, now: float
    ) -> dict[str, Any]:
        """Write a finished generation as one body."""
        return write.body(request, generations[0], model, new_id, now, self._clock)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return frames.error_frames(error)
