"""How a stream of one or more choices ends: once, however many choices it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import ApiError
from app.core.request import GenerationRequest
from app.core.usage import Usage
from app.surfaces import fields
from app.surfaces.usage import sum_usages, usage_body
from app.wire.codec import encode
from app.wire.sse import DONE


class Closing:
    """Counts the choices that are finished.

    Args:
        start: The beginning of every chunk, up to where its choices come.
        choices: How many there are.
        include_usage: A chunk with the usage of all choices ends the stream.
    """

    __slots__ = ("_include_usage", "_left", "_start", "_usages")

    def __init__(self, start: bytes, choices: int, *, include_usage: bool) -> None:
        self._start = start
        self._left = choices
        self._include_usage = include_usage
        self._usages: list[Usage | None] = []

    def finish(self, usage: Usage | None) -> bytes:
        """Take the end of one choice; the frames that end the stream when it was the last."""
        self._left -= 1
        self._usages.append(usage)
        if self._left:
            return b""
        if not self._include_usage:
            return DONE
        total = encode(usage_body(sum_usages(self._usages)))
        return self._start + b',"choices":[],"usage":' + total + b"}\n\n" + DONE


def error_frames(error: ApiError) -> bytes:
    """A failure after the first byte. No ``[DONE]`` follows: a broken stream must not look finished."""
    return b"data: " + encode({"error": error.body()}) + b"\n\n"


def read_stream(body: Mapping[str, Any]) -> bool:
    """Read ``stream`` and check ``stream_options``.

    Raises:
        BadRequest: One of them is malformed.
    """
    options = fields.object_(body, "stream_options")
    if options is not None:
        for name in ("include_usage", "include_obfuscation"):
            fields.boolean(options, name, ("stream_options",))
    return fields.boolean(body, "stream") or False


def wants_usage(request: GenerationRequest) -> bool:
    """The client asked for a usage chunk at the end of its stream."""
    options = request.raw.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
