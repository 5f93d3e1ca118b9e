"""Requests that a model answers in one piece and that are not text generation: embeddings, ranking, sound, pictures.

What joins a surface to a dialect here are a request and a result of the endpoint's own (``R`` and ``A`` below), in
place of the events of a generation::

    body   → TaskSurface.read   → R                         what the client wants
    R      → TaskDialect.write  → one or several Calls      what the upstream is asked, for one model
    Given  → TaskDialect.read   → Understood[A]             what the upstream has answered, and what it used
    R, A   → TaskSurface.answer → TaskReply                 what the client gets

All of it is pure; ``app.exchange.run.Run`` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from msgspec import Struct

from app.core.model import Model
from app.core.quiet import Quiet
from app.core.surface import NewId
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage

JSON: Final = "application/json"


class Upload(Quiet, frozen=True):
    """A file that came in a form.

    Attributes:
        name: What the client calls it; never a place to write to.
        content_type: What the client says that it is; not to be believed.
        data: Its bytes.
    """

    hidden = frozenset({"data"})

    name: str
    content_type: str | None
    data: bytes


class TaskRequest(Protocol):
    """What every request of this kind has; each endpoint has a class of its own."""

    @property
    def model(self) -> str:
        """The model, as the client named it."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields that the surface had to leave out."""


class Call(Struct, frozen=True):
    """One call of the upstream.

    Attributes:
        request: What is sent. A body that is not JSON is ``content``, its type a header (``content-type``).
        estimate: What it may use: reserved before it is sent, and charged when it was sent and its answer never came.
            ``neurons`` are set where the cost is not by tokens (``app.core.cost.by_units``), else ``None``.
        passes: An answer that is not JSON is given to the client as it comes; the dialect reads its beginning.
        condense: Makes what is needed of an answer as soon as it has come, for those that are large and of which one
            request has many. It may raise ``UpstreamBroken``: the call is then made again.
    """

    request: UpstreamRequest
    estimate: Usage
    passes: bool = False
    condense: Callable[[Given], Given] | None = None


class Given(Quiet, frozen=True):
    """What the upstream answered to one call, with a good status.

    Attributes:
        content_type: The media type, without parameters, in lower case.
        body: The bytes, as they came.
        result: Where they are JSON: decoded, and out of Cloudflare's envelope; failures in an envelope never come here.
            ``None`` where they are not JSON.
        more: The body is only the beginning; see ``Call.passes``.
    """

    hidden = frozenset({"body", "result"})

    content_type: str
    body: bytes
    result: Any = None
    more: bool = False


class TaskReply(Quiet, frozen=True):
    """What the client gets, with status 200.

    Attributes:
        body: Its bytes.
        content_type: Their type.
        each: Where the answer is still coming: writes each of its later pieces. The body is then the beginning.
        end: Likewise what stands at its end.
    """

    hidden = frozenset({"body"})

    body: bytes
    content_type: str = JSON
    each: Callable[[bytes], bytes] | None = None
    end: bytes = b""


R = TypeVar("R", bound=TaskRequest)
A = TypeVar("A")
R_contra = TypeVar("R_contra", bound=TaskRequest, contravariant=True)
A_contra = TypeVar("A_contra", contravariant=True)


class Understood(Struct, Generic[A], frozen=True):
    """What the upstream's answers say.

    Attributes:
        result: What was asked for.
        usage: What all calls together have used; with ``neurons`` where the cost is not by tokens.
    """

    result: A
    usage: Usage


FormReader: TypeAlias = Callable[[Sequence[tuple[str, str]], Sequence[tuple[str, Upload]]], Mapping[str, Any]]
"""Makes a body of a form's plain fields and its files, each with its name, in their order."""


class TaskSurface(Protocol[R, A_contra]):
    """One of OpenAI's endpoints."""

    @property
    def name(self) -> str:
        """What it is called in logs and metrics."""

    @property
    def main_field(self) -> str:
        """The field that is at fault when the upstream says that the input is too long."""

    @property
    def form(self) -> FormReader | None:
        """Makes a body of a form (``multipart/form-data``); ``None`` where only JSON is taken."""

    def stand_in(self, name: str) -> str | None:
        """The model to take for a name that no model has: OpenAI's own names, which clients send whatever they mean.

        Args:
            name: What the client called it.

        Returns:
            A model's name; ``None`` where an unknown name is an error.
        """

    def read(self, body: Mapping[str, Any]) -> R:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """

    def answer(self, request: R, result: A_contra, model: Model, new_id: NewId, now: float) -> TaskReply:
        """Write the answer; ``model`` is what gave it, ``now`` the Unix time of the request."""


class TaskDialect(Protocol[R_contra, A]):
    """What is spoken to the models that do one thing."""

    @property
    def name(self) -> str:
        """What it is called in logs and metrics."""

    @property
    def task(self) -> str:
        """Cloudflare's name for what they do; a model that is newer than the catalogue is taken to do it."""

    @property
    def verb(self) -> str:
        """What they do, after "does not": ``make embeddings``."""

    @property
    def fields(self) -> Mapping[str, str]:
        """The client's name of a field by the upstream's, for the upstream's complaints."""

    def serves(self, model: Model) -> bool:
        """This is spoken to a model."""

    def write(self, request: R_contra, model: Model) -> Sequence[Call]:
        """Translate a request into one call or several, whose order the answers will have.

        Raises:
            BadRequest: The model cannot do what is asked, named by the client's field.
        """

    def read(self, request: R_contra, model: Model, answers: Sequence[Given]) -> Understood[A]:
        """Understand the answers.

        Raises:
            UpstreamBroken: They are not what they should be.
        """
