"""The chat surface as the exchange knows it."""

from __future__ import annotations

from app.surfaces.chat import read, write
from app.surfaces.chat.fates import FATES
from app.surfaces.stateless import StatelessSurface


class ChatSurface(StatelessSurface):
    """``POST /v1/chat/completions``."""

    def __init__(self) -> None:
        super().__init__("chat", FATES, read.read_request, write.ChatWriter, write.body)
