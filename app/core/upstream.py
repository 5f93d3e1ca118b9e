"""What goes to the upstream, and how an upstream's answer becomes events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from app.core.events import Event
from app.core.model import Model
from app.core.quiet import Quiet
from app.core.request import GenerationRequest, Tool


class Emulation(Struct, frozen=True):
    """What the upstream is not asked for, because it does not have it or does it badly, and is done to its answer.

    Attributes:
        stop: Texts at which the answer ends; they are not part of it.
        one_call: Only the first tool call counts.
        tools: Names of the tools on offer: calls of them that leak as text are calls.
        forced: A call was demanded, so a text that looks like one is one.
        only: The one tool that had to be called: a text may hold its arguments without its name.
    """

    stop: tuple[str, ...] = ()
    one_call: bool = False
    tools: frozenset[str] = frozenset()
    forced: bool = False
    only: Tool | None = None


class UpstreamRequest(Quiet, frozen=True):
    """One request in a dialect.

    Attributes:
        path: Below the account's ``/ai``, such as ``/v1/chat/completions``.
        json: The body.
        stream: The upstream is asked to stream.
        max_tokens: The token limit in the body; a spent limit is how a cut answer is recognised.
        headers: Beside those of every request.
        dropped: OpenAI's names of the fields that could not be sent.
        adjusted: OpenAI's names of the fields whose value had to be changed.
        emulation: What is done to the answer instead of by the upstream.
        content: The body where it is not JSON; ``content-type`` is then among the headers.
    """

    hidden = frozenset({"content"})

    path: str
    json: Mapping[str, Any]
    stream: bool
    max_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    emulation: Emulation = field(default_factory=Emulation)
    content: bytes | None = None


class Reader(Protocol):
    """Turns one upstream answer into events; made for each answer, and fed its frames in order."""

    stopped_early: bool
    """The terminal event came although the upstream goes on: it is to be closed at once."""

    def feed(self, frame: bytes) -> Sequence[Event]:
        """Take the data of one SSE frame."""

    def close(self) -> Sequence[Event]:
        """Say that no more frames will come. Whatever is missing is made up for: an answer that just stops fails."""

    def read(self, body: bytes) -> Sequence[Event]:
        """Take a whole unstreamed answer: the complete event stream, terminal event included."""


class Dialect(Protocol):
    """What Cloudflare speaks on one of its routes."""

    name: str

    def write(self, request: GenerationRequest, model: Model, *, stream: bool) -> UpstreamRequest:
        """Translate a request.

        Args:
            request: What to generate.
            model: The model that will do it.
            stream: Ask for a stream where the features in use can stream.

        Raises:
            BadRequest: A feature that this model does not have, named by its field.
        """

    def reader(self, sent: UpstreamRequest, model: Model, now: float) -> Reader:
        """Make a reader for the answer to ``sent``; ``now`` is the Unix time, for errors that name a deadline."""
