"""The models the emulator knows, and how the listing endpoints show them."""

import functools
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.emulator.errors import CloudflareError, no_such_model
from app.emulator.traits import SCENARIO, Traits, traits_of

SCENARIO_PREFIX = "@cf/emulator/"
PAGE_ROWS = 50  # whatever per_page asks for (Q46)
CLAIMED_ROWS = 308  # the wrong total the listing reports (Q46)
USD_PER_NEURON = 0.000011


@dataclass(frozen=True, slots=True)
class Model:
    """One catalogue entry.

    Attributes:
        id: The name to call, such as `@cf/openai/gpt-oss-20b`.
        task: Cloudflare's task name in title case.
        facts: The bundled row.
        traits: Wire habits, for models that generate text.
    """

    id: str
    task: str
    facts: Mapping[str, Any]
    traits: Traits | None = None

    @property
    def window(self) -> int:
        """The enforced context window in tokens (Q31)."""
        enforced = self.traits.window if self.traits else None
        return int(enforced or self.facts.get("context_window") or 32_768)

    @property
    def efforts(self) -> tuple[str, ...]:
        """The reasoning efforts the engine takes, or nothing when the model does not reason."""
        stated = self.facts.get("reasoning_effort", {}).get("supported_efforts")
        if stated:
            return tuple(stated)
        return ("low", "medium", "high") if self.facts.get("reasoning") else ()

    def neurons(self, prompt: int, completion: int, cached: int = 0) -> float:
        """Return what a call costs in neurons.

        Args:
            prompt: Tokens of the prompt, the cached ones included.
            completion: Tokens generated.
            cached: Prompt tokens found in the cache; they are cheaper where the model has a price for them.
        """
        price = self.facts.get("price", {})
        rates = self.facts.get("neurons_per_m") or {
            side: price.get(side, 0) / USD_PER_NEURON for side in ("input", "output")
        }
        saved = cached * (rates["input"] - price["cached_input"] / USD_PER_NEURON) if "cached_input" in price else 0.0
        return round(float(prompt * rates["input"] + completion * rates["output"] - saved) / 1e6, 4)


@functools.cache
def _bundled() -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads(Path(__file__).with_name("models.json").read_bytes())
    return data


@functools.cache
def _models() -> dict[str, Model]:
    rows = [*_bundled()["models"]]
    return {
        row["id"]: Model(
            row["id"],
            row["task"],
            row,
            traits_of(row["id"], row["form"]) if row.get("form", "none") != "none" else None,
        )
        for row in rows
    }


def find(name: str) -> Model:
    """Return the model called `name`.

    Raises:
        CloudflareError: 410/5028 for a removed model, 400/5007 for an unknown one.
    """
    data = _bundled()
    if name in data["removed"]:
        raise CloudflareError(410, 5028, f"AiError: Model {name} has been deprecated and removed")
    model = _models().get(data["aliases"].get(name, name))
    if model is None:
        raise no_such_model(name)
    # An alias answers with the id that was asked for.
    return Model(name, model.task, model.facts, model.traits)


def scenario_model(name: str) -> Model:
    """Return the gpt-oss-like model behind `@cf/emulator/<scenario>`."""
    facts = {**_models()["@cf/openai/gpt-oss-20b"].facts, "id": name, "vision": True, "dimensions": 384}
    return Model(name, "Text Generation", facts, SCENARIO)


def _stable_uuid(text: str) -> str:
    return str(uuid.UUID(bytes=hashlib.blake2b(text.encode(), digest_size=16).digest(), version=4))


def _price_rows(price: Mapping[str, Any]) -> list[dict[str, Any]]:
    unit = price.get("unit", "")
    if unit != "per M tokens":
        amount = price.get("input")
        return [{"unit": unit, "price": amount, "currency": "USD"}] if amount else []
    names = {"input": "input", "output": "output", "cached_input": "cached input"}
    return [
        {"unit": f"per M {words} tokens", "price": price[key], "currency": "USD"}
        for key, words in names.items()
        if key in price
    ]


