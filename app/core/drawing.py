"""What is to be drawn, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from app.core.quiet import Quiet

Quality = Literal["low", "medium", "high"]


class SourcePicture(NamedTuple):
    """A picture that the client sent.

    Attributes:
        data: Its bytes.
        kind: Its media type, by its bytes.
        param: Where it stood in the request, for errors: ``image`` or ``image[1]``.
    """

    data: bytes
    kind: str
    param: str


class DrawingRequest(Quiet, frozen=True):
    """Pictures to be drawn.

    Attributes:
        model: As the client named it.
        prompt: What is to be seen; ``None`` for a variation of the picture that is given.
        count: How many.
        size: Width and height in pixels; ``None`` for the model's own.
        quality: How good; ``None`` for the model's own.
        pictures: What the client sent, to draw with or to change.
        mask: Tells which part is to be drawn: where it is transparent.
        seed: Of the first picture; the others get the numbers after it.
        guidance: How closely the model keeps to the prompt.
        negative_prompt: What is not to be seen.
        strength: How much the picture that is given is changed, from 0 to 1.
        steps: How many the model takes; goes before ``quality``.
        as_urls: The answer names the pictures by URLs instead of holding them.
        stream: The client wants events.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"prompt", "negative_prompt"})

    model: str
    prompt: str | None
    count: int = 1
    size: tuple[int, int] | None = None
    quality: Quality | None = None
    pictures: Sequence[SourcePicture] = ()
    mask: SourcePicture | None = None
    seed: int | None = None
    guidance: float | None = None
    negative_prompt: str | None = None
    strength: float | None = None
    steps: int | None = None
    as_urls: bool = False
    stream: bool = False
    dropped: tuple[str, ...] = ()


class Picture(NamedTuple):
    """A picture that was drawn.

    Attributes:
        data: Its bytes.
        kind: Its media type, by its bytes, such as ``image/png``.
    """

    data: bytes
    kind: str
