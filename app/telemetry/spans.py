"""What the exchange knows of tracing. Who does it, and with what library, is known where it is switched on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.core.generation import Generation
from app.core.model import Model
from app.core.outcome import Outcome
from app.core.request import GenerationRequest


class Trace(Protocol):
    """The span of one exchange."""

    @property
    def headers(self) -> Mapping[str, str]:
        """W3C's headers for the upstream's requests, by which it can go on with the trace."""

    def end(self, outcome: Outcome, generations: Sequence[Generation]) -> None:
        """End the span.

        Args:
            outcome: The record of the exchange.
            generations: What was generated, one for each choice.
        """


class Tracing(Protocol):
    """Makes spans."""

    def begin(self, surface: str, request: GenerationRequest, model: Model) -> Trace:
        """Begin the span of an exchange, below the one that the server has begun for the client's request.

        Args:
            surface: What the client speaks.
            request: What is to be generated.
            model: What was asked to generate it.
        """