def _row(model: Model) -> dict[str, Any]:
    facts = model.facts
    flags = {
        "async_queue": "batch",
        "function_calling": "function_calling",
        "reasoning": "reasoning",
        "vision": "vision",
        "lora": "lora",
        "partner": "partner",
        "realtime": "realtime",
        "require_workers_paid": "paid_only",
    }
    properties: list[dict[str, Any]] = [
        {"property_id": prop, "value": "true"} for prop, key in flags.items() if facts.get(key)
    ]
    properties += [
        {"property_id": prop, "value": str(facts[key])}
        for prop, key in (
            ("context_window", "context_window"),
            ("max_input_tokens", "max_input_tokens"),
            ("output_dimensions", "dimensions"),
        )
        if facts.get(key)
    ]
    if rows := _price_rows(facts.get("price", {})):
        properties.append({"property_id": "price", "value": rows})
    if "reasoning_effort" in facts:
        properties.append({"property_id": "reasoning_effort", "value": facts["reasoning_effort"]})
    return {
        "id": _stable_uuid(model.id),
        "source": 2 if model.id.startswith("@hf/") else 1,
        "name": model.id,
        "description": f"{model.id.rsplit('/', 1)[-1]}, as the emulator plays it.",
        "created_at": "2025-08-05 10:27:29.131",
        "tags": [],
        "task": {
            "id": _stable_uuid(model.task),
            "name": model.task,
            "description": f"{model.task} models.",
        },
        "properties": properties,
    }


def _openrouter_row(model: Model) -> dict[str, Any]:
    facts = model.facts
    price = facts.get("price", {})
    features = [
        feature for feature, key in (("tools", "function_calling"), ("reasoning", "reasoning")) if facts.get(key)
    ]
    row: dict[str, Any] = {
        "id": f"workers-ai/{model.id}",
        "name": model.id.rsplit("/", 1)[-1],
        "created": 1754390849,
        "hugging_face_id": model.id.removeprefix("@cf/"),
        "context_length": facts.get("context_window"),
        "max_output_length": facts.get("context_window"),
        "input_modalities": ["text", "image"] if facts.get("vision") else ["text"],
        "output_modalities": ["text"],
        "pricing": {
            "prompt": f"{price.get('input', 0) / 1e6:.9f}".rstrip("0").rstrip("."),
            "completion": f"{price.get('output', 0) / 1e6:.9f}".rstrip("0").rstrip("."),
            "input_cache_read": f"{price.get('cached_input', 0) / 1e6:.9f}".rstrip("0").rstrip("."),
        },
        "supported_features": [*features, "json_mode", "structured_outputs"],
        "supported_sampling_parameters": ["temperature", "top_p", "max_tokens"],
    }
    if "reasoning_effort" in facts:
        row["reasoning"] = facts["reasoning_effort"]
    return row


def search(query: Mapping[str, str], scenarios: tuple[str, ...], *, repeat: bool = False) -> dict[str, Any]:
    """Answer `GET /ai/models/search`.

    Pages hold 50 rows whatever `per_page` says, and `total_count` is wrong (Q46). Scenario models are listed
    only for a `search` that contains `emulator`, so that the plain listing looks like Cloudflare's.

    Args:
        query: The query parameters.
        scenarios: Names of the scenarios.
        repeat: Serve the first page for every page.
    """
    wanted = query.get("search", "").lower()
    models = list(_models().values())
    if "emulator" in wanted:
        models += [scenario_model(SCENARIO_PREFIX + name) for name in scenarios]
    rows = [
        model
        for model in models
        if wanted in model.id.lower()
        and query.get("task", model.task).lower() == model.task.lower()
        and query.get("author", "").lower() in model.id.lower()
        and query.get("source", "1") == ("2" if model.id.startswith("@hf/") else "1")
    ]
    if query.get("format") == "openrouter":
        listed = [_openrouter_row(model) for model in rows if model.task == "Text Generation"]
        return {"data": listed, "result_info": {"page": 1}}
    page = int(number) if (number := query.get("page", "1")).isdigit() else 1
    start = 0 if repeat else max(page - 1, 0) * PAGE_ROWS
    shown = [_row(model) for model in rows[start : start + PAGE_ROWS]]
    asked = int(number) if (number := query.get("per_page", "100")).isdigit() else 100
    return {
        "success": True,
        "errors": [],
        "messages": [],
        "result": shown,
        "result_info": {
            "page": page,
            "per_page": asked,
            "count": len(shown),
            "total_count": CLAIMED_ROWS if not wanted else len(rows) + 17,
        },
    }
