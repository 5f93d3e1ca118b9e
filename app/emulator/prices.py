"""What a request costs, in neurons, by the emulator's own list of prices."""

import math
from typing import Any

from app.emulator.catalogue import USD_PER_NEURON, Model
from app.emulator.jsonvalue import Json
from app.emulator.tokens import count

# Every sound the emulator hears or makes is told to be this long.
_AUDIO_MINUTES = 2.0 / 60
_TILE = 512
_MEGAPIXEL = 1_000_000


def task_neurons(model: Model, body: Json) -> float:
    """Return the cost of a request to a model that is not a chat model.

    It is computed from what was sent: the words of the body, the size and steps of a picture; a sound is two seconds.
    A model without a price costs nothing, as at Cloudflare.

    Args:
        model: The model.
        body: The parsed body, or nothing where it is not JSON.
    """
    price: dict[str, Any] = model.facts.get("price") or {}
    unit = str(price.get("unit", ""))
    usd: float
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    if unit == "per M tokens":
        words = _words(body)
        usd = (words * price["input"] + words * price.get("output", 0)) / 1e6
    elif unit.startswith("per audio minute"):
        usd = price["input"] * _AUDIO_MINUTES
    elif unit == "per 1k characters":
        usd = price["input"] * len(str(fields.get("text", ""))) / 1000
    elif unit == "per M images":
        usd = price["input"] / 1e6
    else:
        usd = _picture(price, fields)
    return round(float(usd) / USD_PER_NEURON, 4)


def _picture(price: dict[str, Any], fields: dict[str, Any]) -> float:
    width, height = (_whole(fields.get(side), 1024) for side in ("width", "height"))
    steps = _whole(fields.get("steps", fields.get("num_steps")), 4)
    tiles = math.ceil(width / _TILE) * math.ceil(height / _TILE)
    more = max(math.ceil(width * height / _MEGAPIXEL) - 1, 0)
    amounts = {
        "per_512_tile": tiles,
        "per_step": steps,
        "per_output_tile_step": tiles * steps,
        "per_output_tile": tiles,
        "first_output_mp": 1,
        "next_output_mp": more,
    }
    return sum(float(price.get(name, 0)) * amount for name, amount in amounts.items())


def _whole(value: Json, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default


def _words(value: Json) -> int:
    match value:
        case str():
            return count(value)
        case list():
            return sum(map(_words, value))
        case dict():
            return sum(_words(one) for key, one in value.items() if key != "image")
        case _:
            return 0
