"""One request body, as both text routes take it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from app.core.model import Model
from app.core.request import GenerationRequest
from app.dialects.budget import token_limit
from app.dialects.effort import write_effort, write_thinking_off
from app.dialects.formats import write_format
from app.dialects.knobs import write_knobs
from app.dialects.messages import write_messages
from app.dialects.notes import Notes
from app.dialects.prompt import write_prompt
from app.dialects.tools import write_tools


class Written(Struct, frozen=True):
    """A request body and what it could not hold.

    Attributes:
        json: The body, without the model and without ``stream``.
        max_tokens: The token limit in it.
        streams: Nothing in it forbids streaming.
        notes: The fields that were dropped or changed.
    """

    json: dict[str, Any]
    max_tokens: int
    streams: bool
    notes: Notes


def write_body(request: GenerationRequest, model: Model, *, raw: bool = False) -> Written:
    """Write a request for one model.

    Args:
        request: What to generate.
        model: The model that will do it.
        raw: Write the conversation as one prompt, which the model sees without its template.

    Raises:
        BadRequest: A feature that this model does not have, named by its field.
    """
    notes = Notes()
    body: dict[str, Any]
    if raw:
        body = {"prompt": write_prompt(request, model)}
    else:
        body = {"messages": write_messages(request.messages, model), **write_tools(request, model, notes)}
    body.update(write_format(request.response_format, model))
    knobs = write_knobs(request, model, notes)
    if request.reasoning_effort is None and request.response_format is not None and not _has_switches(request):
        # Thoughts use up the limit, and some models then never come to the JSON.
        effort = write_thinking_off(model)
    else:
        effort = write_effort(request.reasoning_effort, model, notes)
    switches = effort.get("chat_template_kwargs")
    if switches and isinstance(knobs.get("chat_template_kwargs"), dict):
        # What the client says itself wins.
        effort["chat_template_kwargs"] = {**switches, **knobs["chat_template_kwargs"]}
    body.update(knobs)
    body.update(effort)
    limit = token_limit(request, model, body, notes)
    body["max_completion_tokens" if model.shape == "openai" else "max_tokens"] = limit
    # JSON mode does not stream.
    return Written(body, limit, request.response_format is None, notes)


def _has_switches(request: GenerationRequest) -> bool:
    """The client itself has said how the template is to be set."""
    return request.extra.get("chat_template_kwargs") is not None
