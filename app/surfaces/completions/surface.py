"""The completions surface as the exchange knows it."""

from __future__ import annotations

from app.surfaces.completions import read, write
from app.surfaces.completions.fates import FATES
from app.surfaces.stateless import StatelessSurface


class CompletionsSurface(StatelessSurface):
    """``POST /v1/completions``."""

    def __init__(self) -> None:
        super().__init__("completions", FATES, read.read_request, write.CompletionsWriter, write.body)
