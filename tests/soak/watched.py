"""``python -m tests.soak.watched FILE serve …`` is ``flarelay serve …``, with a look at its event loop.

Twice a second FILE says how many tasks there are, and how late the loop has been so far: how much later than it was to,
a timer went off.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from app.cli import main
from app.server.running import Server

TICK_SECONDS: Final = 0.02
TOLD_EVERY: Final = 25
STEPS_PER_SECOND: Final = 10_000
"""Lags are counted in steps of a tenth of a millisecond."""


async def watch(told: Path) -> None:
    """Tell, for ever."""
    lags: Counter[int] = Counter()
    fresh = told.with_suffix(".new")
    while True:
        fresh.write_text(json.dumps({"tasks": len(asyncio.all_tasks()) - 1, "lags": lags}))
        # Whoever reads it finds one or the other, whole.
        fresh.replace(told)
        for _ in range(TOLD_EVERY):
            began = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            lags[round((time.perf_counter() - began - TICK_SECONDS) * STEPS_PER_SECOND)] += 1


def run(told: Path, arguments: list[str]) -> None:
    """Run the command, watched from when it serves."""
    startup = Server.startup
    watching = []

    async def watched(server: Server, *args: Any, **named: Any) -> None:
        await startup(server, *args, **named)
        watching.append(asyncio.create_task(watch(told), name="watched"))

    Server.startup = watched  # type: ignore[method-assign]
    main(arguments, prog_name="flarelay")


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
