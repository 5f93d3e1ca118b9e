"""Which dialect one request is written in."""

from __future__ import annotations

from app.core.model import DialectName, Model
from app.core.request import GenerationRequest


def choose(request: GenerationRequest, model: Model) -> DialectName:
    """The model's own dialect, except for what only the native route knows: raw prompts and LoRA adapters."""
    if request.extra.get("raw") or request.extra.get("lora"):
        return "native"
    return model.dialect
