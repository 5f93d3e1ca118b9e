"""The command with a defect in it: ``python -m tests.telemetry.defective serve …``.

Where the defect is, is written in the file that ``DEFECT`` names; it may be written anew while the server runs. The
text of each holds what is at hand there: a prompt, an answer, a key or the token.
"""

import asyncio
import os
from pathlib import Path

from app.cli import main
from app.cloudflare.client import CloudflareClient
from app.core.generation import Generation
from app.dialects.chat import ChatDialect
from app.dialects.reader import AnswerReader
from app.exchange.memory import Memory
from app.keys.ring import KeyRing
from app.surfaces.chat.surface import ChatSurface
from app.surfaces.responses.surface import ResponsesSurface

PLACES = {
    "read": [(ChatSurface, "read"), (ResponsesSurface, "read")],
    "write": [(ChatDialect, "write")],
    "call": [(CloudflareClient, "_send")],
    "task": [],
    "frame": [(AnswerReader, "feed"), (AnswerReader, "read")],
    "hear": [(Generation, "hear")],
    "keep": [(Memory, "keep")],
    "find": [(KeyRing, "find")],
}
"""Where there may be a defect, by a word. ``task`` is one that fails while nobody waits for it."""


def wanted(word):
    return Path(os.environ["DEFECT"]).read_text("utf-8") == word


def fail(*at_hand):
    raise RuntimeError(f"a defect, with all that is at hand: {at_hand}")


def defective(word, honest):
    def run(self, *arguments, **options):
        if wanted(word):
            fail(arguments, options)
        return honest(self, *arguments, **options)

    return run


def with_a_task(honest):
    async def failing(*arguments):
        fail(arguments)

    async def run(self, *arguments):
        if wanted("task"):
            await asyncio.wait([asyncio.create_task(failing(*arguments))])
        return await honest(self, *arguments)

    return run


if __name__ == "__main__":
    for where, methods in PLACES.items():
        for owner, method in methods:
            setattr(owner, method, defective(where, getattr(owner, method)))
    CloudflareClient._send = with_a_task(CloudflareClient._send)
    main()
