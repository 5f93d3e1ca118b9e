"""Rows of Cloudflare's model search, and how they are laid over the bundled facts.

The rows are loosely typed: booleans and numbers come as strings, a property that is false is left out, and what is
called ``id`` is a UUID while ``name`` is the id. Whatever cannot be read is treated as not stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.catalog.names import is_well_formed
from app.catalog.prices import neurons_per_million, read_prices
from app.core.model import Model, Price, ReasoningEfforts
from app.wire.codec import CodecError, decode

TEXT_GENERATION = "Text Generation"

_LARGEST_NUMBER = 1_000_000_000
GUARD = "guard"
RERANKER = "reranker"
# Moderation and decision models are listed as text generation, and nothing in their rows tells them apart.
_NOT_CONVERSING = frozenset({GUARD, "clef"})


class LiveRow(Struct, frozen=True):
    """What one row states; ``None`` for what it does not.

    Attributes:
        id: Cloudflare's name for the model.
        task: The task's name.
        description: One line about the model.
        created: In Unix seconds.
        context_window: As stated, which is not always what is enforced.
        max_input_tokens: The longest input of an embedding model.
        dimensions: The length of an embedding model's vectors.
        function_calling: It calls tools.
        reasoning: It thinks before it answers.
        vision: It reads images.
        requires_paid: It needs the Workers Paid plan.
        efforts: The reasoning efforts that it takes.
        price: What it costs.
        deprecated_on: When it is to be retired.
    """

    id: str
    task: str | None = None
    description: str | None = None
    created: int | None = None
    context_window: int | None = None
    max_input_tokens: int | None = None
    dimensions: int | None = None
    function_calling: bool | None = None
    reasoning: bool | None = None
    vision: bool | None = None
    requires_paid: bool | None = None
    efforts: ReasoningEfforts | None = None
    price: Price | None = None
    deprecated_on: str | None = None


def parse_rows(rows: Iterable[object]) -> dict[str, LiveRow]:
    """Read rows by id. Junk is skipped; of rows with one id the first counts, because pages may repeat."""
    parsed: dict[str, LiveRow] = {}
    for row in rows:
        live = _parse_row(row)
        if live is not None:
            parsed.setdefault(live.id, live)
    return parsed


def merge(row: LiveRow, known: Model | None, *, window_enforced: bool = False) -> Model:
    """Lay a live row over what is known about its model.

    Args:
        row: The row; it wins for what it states.
        known: The bundled facts, if any.
        window_enforced: The bundled context window is the one that holds, unless the row's is smaller.
    """
    base = known if known is not None else _unknown(row)
    stated: dict[str, Any] = {
        "task": row.task,
        "description": row.description,
        "created": row.created,
        "context_window": row.context_window,
        "max_input_tokens": row.max_input_tokens,
        "dimensions": row.dimensions,
        "function_calling": row.function_calling,
        "reasoning": row.reasoning,
        "vision": row.vision,
        "requires_paid": row.requires_paid,
        "reasoning_efforts": row.efforts,
        "deprecated_on": row.deprecated_on,
    }
    stated = {name: value for name, value in stated.items() if value is not None}
    if window_enforced and base.context_window is not None:
        stated["context_window"] = min(base.context_window, row.context_window or base.context_window)
    if row.price is not None and row.price != base.price:
        stated["price"] = row.price
        stated["neurons_per_million"] = neurons_per_million(row.price)
    return replace(base, **stated)


def words_of(model_id: str) -> list[str]:
    """The words of a model's short name, which are all that tells what it does when nobody else does."""
    return model_id.rpartition("/")[2].lower().split("-")


def _unknown(row: LiveRow) -> Model:
    """What is assumed of a model that is newer than this package."""
    text = row.task == TEXT_GENERATION
    openai = row.efforts is not None
    words = words_of(row.id)
    return Model(
        id=row.id,
        task=row.task or TEXT_GENERATION,
        shape="openai" if openai else "legacy",
        json_schema=("envelope" if openai else "bare") if text else "none",
        chat=text and _NOT_CONVERSING.isdisjoint(words),
        moderates=text and GUARD in words,
        reranks=RERANKER in words,
    )


def _parse_row(row: object) -> LiveRow | None:
    if not isinstance(row, Mapping):
        return None
    model_id = row.get("name")
    if not isinstance(model_id, str) or not is_well_formed(model_id):
        return None
    properties = _properties(row.get("properties"))
    efforts = _efforts(properties.get("reasoning_effort"))
    return LiveRow(
        id=model_id,
        task=_task(row.get("task")),
        description=_text(row.get("description")),
        created=_unix(row.get("created_at")),
        context_window=_number(properties.get("context_window")),
        max_input_tokens=_number(properties.get("max_input_tokens")),
        dimensions=_number(properties.get("output_dimensions")),
        function_calling=_flag(properties.get("function_calling")),
        reasoning=True if efforts is not None else _flag(properties.get("reasoning")),
        vision=_flag(properties.get("vision")),
        requires_paid=_flag(properties.get("require_workers_paid")),
        efforts=efforts,
        price=read_prices(properties.get("price")),
        deprecated_on=_day(properties.get("planned_deprecation_date")),
    )


def _properties(value: object) -> dict[str, object]:
    if not isinstance(value, list):
        return {}
    found: dict[str, object] = {}
    for item in value:
        if isinstance(item, Mapping) and isinstance(name := item.get("property_id"), str):
            found.setdefault(name, item.get("value"))
    return found


def _task(value: object) -> str | None:
    return _text(value.get("name") if isinstance(value, Mapping) else value)


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _flag(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def _number(value: object) -> int | None:
    """A positive whole number; anything else is not stated."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and 1 <= number <= _LARGEST_NUMBER else None


def _unix(value: object) -> int | None:
    moment = _moment(value)
    return max(0, int(moment.timestamp())) if moment is not None else None


def _day(value: object) -> str | None:
    moment = _moment(value)
    return moment.date().isoformat() if moment is not None else None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        # Years so early or late that a time zone moves them out of the calendar are not dates of models.
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _efforts(value: object) -> ReasoningEfforts | None:
    if isinstance(value, str):
        try:
            value = decode(value)
        except CodecError:
            return None
    if not isinstance(value, Mapping):
        return None
    supported = value.get("supported_efforts")
    if not isinstance(supported, list):
        return None
    efforts = tuple(effort for effort in supported if isinstance(effort, str))
    if not efforts:
        return None
    default = value.get("default_effort")
    if default is None and _flag(value.get("default_enabled")) is False and "none" in efforts:
        default = "none"
    return ReasoningEfforts(efforts, default if isinstance(default, str) else None, bool(_flag(value.get("mandatory"))))
