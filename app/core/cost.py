"""What a generation costs in neurons, Cloudflare's billing unit, and in money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from app.core.model import Model
from app.core.usage import Source, Usage

USD_PER_NEURON: Final = 0.011 / 1000
"""What one neuron costs. Cloudflare bills neurons; its prices per token are the same figures, rounded."""

MILLION: Final = 1_000_000


class Rates(NamedTuple):
    """Neurons per token.

    Attributes:
        input: Per token of the input.
        output: Per token of the output.
        cached_input: Per token of the input that was in the prefix cache.
    """

    input: float
    output: float
    cached_input: float


FREE: Final = Rates(0.0, 0.0, 0.0)
"""The rates of a model for which Cloudflare publishes no price."""


HEADER_NEURONS: Final = "x-flarelay-neurons"
HEADER_USD: Final = "x-flarelay-cost-usd"


class Cost(Struct, frozen=True):
    """What was spent.

    Attributes:
        neurons: How many.
        source: ``reported`` by the upstream, ``summed`` from figures that it reported, or ``estimated`` from prices.
    """

    neurons: float
    source: Source

    @property
    def usd(self) -> float:
        """The same in US dollars."""
        return self.neurons * USD_PER_NEURON

    def headers(self) -> dict[str, str]:
        """As headers of an answer."""
        return {HEADER_NEURONS: f"{self.neurons:.6f}", HEADER_USD: f"{self.usd:.9f}"}

    def comment(self) -> bytes:
        """As comment lines between two events of a stream, whose headers are sent before anything is known."""
        return f": {HEADER_NEURONS}: {self.neurons:.6f}\n: {HEADER_USD}: {self.usd:.9f}\n\n".encode()


def rates(model: Model) -> Rates:
    """The neurons per token of a model; ``FREE`` where no price is known."""
    if model.neurons_per_million is None:
        return FREE
    input_, output = (neurons / MILLION for neurons in model.neurons_per_million)
    cached = model.price.cached_input
    return Rates(input_, output, input_ if cached is None else cached / USD_PER_NEURON / MILLION)


def cost(usage: Usage, model: Model) -> Cost:
    """What a generation cost: as the upstream says, else by the model's prices."""
    if usage.neurons is not None:
        return Cost(usage.neurons, usage.source)
    by = rates(model)
    cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
    neurons = (usage.prompt_tokens - cached) * by.input + cached * by.cached_input
    return Cost(neurons + usage.completion_tokens * by.output, "estimated")


def by_units(model: Model, amounts: Mapping[str, float]) -> float:
    """The neurons of what is not priced by tokens; 0 where no price is known.

    Args:
        model: What is priced.
        amounts: How much of each of Cloudflare's units was or will be used, such as ``{"per audio minute": 0.5}`` for
            half a minute; see ``app.core.units``. Units that the model is not priced by cost nothing.
    """
    return sum(usd * amounts.get(unit.lower(), 0.0) for unit, usd in model.price.units) / USD_PER_NEURON


def total(costs: Sequence[Cost]) -> Cost:
    """What several generations cost together; the sum is as sure as its least sure part.

    Args:
        costs: At least one.
    """
    if len(costs) == 1:
        return costs[0]
    sources = {one.source for one in costs}
    return Cost(sum(one.neurons for one in costs), "estimated" if "estimated" in sources else "summed")
