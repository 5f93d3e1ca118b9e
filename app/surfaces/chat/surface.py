"""The chat surface as the exchange knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NOTHING, NewId, Past, SealText, Wants
from app.surfaces import closing
from app.surfaces.chat import read, write
from app.surfaces.chat.fates import FATES
from app.surfaces.chat.write import ChatWriter


class ChatSurface:
    """``POST /v1/chat/completions``."""

    name = "chat"
    fates: Final = FATES

    def wants(self, body: Mapping[str, Any]) -> Wants:  # noqa: ARG002 - whatever it is
        """Nothing: this API keeps no state."""
        return NOTHING

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> GenerationRequest:  # noqa: ARG002
        """Check and translate a request body; see ``app.surfaces.chat.read``."""
        return read.read_request(body)

    def writer(
        self,
        request: GenerationRequest,
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,  # noqa: ARG002
    ) -> ChatWriter:
        """Make a writer for a streamed answer."""
        return ChatWriter(request, model, new_id, now)

    def body(
        self,
        request: GenerationRequest,
        generations: Sequence[Generation],
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Write finished generations as one body."""
        return write.body(request, generations, model, new_id, now)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return closing.error_frames(error)
