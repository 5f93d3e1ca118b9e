"""Reading requests for pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.drawing import DrawingRequest, Quality, SourcePicture
from app.core.task import Upload
from app.surfaces import fields
from app.wire.kinds import HEAD_BYTES, picture_kind

MAX_PICTURES: Final = 10
"""As at OpenAI."""

MAX_PROMPT: Final = 32_000
"""The longest that any of OpenAI's models takes; ours have bounds of their own."""

MOST_PIXELS: Final = 4096
"""A side that is asked for."""

MOST_SEED: Final = 2**53 - 1

DEFAULT_MODEL: Final = "dall-e-2"
"""As at OpenAI, where a request names none."""

QUALITIES: Final[Mapping[str, Quality | None]] = {
    "auto": None,
    "low": "low",
    "standard": "medium",
    "medium": "medium",
    "hd": "high",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}

BACKGROUNDS: Final = ("transparent", "opaque", "auto")
OUTPUT_FORMATS: Final = ("png", "webp", "jpeg", "gif", "svg")
RESPONSE_FORMATS: Final = ("url", "b64_json")

_SIZE: Final = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")

_TOLD: Final = ("output_compression", "style", "complexity", "frame_duration_ms", "input_fidelity")


def read_generation(body: Mapping[str, Any]) -> DrawingRequest:
    """Check and translate a request for new pictures.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    return _request(body, _prompt(body), ())


def read_edit(body: Mapping[str, Any]) -> DrawingRequest:
    """Check and translate a request to change pictures.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    if body.get("markup") is not None:
        raise fields.unsupported_parameter(("markup",), "draw it into the picture, or send a mask.")
    mask = None if body.get("mask") is None else _picture(body["mask"], ("mask",))
    return _request(body, _prompt(body), _pictures(body), mask)


def read_variation(body: Mapping[str, Any]) -> DrawingRequest:
    """Check and translate a request for variations of a picture.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    return _request(body, None, _pictures(body)[:1])


def _prompt(body: Mapping[str, Any]) -> str:
    return fields.need(fields.string(body, "prompt", min_length=1, max_length=MAX_PROMPT), "prompt")


def _request(
    body: Mapping[str, Any],
    prompt: str | None,
    pictures: Sequence[SourcePicture],
    mask: SourcePicture | None = None,
) -> DrawingRequest:
    model = fields.string(body, "model", min_length=1) or DEFAULT_MODEL
    _refuse(body)
    stream = fields.boolean(body, "stream") or False
    count = fields.integer(body, "n", minimum=1, maximum=MAX_PICTURES) or 1
    if stream and count > 1:
        raise fields.unsupported_value(("n",), count, "A stream holds one picture.")
    return DrawingRequest(
        model,
        prompt,
        count,
        _size(body),
        _quality(body),
        pictures,
        mask,
        seed=fields.integer(body, "seed", minimum=0, maximum=MOST_SEED),
        guidance=fields.number(body, "guidance", minimum=0, maximum=100),
        negative_prompt=fields.string(body, "negative_prompt", max_length=MAX_PROMPT) or None,
        strength=fields.number(body, "strength", minimum=0, maximum=1),
        steps=fields.integer(body, "steps", minimum=1, maximum=1000),
        as_urls=not stream and _wants_urls(body, model),
        stream=stream,
        dropped=_dropped(body),
    )


def _refuse(body: Mapping[str, Any]) -> None:
    background = fields.one_of(body, "background", BACKGROUNDS)
    if background == "transparent":
        raise fields.unsupported_value(("background",), background, "No model on Workers AI makes such pictures.")
    if body.get("svg") is not None or body.get("output_format") == "svg":
        field = "svg" if body.get("svg") is not None else "output_format"
        raise fields.unsupported_parameter((field,), "no model on Workers AI draws with lines.")
    frames = fields.integer(body, "frame_count", minimum=1)
    if frames is not None and frames > 1:
        raise fields.unsupported_value(("frame_count",), frames, "Pictures do not move here.")


def _dropped(body: Mapping[str, Any]) -> tuple[str, ...]:
    dropped = [name for name in _TOLD if body.get(name) is not None]
    if fields.one_of(body, "output_format", OUTPUT_FORMATS) is not None:
        dropped.append("output_format")
    if fields.one_of(body, "moderation", ("low", "auto")) == "low":
        dropped.append("moderation")
    if fields.integer(body, "partial_images", minimum=0, maximum=3):
        dropped.append("partial_images")
    return tuple(dropped)


def _size(body: Mapping[str, Any]) -> tuple[int, int] | None:
    value = fields.string(body, "size")
    if value in {None, "", "auto"}:
        return None
    found = _SIZE.fullmatch(str(value))
    if found is None:
        raise fields.invalid(("size",), "expected 'auto', or a width and a height in pixels such as '1024x1024'.")
    width, height = int(found[1]), int(found[2])
    if max(width, height) > MOST_PIXELS:
        raise fields.invalid(("size",), f"expected sides of at most {MOST_PIXELS} pixels.")
    return width, height


def _quality(body: Mapping[str, Any]) -> Quality | None:
    value = fields.one_of(body, "quality", QUALITIES)
    return None if value is None else QUALITIES[value]


def _wants_urls(body: Mapping[str, Any], model: str) -> bool:
    asked = fields.one_of(body, "response_format", RESPONSE_FORMATS)
    if asked is not None:
        return asked == "url"
    # As at OpenAI: only the older models name their pictures by URLs, and do so unless told otherwise.
    return model.lower().startswith("dall-e-")


def _pictures(body: Mapping[str, Any]) -> Sequence[SourcePicture]:
    values = body.get("image")
    if not isinstance(values, list):
        values = [] if values is None else [values]
    if not values:
        raise fields.missing(("image",))
    if len(values) == 1:
        return [_picture(values[0], ("image",))]
    return [_picture(value, ("image", place)) for place, value in enumerate(values)]


def _picture(value: object, path: fields.Path) -> SourcePicture:
    if not isinstance(value, Upload):
        raise fields.wrong_type(path, "a file", value)
    kind = picture_kind(value.data[:HEAD_BYTES])
    if kind is None or kind == "image/gif":
        reason = "the file is empty." if not value.data else "its bytes are no PNG, JPEG or WebP picture."
        raise fields.invalid(path, reason, "invalid_image")
    return SourcePicture(value.data, kind, fields.text_of(path))
