"""The endpoints for pictures as their routes know them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from app.core.drawing import DrawingRequest, Picture
from app.core.model import Model
from app.core.surface import NewId
from app.core.task import TaskReply
from app.surfaces import stand_ins
from app.surfaces.fates import Fate
from app.surfaces.forms import FormFields
from app.surfaces.images.fates import EDIT_FATES, GENERATION_FATES, VARIATION_FATES
from app.surfaces.images.read import read_edit, read_generation, read_variation
from app.surfaces.images.write import EventName, reply

_FORM: Final = FormFields(
    integers=frozenset({"n", "seed", "steps", "output_compression", "partial_images", "frame_count"}),
    numbers=frozenset({"guidance", "strength"}),
    booleans=frozenset({"stream"}),
    arrays=frozenset({"image"}),
)


class ImagesSurface:
    """One of the endpoints for pictures.

    Args:
        name: What it is called in logs and metrics.
        read: Checks and translates a request body.
        fates: What becomes of each field.
        names: What is meant by OpenAI's names for models.
        form: Makes a body of a form; ``None`` where only JSON is taken.
        events: What the events of its streams are called.
    """

    main_field = "prompt"

    def __init__(
        self,
        name: str,
        read: Callable[[Mapping[str, Any]], DrawingRequest],
        fates: Mapping[str, Fate],
        names: Mapping[str, str],
        form: FormFields | None,
        events: EventName,
    ) -> None:
        self.name = name
        self.fates = fates
        self.form = form
        self._read = read
        self._names = names
        self._events = events

    def stand_in(self, name: str) -> str | None:
        """What is meant by OpenAI's names."""
        return stand_ins.stand_in(name, self._names)

    def read(self, body: Mapping[str, Any]) -> DrawingRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return self._read(body)

    def answer(
        self,
        request: DrawingRequest,
        result: Sequence[Picture],
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,  # noqa: ARG002 - nothing here has an id
        now: float,
    ) -> TaskReply:
        """Write the pictures, or what is to be written once they have URLs."""
        return reply(request, result, now, self._events)


def generations() -> ImagesSurface:
    """``POST /v1/images/generations``."""
    return ImagesSurface("images", read_generation, GENERATION_FATES, stand_ins.DRAWING, None, "image_generation")


def edits() -> ImagesSurface:
    """``POST /v1/images/edits``."""
    return ImagesSurface("image_edits", read_edit, EDIT_FATES, stand_ins.CHANGING, _FORM, "image_edit")


def variations() -> ImagesSurface:
    """``POST /v1/images/variations``."""
    return ImagesSurface("image_variations", read_variation, VARIATION_FATES, stand_ins.CHANGING, _FORM, "image_edit")
