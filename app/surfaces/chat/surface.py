"""The chat surface as the exchange knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.surfaces import closing
from app.surfaces.chat import read, write
from app.surfaces.chat.fates import FATES
from app.surfaces.chat.write import ChatWriter


class ChatSurface:
    """``POST /v1/chat/completions``."""

    name = "chat"
    fates: Final = FATES

    def read(self, body: Mapping[str, Any]) -> GenerationRequest:
        """Check and translate a request body; see ``app.surfaces.chat.read``."""
        return read.read_request(body)

    def writer(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> ChatWriter:
        """Make a writer for a streamed answer."""
        return ChatWriter(request, model, new_id, now)

    def body(
        self, request: GenerationRequest, generations: Sequence[Generation], model: str, new_id: NewId, now: float
    ) -> dict[str, Any]:
        """Write finished generations as one body."""
        return write.body(request, generations, model, new_id, now)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return closing.error_frames(error)
