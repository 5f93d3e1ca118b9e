"""Which route a request takes."""

from __future__ import annotations

from app.core.model import DialectName, Model
from app.core.request import GenerationRequest


def choose(request: GenerationRequest, model: Model) -> DialectName:
    """Choose the route of one request: the model's own, except for what only another has.

    Args:
        request: What to generate.
        model: The model that will do it.
    """
    if model.shape != "openai" and (is_raw(request) or isinstance(request.extra.get("lora"), str)):
        return "native"
    if request.tools and model.tools_dialect is not None:
        return model.tools_dialect
    return model.dialect


def is_raw(request: GenerationRequest) -> bool:
    """Tell whether the client wants the model to see its text alone, without a template around it."""
    return request.extra.get("raw") is True
