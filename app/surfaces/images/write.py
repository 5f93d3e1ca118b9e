"""Writing pictures: within the answer, by their URLs, and as an event."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import field

from app.core.drawing import DrawingRequest, Picture
from app.core.task import TaskReply
from app.core.usage import estimate_tokens
from app.surfaces.events import EVENT_STREAM, event
from app.wire.codec import encode
from app.wire.pictures import size_of

EventName = Literal["image_generation", "image_edit"]

_TOLD_FORMATS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})


class UrlReply(TaskReply, frozen=True):
    """An answer that names its pictures by URLs, which are not known before the pictures are kept.

    Attributes:
        pictures: The pictures.
        head: The answer without them.
    """

    hidden = TaskReply.hidden | {"pictures"}

    pictures: Sequence[Picture] = ()
    head: Mapping[str, Any] = field(default_factory=dict)

    def with_urls(self, urls: Sequence[str]) -> TaskReply:
        """The whole answer.

        Args:
            urls: Of the pictures, in their order.
        """
        return TaskReply(encode({**self.head, "data": [{"url": url} for url in urls]}))


def reply(request: DrawingRequest, pictures: Sequence[Picture], now: float, name: EventName) -> TaskReply:
    """The answer, as the client wants it.

    Args:
        request: What was asked.
        pictures: What was drawn.
        now: The Unix time.
        name: What the events of a stream are called.
    """
    head = {"created": int(now), **_told(request, pictures)}
    if request.stream:
        return TaskReply(event(_completed(request, pictures[0], head, name)), EVENT_STREAM)
    if request.as_urls:
        return UrlReply(b"", pictures=pictures, head=head)
    return TaskReply(encode({**head, "data": [{"b64_json": _base64(picture)} for picture in pictures]}))


def _told(request: DrawingRequest, pictures: Sequence[Picture]) -> dict[str, Any]:
    """What the pictures are, where they are alike."""
    told: dict[str, Any] = {"background": "opaque"}
    kinds = {picture.kind for picture in pictures}
    sizes = {size_of(picture.data) for picture in pictures}
    if len(kinds) == 1 and kinds <= _TOLD_FORMATS:
        told["output_format"] = pictures[0].kind.removeprefix("image/")
    size = sizes.pop() if len(sizes) == 1 else None
    if size is not None:
        told["size"] = f"{size.width}x{size.height}"
    if request.quality is not None:
        told["quality"] = request.quality
    return told


def _completed(
    request: DrawingRequest, picture: Picture, head: Mapping[str, Any], name: EventName
) -> Mapping[str, Any]:
    tokens = estimate_tokens(request.prompt or "")
    return {
        "type": f"{name}.completed",
        "b64_json": _base64(picture),
        "created_at": head["created"],
        "size": head.get("size", "auto"),
        "quality": head.get("quality", "auto"),
        "background": head["background"],
        "output_format": picture.kind.removeprefix("image/"),
        "usage": {
            "input_tokens": tokens,
            "output_tokens": 0,
            "total_tokens": tokens,
            "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
        },
    }


def _base64(picture: Picture) -> str:
    return binascii.b2a_base64(picture.data, newline=False).decode("ascii")
