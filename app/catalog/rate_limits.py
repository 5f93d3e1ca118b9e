"""How many requests per minute Cloudflare takes from an account for each model. Its answers never tell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from app.core.model import Model

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})

_PAID_ONLY: Final = 20

_OTHERS: Final = 300
"""For tasks of which nothing is published: the least that any task has."""

_BY_TASK: Final[Mapping[str, int]] = {
    "Text Generation": 300,
    "Text Embeddings": 3_000,
    "Text Classification": 2_000,
    "Summarization": 1_500,
    "Translation": 720,
    "Automatic Speech Recognition": 720,
    "Text-to-Image": 720,
    "Image-to-Text": 720,
    "Image Classification": 3_000,
    "Object Detection": 3_000,
}

_BY_ID: Final[Mapping[str, int]] = {
    "@cf/baai/bge-large-en-v1.5": 1_500,
    "@cf/runwayml/stable-diffusion-v1-5-img2img": 1_500,
}


def requests_per_minute(model: Model, overrides: Mapping[str, int] = _NOTHING) -> int:
    """How many requests an account may send to a model in a minute, as Cloudflare publishes it.

    Args:
        model: The model.
        overrides: What is different for this account, by the models' ids: one with prepaid credits has more.
    """
    own = overrides.get(model.id)
    if own is not None:
        return own
    if model.requires_paid:
        return _PAID_ONLY
    return _BY_ID.get(model.id) or _BY_TASK.get(model.task, _OTHERS)
