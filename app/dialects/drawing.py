"""What is spoken to models of pictures: each has its own fields, some take a form, and none draws several at once."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from app.core.cost import by_units
from app.core.drawing import DrawingRequest, Picture
from app.core.errors import BadRequest, UpstreamBroken
from app.core.media import Drawing
from app.core.model import Model
from app.core.task import Call, Given, Understood
from app.core.units import picture_units
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage, estimate_tokens, summed
from app.dialects.binaries import bytes_of
from app.dialects.forms import Field, form_of
from app.dialects.native import PREFIX
from app.wire.kinds import HEAD_BYTES, picture_kind
from app.wire.pictures import PictureError, mask_of, size_of

TASK: Final = "Text-to-Image"

MULTIPLE: Final = 8
"""Sides are whole multiples of so many pixels."""

MOST_SEEDS: Final = 2**31
"""Seeds are below this: models differ in how large a number they take."""

MOST_REFERENCES: Final = 4

WANTED: Final = {"accept": "image/*, application/json"}

_VARIATION: Final = "A variation of the picture."
"""A prompt has to be there; this one asks for nothing in particular."""

_UNKNOWN: Final = Drawing(sides=(256, 2048), knobs=frozenset({"seed"}))
"""What is taken of a model that is newer than this package."""

_USUAL_STEPS: Final = 4
"""Where the steps cannot be chosen, for the prices that count them."""


class DrawingDialect:
    """What models of pictures are asked on ``/ai/run/{model}``.

    Args:
        new_seed: Makes a number from 0 to ``MOST_SEEDS``, for several pictures of one request: without seeds that
            differ, a cache on the way would give the same one again.
    """

    name = "drawing"
    task = TASK
    verb = "make images"
    fields: Mapping[str, str] = MappingProxyType(
        {
            "prompt": "prompt",
            "width": "size",
            "height": "size",
            "steps": "quality",
            "num_steps": "quality",
            "seed": "seed",
            "guidance": "guidance",
            "negative_prompt": "negative_prompt",
            "strength": "strength",
            "image": "image",
            "image_b64": "image",
            "mask": "mask",
            **{f"input_image_{number}": "image" for number in range(MOST_REFERENCES)},
        }
    )

    def __init__(self, new_seed: Callable[[], int]) -> None:
        self._new_seed = new_seed

    def serves(self, model: Model) -> bool:
        """It makes images."""
        return model.task == TASK

    def write(self, request: DrawingRequest, model: Model) -> Sequence[Call]:
        """Translate a request: one call for each picture, with a seed of its own where the model takes one.

        Raises:
            BadRequest: The model cannot draw this.
        """
        facts = model.drawing or _UNKNOWN
        _check_sources(request, model, facts)
        seed = self._new_seed() if request.seed is None and request.count > 1 else request.seed
        writing = _Writing(request, facts, seed)
        estimate = _usage(request, model, facts, writing.size)
        return [Call(writing.request(model, number), estimate) for number in range(request.count)]

    def read(self, request: DrawingRequest, model: Model, answers: Sequence[Given]) -> Understood[Sequence[Picture]]:
        """Understand the answers.

        Raises:
            UpstreamBroken: One of them is no picture.
        """
        facts = model.drawing or _UNKNOWN
        pictures = [_picture(given) for given in answers]
        sizes = [size_of(picture.data) for picture in pictures]
        usages = [_usage(request, model, facts, size) for size in sizes]
        return Understood(pictures, summed(usages))


class _Writing:
    """Writes the calls of one request, and notes what of it could not be sent."""

    def __init__(self, request: DrawingRequest, facts: Drawing, seed: int | None) -> None:
        self._request = request
        self._seed = seed
        self._facts = facts
        self._dropped: list[str] = []
        self._adjusted: list[str] = []
        self.size = self._size()
        self._values: dict[str, Any] = {"prompt": request.prompt or _VARIATION, **self._chosen()}

    def request(self, model: Model, number: int) -> UpstreamRequest:
        """The call for one picture."""
        request, facts = self._request, self._facts
        values = dict(self._values)
        if "seed" in facts.knobs and self._seed is not None:
            values["seed"] = (self._seed + number) % MOST_SEEDS
        notes: dict[str, Any] = {"dropped": tuple(self._dropped), "adjusted": tuple(self._adjusted)}
        path = PREFIX + model.id
        if not facts.form:
            return UpstreamRequest(path, {**values, **_sources(request, facts)}, stream=False, headers=WANTED, **notes)
        parts = [Field(name, str(value)) for name, value in values.items()]
        parts += [
            Field(f"input_image_{place}", picture.data, picture.kind) for place, picture in enumerate(request.pictures)
        ]
        content_type, content = form_of(parts)
        headers = {**WANTED, "content-type": content_type}
        return UpstreamRequest(path, {}, stream=False, headers=headers, content=content, **notes)

    def _size(self) -> tuple[int, int] | None:
        """The size to ask for: what the client wants, as near as the model comes to it."""
        wanted, sides = self._request.size, self._facts.sides
        if wanted is None:
            return None
        if sides is None:
            if wanted != (self._facts.usual_side, self._facts.usual_side):
                self._dropped.append("size")
            return None
        least, most = sides
        width, height = (min(max(round(side / MULTIPLE) * MULTIPLE, least), most) for side in wanted)
        if (width, height) != wanted:
            self._adjusted.append("size")
        return width, height

    def _chosen(self) -> dict[str, Any]:
        request, facts = self._request, self._facts
        values: dict[str, Any] = {}
        if self.size is not None:
            values["width"], values["height"] = self.size
        if facts.steps is not None:
            steps = _steps(request, facts)
            if steps is not None:
                values[facts.steps.field] = steps
            if request.steps is not None and steps != request.steps:
                self._adjusted.append("steps")
        elif request.steps is not None:
            self._dropped.append("steps")
        elif request.quality not in {None, "medium"}:
            self._dropped.append("quality")
        if "seed" not in facts.knobs and request.seed is not None:
            self._dropped.append("seed")
        for name in ("guidance", "negative_prompt", "strength"):
            value = getattr(request, name)
            if value is None:
                continue
            if name in facts.knobs:
                values[name] = value
            else:
                self._dropped.append(name)
        return values


def _check_sources(request: DrawingRequest, model: Model, facts: Drawing) -> None:
    """Refuse what a model cannot do with the pictures of the client, and without them."""
    if facts.max_prompt is not None and request.prompt is not None and len(request.prompt) > facts.max_prompt:
        raise BadRequest(
            f"Invalid 'prompt': string too long. Expected a string with maximum length {facts.max_prompt}, but got a "
            f"string with length {len(request.prompt)} instead.",
            param="prompt",
            code="string_above_max_length",
        )
    given = len(request.pictures)
    name = request.model
    if not given:
        if facts.source in {"image", "mask"}:
            what = "an image" if facts.source == "image" else "an image and a mask"
            raise _refused(f"The model '{name}' changes pictures: it needs {what}; use /v1/images/edits.", "model")
        return
    if facts.source is None:
        raise _refused(
            f"The model '{model.short_name}' does not take images; use one such as 'flux-2-klein-4b'.", "model"
        )
    most = MOST_REFERENCES if facts.source == "reference" else 1
    if given > most:
        raise _refused(f"The model '{model.short_name}' takes {most} image{'s' if most > 1 else ''} at most.", "image")
    if facts.source == "mask" and request.prompt is None:
        raise _refused(f"The model '{model.short_name}' needs a mask, and does not make variations.", "model")
    if facts.source == "mask" and request.mask is None:
        raise _refused(f"The model '{model.short_name}' draws what a mask leaves free; send a 'mask'.", "mask")
    if facts.source != "mask" and request.mask is not None:
        raise _refused(
            f"The model '{model.short_name}' does not take a mask; use 'stable-diffusion-v1-5-inpainting'.", "mask"
        )


def _refused(sentence: str, param: str) -> BadRequest:
    return BadRequest(sentence, param=param, code="model_not_supported" if param == "model" else "unsupported_value")


def _sources(request: DrawingRequest, facts: Drawing) -> dict[str, Any]:
    """The client's pictures, for models that take JSON."""
    if not request.pictures or facts.source is None:
        return {}
    first = request.pictures[0]
    fields: dict[str, Any] = {"image_b64": binascii.b2a_base64(first.data, newline=False).decode("ascii")}
    if request.mask is not None:
        try:
            # OpenAI's masks are transparent where to draw, these models' are white.
            mask = mask_of(request.mask.data) or request.mask.data
        except PictureError as error:
            raise BadRequest(f"Invalid mask: it is {error}.", param="mask", code="invalid_image") from None
        fields["mask"] = list(mask)
    return fields


def _steps(request: DrawingRequest, facts: Drawing) -> int | None:
    """How many steps to ask for; ``None`` for the model's own choice."""
    steps = facts.steps
    if steps is None:
        return None
    if request.steps is not None:
        return min(max(request.steps, 1), steps.most)
    return {"low": steps.low, "high": steps.high}.get(request.quality or "")


def _picture(given: Given) -> Picture:
    data = bytes_of(given)
    kind = picture_kind(data[:HEAD_BYTES])
    if kind is None:
        raise UpstreamBroken("Workers AI sent a picture of an unknown kind.")
    return Picture(data, kind)


def _usage(request: DrawingRequest, model: Model, facts: Drawing, size: tuple[int, int] | None) -> Usage:
    width, height = size or (facts.usual_side, facts.usual_side)
    usual = facts.steps.usual if facts.steps is not None else _USUAL_STEPS
    units = picture_units(width, height, _steps(request, facts) or usual, len(request.pictures))
    neurons = by_units(model, units)
    return Usage(estimate_tokens(request.prompt or ""), 0, neurons=neurons, source="estimated")
