"""Prices: from Cloudflare's lists of units, and into neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping

from app.core.cost import USD_PER_NEURON
from app.core.model import Price

_TOKEN_UNITS = {
    "per m input tokens": "input",
    "per m output tokens": "output",
    "per m cached input tokens": "cached_input",
}


def neurons_per_million(price: Price) -> tuple[float, float] | None:
    """Neurons per million input and output tokens, derived from a price; ``None`` where tokens have no price."""
    if price.input is None:
        return None
    return round(price.input / USD_PER_NEURON), round((price.output or 0.0) / USD_PER_NEURON)


def read_prices(value: object) -> Price | None:
    """Read the ``price`` property of a live row; ``None`` when nothing in it can be read.

    Args:
        value: A list of ``{"unit": …, "price": …, "currency": …}``. Entries in another currency are skipped.
    """
    if not isinstance(value, list):
        return None
    tokens: dict[str, float] = {}
    units: list[tuple[str, float]] = []
    for item in value:
        if not isinstance(item, Mapping) or item.get("currency", "USD") != "USD":
            continue
        unit, amount = item.get("unit"), _amount(item.get("price"))
        if not isinstance(unit, str) or amount is None:
            continue
        kind = _TOKEN_UNITS.get(unit.lower())
        if kind is None:
            units.append((unit, amount))
        else:
            tokens[kind] = amount
    if not tokens and not units:
        return None
    return Price(tokens.get("input"), tokens.get("output"), tokens.get("cached_input"), tuple(units))


def _amount(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None
