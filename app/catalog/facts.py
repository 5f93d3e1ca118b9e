"""The facts that come with this package: what the live list does not say, and all there is while it cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from msgspec import Struct

from app.catalog.prices import neurons_per_million
from app.core.embedding import Embedding
from app.core.media import Drawing, Hearing, Speaking, Steps
from app.core.model import Model, Price, ReasoningEfforts
from app.wire.codec import decode


class Bundle(Struct, frozen=True):
    """The bundled models.

    Attributes:
        models: By id, the most useful first.
        enforced_windows: Ids whose context window is smaller in practice than Cloudflare states, and is kept.
    """

    models: Mapping[str, Model]
    enforced_windows: frozenset[str] = frozenset()


def bundled() -> Bundle:
    """Read the facts that come with this package."""
    return parse(resources.files(__package__).joinpath("facts.json").read_bytes())


def parse(data: bytes) -> Bundle:
    """Read a facts file: a JSON list with one object for each model."""
    rows: list[dict[str, Any]] = decode(data)
    return Bundle(
        models={row["id"]: _model(row) for row in rows},
        enforced_windows=frozenset(row["id"] for row in rows if row.get("window_enforced")),
    )


def _model(row: Mapping[str, Any]) -> Model:
    price = Price(**row.get("price", {}), units=tuple(row.get("unit_prices", {}).items()))
    efforts = row.get("efforts")
    neurons = row.get("neurons")
    return Model(
        id=row["id"],
        task=row["task"],
        shape=row.get("shape", "legacy"),
        context_window=row.get("context_window"),
        function_calling=row.get("function_calling", False),
        reasoning=row.get("reasoning", False),
        vision=row.get("vision", False),
        json_schema=row.get("json_schema", "none"),
        tools_dialect=row.get("tools_dialect"),
        thinks_inline=row.get("thinks_inline", False),
        reasoning_efforts=ReasoningEfforts(
            tuple(efforts["supported"]), efforts.get("default"), efforts.get("mandatory", False)
        )
        if efforts
        else None,
        requires_paid=row.get("requires_paid", False),
        chat=row["chat"],
        price=price,
        neurons_per_million=(neurons[0], neurons[1]) if neurons else neurons_per_million(price),
        created=row.get("created", 0),
        dimensions=row.get("dimensions"),
        max_input_tokens=row.get("max_input_tokens"),
        moderates=row.get("moderates", False),
        reranks=row.get("reranks", False),
        embedding=_embedding(row["embedding"]) if "embedding" in row else None,
        hearing=Hearing(**row["hearing"]) if "hearing" in row else None,
        speaking=_speaking(row["speaking"]) if "speaking" in row else None,
        drawing=_drawing(row["drawing"]) if "drawing" in row else None,
    )


def _embedding(facts: Mapping[str, Any]) -> Embedding:
    return Embedding(frozenset(facts.get("options", ())), facts.get("least_dimensions"))


def _speaking(facts: Mapping[str, Any]) -> Speaking:
    return Speaking(**{**facts, "voices": tuple(facts["voices"])})


def _drawing(facts: Mapping[str, Any]) -> Drawing:
    sides = facts.get("sides")
    read = {
        "sides": (sides[0], sides[1]) if sides else None,
        "steps": Steps(**facts["steps"]) if "steps" in facts else None,
        "knobs": frozenset(facts.get("knobs", ())),
    }
    return Drawing(**{**facts, **read})
