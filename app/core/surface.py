"""What our clients speak: the one shape that every surface has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from app.core.errors import ApiError
from app.core.events import Event
from app.core.generation import Generation
from app.core.request import GenerationRequest

NewId: TypeAlias = Callable[[str], str]
"""Makes a new id with a prefix: ``new_id("chatcmpl-")``."""


class Writer(Protocol):
    """Turns events into the bytes of one stream; made for each stream."""

    def feed(self, event: Event, choice: int = 0) -> bytes:
        """Take the next event of one choice: whole frames, or nothing."""


class Surface(Protocol):
    """One of OpenAI's APIs."""

    name: str

    def read(self, body: Mapping[str, Any]) -> GenerationRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """

    def writer(self, request: GenerationRequest, model: str, new_id: NewId, now: float) -> Writer:
        """Make a writer for a streamed answer.

        Args:
            request: The request it answers.
            model: What the answer calls the model.
            new_id: Makes ids.
            now: When the answer began, in Unix seconds.
        """

    def body(
        self, request: GenerationRequest, generations: Sequence[Generation], model: str, new_id: NewId, now: float
    ) -> dict[str, Any]:
        """Write finished generations, one per choice, as one JSON body."""

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of, as the last frames of a stream."""
