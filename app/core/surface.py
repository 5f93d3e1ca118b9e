"""What our clients speak: the one shape that every surface has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from msgspec import Struct, field

from app.core.errors import ApiError
from app.core.events import Event
from app.core.generation import Generation
from app.core.request import GenerationRequest

NewId: TypeAlias = Callable[[str], str]
"""Makes a new id with a prefix: ``new_id("chatcmpl-")``."""


class Wants(Struct, frozen=True):
    """What a request body only names, and has to be fetched before it can be read.

    Attributes:
        previous: The id of the response that it continues.
        conversation: The id of the conversation that it belongs to.
        items: Ids of single items.
        sealed: Texts that we sealed, each with the kind of thing that it should be.
    """

    previous: str | None = None
    conversation: str | None = None
    items: tuple[str, ...] = ()
    sealed: tuple[tuple[str, str], ...] = ()


class Past(Struct, frozen=True):
    """What was fetched.

    Attributes:
        context: The items that came before, oldest first.
        items: Single items, by id; those that were not found are absent.
        opened: Sealed texts with what was in them; those that are not ours are absent.
    """

    context: tuple[Mapping[str, Any], ...] = ()
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    opened: Mapping[str, str] = field(default_factory=dict)


NOTHING: Final = Wants()
NO_PAST: Final = Past()

SealText: TypeAlias = Callable[[str, str], str]
"""Seals a text for the client to keep: ``seal(kind, text)``."""


class Writer(Protocol):
    """Turns events into the bytes of one stream; made for each stream."""

    def feed(self, event: Event, choice: int = 0) -> bytes:
        """Take the next event of one choice: whole frames, or nothing."""


class KeptWriter(Protocol):
    """A writer whose answer can be kept."""

    final: Mapping[str, Any] | None
    """The answer as it ended; ``None`` before."""

    def feed(self, event: Event, choice: int = 0) -> bytes:
        """Take the next event of one choice: whole frames, or nothing."""

    def retract(self, error: ApiError) -> bytes:
        """Write a failure in place of the end that was written last, which nobody has seen."""


class Surface(Protocol):
    """One of OpenAI's APIs."""

    name: str

    def wants(self, body: Mapping[str, Any]) -> Wants:
        """What has to be fetched before the body can be read; the body may still be malformed."""

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> GenerationRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """

    def writer(
        self, request: GenerationRequest, model: str, new_id: NewId, now: float, seal: SealText | None = None
    ) -> Writer:
        """Make a writer for a streamed answer.

        Args:
            request: The request it answers.
            model: What the answer calls the model.
            new_id: Makes ids.
            now: When the answer began, in Unix seconds.
            seal: Seals what the client keeps for us.
        """

    def body(
        self,
        request: GenerationRequest,
        generations: Sequence[Generation],
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,
    ) -> dict[str, Any]:
        """Write finished generations, one per choice, as one JSON body."""

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte that the writer did not hear of, as the last frames of a stream."""


class BackgroundSurface(Surface, Protocol):
    """A surface whose answers may be made without their client."""

    def queued(self, request: GenerationRequest, response_id: str, now: float) -> dict[str, Any]:
        """Write the object of work that waits to be done."""

    def failed(
        self, begun: Mapping[str, Any], error: ApiError, last_number: int | None
    ) -> tuple[dict[str, Any], bytes]:
        """Write the object and the last frames of work that came to nothing.

        Args:
            begun: The object as it was queued.
            error: Why.
            last_number: The number of the last frame that was written; ``None`` when there was none.
        """
