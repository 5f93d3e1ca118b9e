"""How a model is shown in OpenAI's list of models."""

from __future__ import annotations

from typing import Any

from app.core.model import Model


def entry(model: Model, alias: str | None = None) -> dict[str, Any]:
    """OpenAI's model object, with what else is known about the model beside it.

    Args:
        model: The model.
        alias: The name under which it is listed, if not its own; its id is then the entry's ``root``.
    """
    shown: dict[str, Any] = {
        "id": alias or model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owner,
        "root": model.id,
        "task": model.task,
        "context_window": model.context_window,
        # Input and output share one window, so the window is also the bound on the output.
        "max_output_tokens": model.context_window if model.chat else None,
        "capabilities": _capabilities(model),
        "pricing": _pricing(model),
        "requires_paid_plan": model.requires_paid,
    }
    optional = {
        "description": model.description or None,
        "dimensions": model.dimensions,
        "max_input_tokens": model.max_input_tokens,
        "planned_deprecation_date": model.deprecated_on,
    }
    shown.update((key, value) for key, value in optional.items() if value is not None)
    return shown


def _capabilities(model: Model) -> dict[str, Any]:
    abilities: dict[str, Any] = {
        "chat": model.chat,
        "function_calling": model.function_calling,
        "reasoning": model.reasoning,
        "vision": model.vision,
        "structured_outputs": model.chat and model.json_schema != "none",
    }
    if model.reasoning_efforts is not None:
        abilities["reasoning_efforts"] = list(model.reasoning_efforts.supported)
        abilities["default_reasoning_effort"] = model.reasoning_efforts.default
    others = {
        "embeddings": model.task == "Text Embeddings",
        "shorter_dimensions": model.embedding is not None and model.embedding.least_dimensions is not None,
        "moderation": model.moderates,
        "reranking": model.reranks,
    }
    abilities.update((name, True) for name, able in others.items() if able)
    return abilities


def _pricing(model: Model) -> dict[str, Any] | None:
    price = model.price
    tokens = {"input": price.input, "output": price.output, "cached_input": price.cached_input}
    tokens = {kind: amount for kind, amount in tokens.items() if amount is not None}
    if not tokens and not price.units:
        return None
    pricing: dict[str, Any] = {"currency": "USD"}
    if tokens:
        pricing["per_million_tokens"] = tokens
    if price.units:
        pricing["per_unit"] = dict(price.units)
    if model.neurons_per_million is not None:
        pricing["neurons_per_million_tokens"] = dict(zip(("input", "output"), model.neurons_per_million, strict=True))
    return pricing
