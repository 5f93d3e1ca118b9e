"""``POST /v1/moderations``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.core.model import Model
from app.core.moderation import ModerationRequest, Verdict
from app.core.surface import NewId
from app.core.task import TaskReply
from app.surfaces.fields import (
    Path,
    array,
    invalid,
    missing,
    need,
    one_of,
    string,
    unsupported_value,
    wrong_type,
)
from app.surfaces.moderations.fates import FATES
from app.surfaces.moderations.hazards import CATEGORIES, HAZARDS
from app.wire.codec import encode

MOST_TEXTS: Final = 100
"""Each is a call of its own, of which an account may make a few hundred in a minute."""

DEFAULT_MODEL: Final = "@cf/meta/llama-guard-3-8b"

_OPENAIS: Final = ("omni-moderation-", "text-moderation-")
_TEXT_ONLY: Final = dict.fromkeys(CATEGORIES, ("text",))


class ModerationsSurface:
    """``POST /v1/moderations``."""

    name = "moderations"
    main_field = "input"
    form = None
    fates = FATES

    def stand_in(self, name: str) -> str | None:
        """The guard, for OpenAI's own models."""
        return DEFAULT_MODEL if name.startswith(_OPENAIS) else None

    def read(self, body: Mapping[str, Any]) -> ModerationRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return ModerationRequest(model=string(body, "model", min_length=1) or DEFAULT_MODEL, texts=_texts(body))

    def answer(
        self,
        request: ModerationRequest,
        result: Sequence[Verdict],
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,
        now: float,  # noqa: ARG002 - the object has no time
    ) -> TaskReply:
        """Write one result for each text."""
        body = {"id": new_id("modr-"), "model": request.model, "results": [_shown(verdict) for verdict in result]}
        return TaskReply(encode(body))


def _texts(body: Mapping[str, Any]) -> list[str]:
    value = body.get("input")
    if value is None:
        raise missing(("input",))
    if isinstance(value, str):
        return [_text(value, ("input",))]
    if not isinstance(value, list):
        raise wrong_type(("input",), "a string or an array", value)
    array(body, "input", min_length=1, max_length=MOST_TEXTS)
    if isinstance(value[0], dict):
        return ["\n".join(_part(part, ("input", index)) for index, part in enumerate(value))]
    return [_text(text, ("input", index)) for index, text in enumerate(value)]


def _text(value: object, path: Path) -> str:
    if not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    if not value:
        raise invalid(path, "empty string. Expected a text to moderate.", "empty_string")
    return value


def _part(part: object, path: Path) -> str:
    if not isinstance(part, dict):
        raise wrong_type(path, "an object", part)
    kind = need(one_of(part, "type", ("text", "image_url"), path), "type", path)
    if kind == "image_url":
        raise unsupported_value((*path, "type"), kind, "The moderation model of Workers AI reads texts only.")
    return _text(need(part.get("text"), "text", path), (*path, "text"))


def _shown(verdict: Verdict) -> dict[str, Any]:
    found = {name for code in verdict.hazards for name in HAZARDS.get(code, ("", ()))[1]}
    return {
        # What is unsafe is flagged, also where OpenAI has no category for it.
        "flagged": not verdict.safe,
        "categories": {name: name in found for name in CATEGORIES},
        "category_scores": {name: 1.0 if name in found else 0.0 for name in CATEGORIES},
        "category_applied_input_types": _TEXT_ONLY,
        "hazards": list(verdict.hazards),
    }
