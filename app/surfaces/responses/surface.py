"""The Responses surface as the exchange knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NewId, Past, SealText, Wants
from app.surfaces.responses import frames, read, record, write
from app.surfaces.responses.fates import FATES
from app.surfaces.responses.frames import ReasoningEvents, words_of
from app.surfaces.responses.wants import find_wants
from app.surfaces.responses.write import ResponsesWriter


class ResponsesSurface:
    """``POST /v1/responses``.

    Args:
        clock: Tells the Unix time, for ``completed_at``; without it an answer ends when it began.
        stores: Answers are stored, so they can be fetched and continued.
        seals: Reasoning can be encrypted for the client to keep.
        continues: Answers can be continued though they are not stored, because the connection remembers them.
        reasoning_events: Whose names the events of reasoning have.
    """

    name = "responses"
    fates: Final = FATES

    def __init__(
        self,
        clock: Callable[[], float] | None = None,
        *,
        stores: bool = False,
        seals: bool = False,
        continues: bool = False,
        reasoning_events: ReasoningEvents = "openai",
    ) -> None:
        self._clock = clock
        self._stores = stores
        self._seals = seals
        self._continues = continues
        self._words = words_of(reasoning_events)

    def wants(self, body: Mapping[str, Any]) -> Wants:
        """What has to be fetched before the body can be read."""
        return find_wants(body)

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> GenerationRequest:
        """Check and translate a request body; see ``app.surfaces.responses.read``."""
        return read.read_request(body, past, stores=self._stores, seals=self._seals, continues=self._continues)

    def writer(
        self, request: GenerationRequest, model: str, new_id: NewId, now: float, seal: SealText | None = None
    ) -> ResponsesWriter:
        """Make a writer for a streamed answer."""
        return ResponsesWriter(request, model, new_id, now, self._clock, seal, self._words)

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
        return write.body(request, generations[0], model, new_id, now, self._clock, seal)

    def queued(self, request: GenerationRequest, response_id: str, now: float) -> dict[str, Any]:
        """Write the Response object of work that waits to be done."""
        return {**record.begun(request, response_id, request.model, int(now)), "status": "queued"}

    def failed(
        self, begun: Mapping[str, Any], error: ApiError, last_number: int | None
    ) -> tuple[dict[str, Any], bytes]:
        """Write the Response object and the last frames of work that came to nothing."""
        return write.failure(begun, error, last_number)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return frames.error_frames(error)
