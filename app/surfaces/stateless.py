"""What the surfaces have in common that keep nothing between two requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from app.core.errors import ApiError
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NO_PAST, NOTHING, NewId, Past, SealText, Wants, Writer
from app.surfaces import closing
from app.surfaces.fates import Fate

Body: TypeAlias = Callable[[GenerationRequest, Sequence[Generation], str, NewId, float], dict[str, Any]]


class MakeWriter(Protocol):
    """Makes the writer of one stream."""

    def __call__(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> Writer:
        """Make it; see ``app.core.surface.Surface.writer``."""


class StatelessSurface:
    """A surface that is its reader, its writer and its body.

    Args:
        name: What it is called in logs and metrics.
        fates: What becomes of each field.
        read: Checks and translates a request body.
        make_writer: Makes the writer of one stream.
        body: Writes finished generations as one body.
    """

    def __init__(
        self,
        name: str,
        fates: Mapping[str, Fate],
        read: Callable[[Mapping[str, Any]], GenerationRequest],
        make_writer: MakeWriter,
        body: Body,
    ) -> None:
        self.name = name
        self.fates = fates
        self._read = read
        self._make_writer = make_writer
        self._body = body

    def wants(self, body: Mapping[str, Any]) -> Wants:  # noqa: ARG002 - whatever it is
        """Nothing: this API keeps no state."""
        return NOTHING

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> GenerationRequest:  # noqa: ARG002
        """Check and translate a request body."""
        return self._read(body)

    def writer(
        self,
        request: GenerationRequest,
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,  # noqa: ARG002
    ) -> Writer:
        """Make a writer for a streamed answer."""
        return self._make_writer(request, model, new_id, now)

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
        return self._body(request, generations, model, new_id, now)

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of."""
        return closing.error_frames(error)
